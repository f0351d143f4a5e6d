"""A retraining policy on a matrix of losses: what it sees, when it trains, and what the gate lets through."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError
from platform_assets.science import backtest
from platform_assets.science.backtest import Losses
from platform_assets.science.gate import GatePolicy
from platform_assets.science.replay import History, Training, passes, replay
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.train_on import DENSE, EVENLY, TrainOn

LEAD = 12
OPEN = GatePolicy(min_improvement=-1.0, undecided="promote")  # lets everything through that is not twice as bad


def losses(seed: int = 0, periods: int = 40, series: int = 60, *, drift: float = 0.0, noise: float = 0.1) -> Losses:
    """Losses that grow with a training's age by `drift` a period; the lead is its first 12 periods."""
    draws = np.random.default_rng(seed)
    age = np.arange(periods)[None, :] - np.arange(periods)[:, None]
    loss = (1 + drift * np.maximum(age, 0))[:, :, None] * np.exp(noise * draws.normal(size=(periods, periods, series)))
    loss[age < 0] = np.nan
    days = tuple(date(2025, 1, 6) + timedelta(weeks=n) for n in range(periods))
    return Losses(days, loss, np.exp(noise * draws.normal(size=(periods, series))) * 1.3, np.ones(periods), LEAD)


def history(found: Losses, **more: Any) -> History:
    known_at = tuple(datetime.combine(day, time(), UTC) for day in found.periods)
    return History(found, known_at, tuple(range(0, 100 * len(known_at), 100)), "pinball", **more)


def policy(*when: Any, **limits: Any) -> RetrainingPolicy:
    return RetrainingPolicy.from_mapping(
        {
            "when": list(when),
            "cooldown_days": 0,
            "settle_days": 0,
            "follow_up_weeks": [],
            "after_alarm": {},
            **limits,
        }
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.integers(1, 9))
def test_a_policy_of_age_is_a_fixed_schedule(seed: int, weeks: int) -> None:
    world = losses(seed)
    found = replay(history(world), policy({"staleness": 7 * weeks}), OPEN)
    answers, trained = backtest.walk(world.charged(), backtest.every(weeks))
    assert [at - LEAD for at in found.trained] == trained
    assert (found.answers[LEAD:] - LEAD).tolist() == answers.tolist()
    for other in ({"new_data": {"rows": 100 * weeks}}, {"new_data": {"periods": 7 * weeks}}):
        assert replay(history(world), policy(other), OPEN).trained == found.trained


def test_drift_is_answered_once_under_a_champion_and_again_under_the_next() -> None:
    asked = list[tuple[int, int]]()

    def has_drifted(champion: Training, now: int) -> bool:
        asked.append((champion.before, now))
        return now >= 20

    closed = replay(history(losses(), has_drifted=has_drifted), policy("drift"), GatePolicy(min_improvement=0.9))
    assert (closed.trained, closed.promoted) == ((20,), ())
    assert closed.reasons == ("drift, since 2025-05-25, champion 12",)
    assert len(asked) == len(set(asked)), "each verdict is asked for once"
    settled = policy("drift", cooldown_days=28, settle_days=7)
    opened = replay(history(losses(), has_drifted=has_drifted), settled, OPEN)
    assert opened.trained[:3] == opened.promoted[:3] == (21, 25, 29)


def test_two_of_three_and_follow_ups_hold_in_the_replay_too() -> None:
    alarms = {15, 20, 22}
    found = replay(
        history(losses(), has_drifted=lambda champion, now: now in alarms),
        policy({"drift": {"alarms": "2 of 3"}}, follow_up_weeks=[1, 3, 7]),
        OPEN,
    )
    assert found.trained == (22, 23, 25, 29)


def test_losses_that_grow_are_an_error_and_hard_weeks_are_none() -> None:
    calm = losses(noise=0.05)
    assert replay(history(calm), policy("error"), OPEN).trained == ()
    broken = losses(noise=0.05)
    broken.loss[:20, 20:] *= 1.5  # a new world that trainings before period 20 do not know
    fired = replay(history(broken), policy("error"), OPEN).trained
    assert fired
    assert 21 <= fired[0] <= 24
    worse = policy({"performance": {"metric": "pinball", "above": 1.0, "against": "baseline"}})
    assert 21 <= replay(history(broken), worse, OPEN).trained[0] <= 24
    hard = losses(noise=0.05)
    hard.loss[:, 20:] *= 1.5
    hard.baseline[20:] *= 1.5
    assert replay(history(hard), policy("error"), OPEN).trained == ()


def test_a_future_that_changes_changes_no_decision_of_today() -> None:
    asked = policy(
        "error", {"performance": {"metric": "pinball", "above": 0.8, "against": "baseline"}}, {"staleness": 28}
    )
    before = losses(4, drift=0.05)
    after = Losses(before.periods, before.loss.copy(), before.baseline.copy(), before.seconds, LEAD)
    after.loss[:, 30:] *= 7
    first, second = (replay(history(world), asked, GatePolicy()) for world in (before, after))
    for one, other in ((first.trained, second.trained), (first.promoted, second.promoted)):
        assert [at for at in one if at <= 30] == [at for at in other if at <= 30]
    assert first.answers[:31].tolist() == second.answers[:31].tolist()


