"""Walks over a matrix of losses, and the best schedule against every other one."""

import itertools
import re
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError, SchemaError
from platform_assets.science import backtest, backtest_plot, backtest_sentence
from platform_assets.science.backtest import Losses, Past
from platform_assets.science.backtest_plot import pareto_front, plot


def losses(seed: int, periods: int = 6, series: int = 5, *, drift: float = 0.0) -> Losses:
    """Losses that grow with the age of a training by `drift` a period, with noise."""
    draws = np.random.default_rng(seed)
    age = np.arange(periods)[None, :] - np.arange(periods)[:, None]
    loss = draws.gamma(4, 0.25, (periods, periods, series)) * (1 + drift * np.maximum(age, 0))[:, :, None]
    loss[age < 0] = np.nan
    days = tuple(date(2025, 1, 6) + timedelta(weeks=n) for n in range(periods))
    return Losses(days, loss, draws.gamma(4, 0.5, (periods, series)), np.full(periods, 3.0))


def walked(world: Losses, periods: int) -> backtest.Walked:
    """What a fixed interval suffers."""
    return backtest.walked(world, *backtest.walk(world, backtest.every(periods)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.floats(0, 3), st.floats(0, 0.5))
def test_the_best_schedule_is_the_best_of_all(seed: int, periods: int, price: float, drift: float) -> None:
    total = losses(seed, periods, drift=drift).summed()
    cost, schedule = backtest.best_schedule(total, price)
    every = [
        (float(backtest.scheduled(total, chosen).sum()) + price * len(chosen))
        for size in range(periods)
        for chosen in itertools.combinations(range(1, periods), size)
    ]
    assert cost == pytest.approx(min(every))
    assert backtest.scheduled(total, schedule).sum() + price * len(schedule) == pytest.approx(cost)


def test_a_dearer_training_is_never_made_more_often() -> None:
    total = losses(3, 20, drift=0.1).summed()
    counts = [len(backtest.best_schedule(total, price)[1]) for price in np.linspace(0, 60, 30)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0] > 5, counts[-1] <= 2) == (True, True)


def test_walks_see_only_what_has_been() -> None:
    """Every policy is asked before each period but the first, with the losses up to then, and no later one."""
    world, asked = losses(1), list[Past]()

    def look(past: Past) -> bool:
        asked.append(past)
        return past.now in (2, 5)

    answers, trained = backtest.walk(world, look)
    assert (answers.tolist(), trained) == ([0, 0, 2, 2, 2, 5], [2, 5])
    total = world.summed()
    for past in asked:
        seen = [total[answers[period], period] for period in range(past.now)]
        assert past.loss.tolist() == seen
        assert past.baseline.tolist() == world.baseline.sum(axis=1)[: past.now].tolist()
    assert [past.trained_before for past in asked] == [0, 0, 2, 2, 2]


def test_a_future_that_changes_changes_no_decision_of_today() -> None:
    world = losses(4, 12, drift=0.2)
    later = world.loss.copy()
    later[:, 8:] *= 7
    changed = Losses(world.periods, later, world.baseline, world.seconds)
    for policy in (backtest.every(3), backtest.worse_by(0.05, window=2)):
        before, after = backtest.walk(world, policy)[1], backtest.walk(changed, policy)[1]
        assert [at for at in before if at <= 8] == [at for at in after if at <= 8]


@pytest.mark.parametrize(
    ("policy", "trained"),
    [
        (backtest.never, []),
        (backtest.every(1), [1, 2, 3, 4, 5]),
        (backtest.every(2), [2, 4]),
        (backtest.every(6), []),
    ],
)
def test_schedules(policy: backtest.Policy, trained: list[int]) -> None:
    assert backtest.walk(losses(0), policy)[1] == trained


def test_a_threshold_fires_on_error_over_the_baselines_not_on_hard_weeks() -> None:
    world = losses(0, 16, series=400)
    hard = np.ones(16)
    hard[8:] = 3  # everything is harder to predict, for the baseline too
    calm = Losses(world.periods, world.loss * hard[None, :, None], world.baseline * hard[:, None], world.seconds)
    assert backtest.walk(calm, backtest.worse_by(0.2))[1] == []
    broken = Losses(world.periods, world.loss * hard[None, :, None], world.baseline, world.seconds)
    first = backtest.walk(broken, backtest.worse_by(0.2))[1][0]
    assert 9 <= first <= 12


