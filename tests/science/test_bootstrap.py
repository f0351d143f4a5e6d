"""Intervals against a naive loop and scipy, and their coverage of a known truth."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import bootstrap, norm
from scipy.stats import t as student

from platform_assets.errors import EmptyFrameError
from platform_assets.science.bootstrap import Interval, Resampler


def losses(seed: int, series: int = 40, rows: int = 12) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """Names, our and their losses: both share a level of the series, ours is a tenth less."""
    generator = np.random.default_rng(seed)
    names = np.repeat([f"s{place:03d}" for place in range(series)], rows)
    level = np.repeat(generator.lognormal(0, 1, series), rows)
    theirs = level * generator.gamma(4, 0.25, names.size)
    return pl.Series(names), 0.9 * level * generator.gamma(4, 0.25, names.size), theirs


def test_draws_equal_a_naive_loop() -> None:
    names, ours, theirs = losses(0, series=7)
    resampler = Resampler(names, draws=300, seed=5)
    found = resampler.improvement(ours, theirs)
    unique = sorted(set(names))
    drawn = []
    for counts in resampler.counts:
        above = below = 0.0
        for place, name in enumerate(unique):
            mine = (names == name).to_numpy()
            above += counts[place] * ours[mine].sum()
            below += counts[place] * theirs[mine].sum()
        drawn.append(1 - above / below)
    assert found.estimate == pytest.approx(1 - ours.sum() / theirs.sum())
    tail = norm.cdf(-np.sqrt(7 / 6) * student.isf(0.025, 6))
    np.testing.assert_allclose([found.low, found.high], np.quantile(drawn, [tail, 1 - tail]))


def test_each_draw_has_as_many_series_as_there_are() -> None:
    names, _, _ = losses(1)
    counts = Resampler(names, draws=500).counts
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean() == pytest.approx(1.0)
    assert counts.var() == pytest.approx(1 - 1 / 40, abs=0.03)  # multinomial


def test_the_interval_of_a_mean_equals_scipys_over_series() -> None:
    names, ours, _ = losses(2, series=60)
    per_series = pl.DataFrame({"name": names, "loss": ours}).group_by("name").mean().sort("name")["loss"].to_numpy()
    theirs = bootstrap((per_series,), np.mean, n_resamples=8000, method="percentile", rng=1).confidence_interval
    found = Resampler(names, draws=8000, seed=3).mean(ours)
    width = theirs.high - theirs.low
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """200 worlds whose true improvement is 10%; 95% intervals over 40 series cover it 88% to 99% of the time."""
    covered = 0
    for seed in range(200):
        names, ours, theirs = losses(seed)
        found = Resampler(names, draws=300, seed=seed).improvement(ours, theirs)
        covered += found.low <= 0.1 <= found.high
    assert 176 <= covered <= 198


@pytest.mark.parametrize("series", [5, 8])
def test_intervals_over_few_series_are_wider(series: int) -> None:
    """Plain percentiles over 5 series of unequal size cover the truth 79 times in 100, these 88; over 8, 85 and 93."""
    covered = plain = 0
    for seed in range(300):
        names, ours, theirs = losses(seed, series=series)
        resampler = Resampler(names, draws=400, seed=seed)
        found = resampler.improvement(ours, theirs)
        covered += found.low <= 0.1 <= found.high
        resampler.tail = 0.025
        found = resampler.improvement(ours, theirs)
        plain += found.low <= 0.1 <= found.high
    assert covered >= plain + 15
    assert covered >= 0.86 * 300


def test_one_series_has_no_interval() -> None:
    names, ours, theirs = losses(3, series=1)
    assert not Resampler(names).improvement(ours, theirs).is_known


def test_pairing_and_clusters_matter() -> None:
    """Paired over series is far narrower than each alone; rows as if independent would be too narrow for a mean."""
    names, ours, theirs = losses(4)
    resampler = Resampler(names)
    paired = resampler.improvement(ours, theirs)
    alone = resampler.mean(ours)
    assert paired.high - paired.low < 0.4 * (alone.high - alone.low) / alone.estimate
    by_row = Resampler(pl.Series(np.arange(names.len()))).mean(ours)
    assert by_row.high - by_row.low < 0.6 * (alone.high - alone.low)


def test_the_same_rows_in_another_order_give_the_same_interval() -> None:
    names, ours, theirs = losses(6)
    shuffled = np.random.default_rng(0).permutation(names.len())
    first = Resampler(names, seed=1).improvement(ours, theirs)
    second = Resampler(names.gather(shuffled), seed=1).improvement(ours[shuffled], theirs[shuffled])
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    assert first == Resampler(names, seed=1).improvement(ours, theirs)
    assert first != Resampler(names, seed=2).improvement(ours, theirs)


def test_difference_has_the_sign_of_the_loss_and_weights_are_weights() -> None:
    names, ours, theirs = losses(7)
    weight = np.random.default_rng(0).uniform(0, 3, ours.size)
    resampler = Resampler(names)
    assert resampler.difference(ours, theirs).high < 0
    assert resampler.mean(ours, weight).estimate == pytest.approx(np.average(ours, weights=weight))
    assert resampler.improvement(ours, theirs, weight).estimate == pytest.approx(
        1 - np.average(ours, weights=weight) / np.average(theirs, weights=weight)
    )


def test_what_cannot_be_known_is_nan_and_null_in_json() -> None:
    names, ours, _ = losses(8)
    found = Resampler(names, draws=50).ratio(ours, np.zeros_like(ours))
    assert not found.is_known
    assert found.to_dict() == {"estimate": None, "low": None, "high": None}
    assert Interval(0.1, 0.0, 0.2).from_one() == Interval(0.9, 0.8, 1.0)
    with pytest.raises(EmptyFrameError):
        Resampler(pl.Series([], dtype=pl.String))


def test_one_run_is_drawn_as_before() -> None:
    names, ours, theirs = losses(3)
    resampler = Resampler(names, seed=2)
    sums = (resampler.sums(ours)[:, None], resampler.sums(theirs)[:, None])
    assert resampler.improvement_over_runs(*sums) == resampler.improvement(ours, theirs)


@pytest.mark.parametrize("runs", [2, 5])
def test_runs_that_differ_widen_the_interval_by_what_they_vary(runs: int) -> None:
    """Series alike and runs apart: the interval is that of the runs' mean, whose variance has runs - 1 below the line."""
    draws = np.random.default_rng(runs)
    effect = draws.normal(0.1, 0.05, runs)
    theirs = np.ones((200, runs))
    resampler = Resampler(pl.Series([f"s{at:03d}" for at in range(200)]), seed=1)
    found = resampler.improvement_over_runs(theirs * (1 - effect), theirs)
    assert found.estimate == pytest.approx(effect.mean())
    drawn = draws.multinomial(runs - 1, np.full(runs, 1 / runs), 40_000) @ effect / (runs - 1)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.012)
    assert drawn.var() == pytest.approx(effect.var(ddof=1) / runs, rel=0.05)
    alike = resampler.improvement_over_runs(theirs * 0.9, theirs)
    assert alike.high - alike.low == pytest.approx(0.0, abs=1e-12)