@pytest.mark.parametrize("policy_of", ["keep", "by_estimate", "promote"])
def test_the_gate_lets_the_better_through_and_leaves_the_equal_to_its_policy(policy_of: Any) -> None:
    gate = GatePolicy(undecided=policy_of)
    better = losses(drift=0.05, noise=0.05)
    assert passes(history(better), gate, Training(LEAD, EVENLY), Training(30, EVENLY))
    worse = losses(drift=-0.01, noise=0.05)
    assert not passes(history(worse), gate, Training(LEAD, EVENLY), Training(30, EVENLY))
    passed, likelier = list[bool](), list[bool]()
    for seed in range(7):
        equal = losses(seed=seed, noise=0.3)
        middle = LEAD + (30 - LEAD) // 2
        mine, other = (equal.loss[at, middle:30].sum() for at in (middle, LEAD))
        likelier.append(bool(mine < other))
        passed.append(passes(history(equal), gate, Training(LEAD, EVENLY), Training(30, EVENLY)))
    assert {True, False} == {*likelier}
    assert passed == {"keep": [False] * 7, "by_estimate": likelier, "promote": [True] * 7}[policy_of]
    young = Training(LEAD + 1, EVENLY)
    assert passes(history(better), gate, Training(LEAD, EVENLY), young), (
        "too young to be judged by what it lived through: by the backtests"
    )


@pytest.mark.parametrize("series", [1, 4, 5])
def test_of_too_few_series_the_estimate_is_not_heard(series: int) -> None:
    """As in production: the gate has `min_series`."""
    better = losses(series=series, drift=0.02, noise=0.4, seed=2)
    gate = GatePolicy(undecided="by_estimate", min_improvement=0.05)
    open_to_few = GatePolicy(undecided="by_estimate", min_improvement=0.05, min_series=2)
    champion, candidate = Training(LEAD, EVENLY), Training(30, EVENLY)
    assert passes(history(better), gate, champion, candidate) == (series >= gate.min_series)
    assert passes(history(better), open_to_few, champion, candidate) == (series >= 2)


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("code", "`code` cannot be replayed"),
        ({"operations": {"metric": "latency", "above": 1}}, "`operations` cannot be replayed"),
        ({"performance": {"metric": "mae", "above": 1}}, "`performance` of mae cannot be replayed"),
        ("drift", "`drift` cannot be replayed: this history holds no features"),
    ],
)
def test_what_history_does_not_hold_is_refused(when: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        replay(history(losses()), policy(when), OPEN)


def dense(world: Losses, gain: float, made: list[Training]) -> Any:
    """Trainings on another choice, so much better than the usual ones."""

    def make(training: Training) -> tuple[Any, float]:
        made.append(training)
        assert training.on == DENSE
        return world.loss[training.before] * (1 - gain), 5.0

    return make


@pytest.mark.parametrize("on_what", [DENSE.to_dict(), {}])
def test_an_alarm_that_has_settled_is_answered_by_what_can_be_judged(on_what: dict) -> None:
    """Dense trainings are judged by their last week, even ones by the weeks since the alarm."""
    world, made = losses(noise=0.02), list[Training]()
    for settle_days, held, trained, promoted in ((0, {20}, (20,), ()), (7, {20}, (), ()), (7, {20, 21}, (21,), (21,))):
        found = replay(
            history(world, has_drifted=lambda champion, now, held=held: now in held, make=dense(world, 0.1, made)),
            policy("drift", settle_days=settle_days, after_alarm=on_what),
            GatePolicy(undecided="keep"),
        )
        assert (found.trained, found.promoted) == (trained, promoted if on_what else ())


def test_an_alarm_and_what_follows_it_train_on_their_own_choice_and_nothing_else_does() -> None:
    """Such trainings are made where the walk needs them: the candidate, and the one that the gate judges it by."""
    world, made = losses(noise=0.02), list[Training]()
    found = replay(
        history(world, has_drifted=lambda champion, now: now in {20, 21}, make=dense(world, 0.1, made)),
        policy("drift", {"staleness": 7 * 8}, follow_up_weeks=[3], cooldown_days=14, after_alarm=DENSE.to_dict()),
        GatePolicy(),
    )
    assert (found.trained, found.trained_on) == ((20, 23, 31, 39), (DENSE, DENSE, EVENLY, EVENLY))
    assert found.promoted == (23,), "the first can only be judged by a training that knows nothing of the alarm"
    assert {Training(22, DENSE), Training(23, DENSE)} <= {*made}
    assert len(made) == len({*made})
    answering, gain = np.where(np.arange(40) < 23, LEAD, 23), np.where(np.arange(40) < 23, 1.0, 0.9)
    suffered = world.loss[answering, np.arange(40)] * gain[:, None]
    np.testing.assert_allclose(found.walked.lost, suffered[LEAD:])
    assert (found.walked.trained, found.walked.seconds) == ((8, 11, 19, 27), 5.0 + 5.0 + 1.0 + 1.0)


def test_a_training_that_goes_on_from_a_champion_is_not_replayed() -> None:
    with pytest.raises(ConfigurationError, match="`start: champion` cannot be replayed"):
        replay(history(losses()), policy("error", after_alarm={"start": "champion"}), OPEN)


def test_a_policy_on_another_choice_than_the_matrix_asks_for_its_own_trainings() -> None:
    world = losses()
    found = replay(history(world, usually=DENSE), policy({"staleness": 28}, train_on=DENSE.to_dict()), OPEN)
    assert {*found.trained_on} == {DENSE}
    with pytest.raises(ConfigurationError, match="holds no training on the last 91 days"):
        replay(history(world), policy({"staleness": 28}, train_on=TrainOn(91).to_dict()), OPEN)