def test_a_refused_training_is_paid_for_and_does_not_answer() -> None:
    answers, trained = backtest.walk(losses(0), backtest.every(2), gate=lambda standing, new: new != 2)
    assert (answers.tolist(), trained) == ([0, 0, 0, 0, 4, 4], [2, 4])


def test_a_cross_fitted_schedule_promises_less_where_there_is_only_noise() -> None:
    """Where no training is better than another, the best schedule in hindsight picks the luckiest; others' luck is not theirs."""
    flattered, honest, static = 0.0, 0.0, 0.0
    for seed in range(30):
        world = losses(seed, 20, series=20)
        static += world.summed()[0].sum()
        flattered += backtest.best_schedule(world.summed(), 0.5)[0]
        lost, trainings = backtest.cross_fitted(world, 0.5, seed=seed)
        honest += lost.sum() + 0.5 * trainings
    assert flattered < 0.97 * static
    assert honest > 0.995 * static


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.floats(0, 3))
def test_each_half_is_charged_for_the_best_of_all_schedules_of_the_other(seed: int, series: int, price: float) -> None:
    own, others = (losses(seed + apart, series=series).loss for apart in (0, 1))
    lost, trainings = backtest.charged_elsewhere(own, others, price, seed=seed)
    halves = np.random.default_rng(seed).permutation(series) % 2
    count = 0.0
    for half in (0, 1):
        held = halves == half
        costs = {
            chosen: backtest.scheduled(others, chosen)[:, ~held].sum() + price * np.mean(~held) * len(chosen)
            for size in range(6)
            for chosen in itertools.combinations(range(1, 6), size)
        }
        best = min(costs, key=lambda chosen: costs[chosen])
        assert lost[held] == pytest.approx(backtest.scheduled(own, best).sum(axis=0)[held])
        count += len(best) * np.mean(held)
    assert trainings == pytest.approx(count)
    world = losses(seed, series=series)
    assert backtest.cross_fitted(world, price, seed=seed)[0].tolist() == (
        backtest.charged_elsewhere(own, own, price, seed=seed)[0].tolist()
    )


def test_outcomes_add_up_and_are_paired_with_never() -> None:
    world = losses(5, 12, series=40, drift=0.1)
    found = {o.name: o for o in backtest.outcomes([world], {"every 3": [walked(world, 3)]}, price=2.0)}
    never, third = found["never"], found["every 3"]
    assert (never.schedules, never.seconds, never.saved.estimate) == (((),), 0.0, 0.0)  # pyright: ignore[reportOptionalMemberAccess]
    assert (third.schedules, third.trainings, third.seconds) == (((3, 6, 9),), 3, 9.0)
    total = world.summed()
    lost = sum(total[at - at % 3, at] for at in range(12))
    assert (third.loss, third.cost) == pytest.approx((lost, lost + 6.0))
    assert third.saved is not None
    assert third.saved.estimate == pytest.approx(1 - (lost + 6.0) / total[0].sum())
    best = found["best in hindsight"]
    assert best.cost <= min(never.cost, third.cost)
    assert best.loss is not None
    assert best.trainings is not None
    assert best.cost == pytest.approx(best.loss + 2.0 * best.trainings)


@pytest.mark.parametrize(
    ("drift", "price", "told"),
    [
        (0.3, 0.1, "`every 3` saves \\+"),
        (0.0, 0.0, "No policy can be told from never on this history"),
        (0.0, 50.0, "`never` is the best on this history: `every 3` would have cost more"),
    ],
)
def test_the_recommendation_says_what_the_interval_says(drift: float, price: float, told: str) -> None:
    world = losses(6, 12, series=200, drift=drift)
    found = backtest.outcomes([world], {"every 3": [walked(world, 3)]}, price=price)
    assert re.search(told, backtest_sentence.recommendation(found))


def test_what_costs_more_is_not_called_a_saving_and_who_never_trained_is_named() -> None:
    world = losses(6, 12, series=10)
    idle = backtest.Walked(world.loss[0], (), 0.0)
    for price in range(1, 60):
        found = backtest.outcomes([world], {"every 3": [walked(world, 3)], "alarm": [idle]}, price=float(price))
        saved = next(o.saved for o in found if o.name == "every 3")
        assert saved is not None
        if saved.estimate < 0 < saved.high:
            break
    else:
        pytest.fail("no price at which it is dearer, but not beyond noise")
    told = backtest_sentence.recommendation(found)
    assert "none is cheaper, and of those that train the best, `every 3`, saves -" in told
    assert "`alarm` would not have trained once" in told
    assert "`never`" not in told


def test_seeds_are_means_and_their_spread_is_in_the_interval() -> None:
    worlds = [losses(seed, 12, series=200, drift=drift) for seed, drift in enumerate((0.0, 0.1, 0.2))]
    walks = {"every 3": [walked(world, 3) for world in worlds]}
    found = {o.name: o for o in backtest.outcomes(worlds, walks, price=2.0)}
    alone = [{o.name: o for o in backtest.outcomes([w], {"every 3": [walked(w, 3)]}, price=2.0)} for w in worlds]
    for name, outcome in found.items():
        assert outcome.cost == pytest.approx(np.mean([one[name].cost for one in alone]))
    saved, first = found["every 3"].saved, alone[1]["every 3"].saved
    assert saved is not None
    assert first is not None
    assert saved.high - saved.low > 2 * (first.high - first.low)


def test_a_choice_among_equals_is_judged_where_it_was_not_made() -> None:
    """The luckiest of many policies that only shift noise promises a gain that the other half of the series does not see."""
    flattered, honest = list[float](), list[float]()
    for seed in range(20):
        draws = np.random.default_rng(seed)
        world = losses(seed, 8, series=40)
        walks = {
            f"{n}": [backtest.Walked(world.loss[0] * draws.gamma(4, 0.25, world.loss[0].shape), (1,), 1.0)]
            for n in range(20)
        }
        found = backtest.outcomes([world], walks, price=0.0, seed=seed)
        elsewhere = backtest_sentence.chosen_elsewhere(found, seed=seed)
        assert elsewhere is not None
        flattered.append(max(o.saved.estimate for o in found[1:-2] if o.saved))
        honest.append(elsewhere.estimate)
        assert "chosen on one half of the series" in backtest_sentence.recommendation(found)
    assert np.mean(flattered) > 0.04
    assert abs(np.mean(honest)) < 0.03


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"seconds": np.zeros(3)}, SchemaError, "expected"),
        ({"baseline": np.zeros((6, 4))}, SchemaError, "expected"),
        ({"loss": np.full((6, 6, 5), np.nan)}, SchemaError, "before 2025-01-06 has no loss for 2025-01-06"),
    ],
)
def test_a_matrix_with_holes_is_refused(change: dict[str, np.ndarray], error: type[Exception], told: str) -> None:
    whole = losses(0)
    parts = {"loss": whole.loss, "baseline": whole.baseline, "seconds": whole.seconds, **change}
    with pytest.raises(error, match=told):
        Losses(whole.periods, **parts)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        backtest.every(0)


def test_the_front_holds_what_nobody_beats_and_the_plot_names_everybody() -> None:
    world = losses(5, 12, series=40, drift=0.1)
    walks = {f"every {n}": [walked(world, n)] for n in (1, 2, 3, 5)}
    found = backtest.outcomes([world], walks, price=2.0)
    front = pareto_front(found)
    scheduled = [o for o in found if o.trainings is not None and o.loss is not None]
    for outcome in scheduled:
        is_beaten = any(
            o.trainings <= outcome.trainings and o.loss < outcome.loss  # pyright: ignore
            for o in scheduled
        )
        assert (outcome in front) != is_beaten
    svg = plot(found, 2.0)
    assert all(outcome.name in svg for outcome in scheduled)
    assert svg == plot(found, 2.0)


def test_labels_of_a_plot_do_not_cover_each_other() -> None:
    crowded = {number: (3.0 * (number % 4), 170.0 + number % 3, "a policy's name") for number in range(8)}
    found = backtest_plot.placed({**crowded, "alone": (300.0, 20.0, "weekly")})
    assert found["alone"] == (305.0, 24.0)
    heights = sorted(height for key, (_, height) in found.items() if key != "alone")
    assert all(later - one >= backtest_plot.LINE for one, later in itertools.pairwise(heights))
    assert 0 <= heights[0] < heights[-1] <= backtest_plot.TALL
