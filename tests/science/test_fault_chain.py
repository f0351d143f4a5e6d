"""Segments beside their chain, all at once, against each one by itself in a loop."""

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.science import fault_chain
from platform_assets.science.fault_chain import Chain

START = date(2024, 1, 1)


def chain_of(random: np.random.Generator, segments: int, days: int) -> Chain:
    """A chain with unknown, silent and doubted periods, and one segment that is another for weeks."""
    on = [START + timedelta(days=day) for day in range(days)]
    rows = pl.DataFrame({"period_on": on}).join(
        pl.DataFrame({"segment": [f"s{number:02d}" for number in range(segments)]}), how="cross"
    )
    units = random.lognormal(4.0, 0.3, size=(days, segments))
    spell = int(random.integers(0, days))
    units[spell : spell + 20, 0] *= 10
    rows = rows.with_columns(
        pl.Series("units", units.ravel()),
        rest=pl.Series(units.ravel() * 0.8),
        lines=pl.Series(random.poisson(50, units.size)),
        tickets=pl.lit(25),
        series=pl.lit(20),
        known_at=pl.lit(datetime(2025, 1, 1, tzinfo=UTC)),
    )
    is_unknown = pl.Series(random.random(rows.height) < 0.05)
    rows = rows.with_columns(units=pl.when(~is_unknown).then("units")).filter(
        pl.Series(random.random(rows.height) > 0.05)
    )
    chain = Chain(rows, 1)
    for (day,), of_day in rows.group_by("period_on", maintain_order=True):
        chain.know(day, of_day)  # pyright: ignore[reportArgumentType]
    chain.doubted |= random.random(chain.doubted.shape) < 0.05
    chain.doubted[spell : spell + 12, 0] = True
    return chain


def one_by_one(chain: Chain, at: int, outside: list[int]) -> dict[int, tuple[list[float], float, float, bool]]:
    """Of each segment that can be judged: its shifts, their spread, its own shift, and whether it is back."""
    values = np.where(chain.doubted[:at], np.nan, chain.units[:at])
    segments = [n for n in range(values.shape[1]) if n not in outside and chain.series[at, n] > 0]
    recent = {n: np.flatnonzero(~np.isnan(values[:, n]))[-fault_chain.KNOWN_PERIODS :] for n in segments}
    segments = [n for n in segments if len(recent[n]) >= chain.needed]
    own = np.vstack([values, chain.units[at]])
    own = {n: own[:, n] - np.median(values[recent[n], n]) for n in segments}
    found = {}
    for n in segments:
        others = [own[m] for m in segments if m != n or len(segments) > 6]
        if len(segments) < 2:
            continue
        beside = {}
        for day in range(at + 1):
            known = [one[day] for one in others if not math.isnan(one[day])]
            if known and not math.isnan(own[n][day]):
                beside[day] = own[n][day] - np.median(known)
        last = [beside[day] for day in recent[n] if day in beside]
        if at not in beside or len(last) + 1 < chain.needed:
            continue
        usual = float(np.median(last))
        spread = 1.4826 * float(np.median(np.abs(np.array(last) - usual)))
        older = [value for day, value in beside.items() if day < at and day not in recent[n]]
        near = sum(abs(value - beside[at]) < max(math.log(2), 2 * spread) for value in older)
        is_back = len(older) >= chain.needed and near >= 0.3 * len(older)
        found[n] = ([value - usual for value in [*last, beside[at]]], spread, float(own[n][at]), is_back)
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(15, 110), st.booleans())
def test_segments_judged_at_once_are_judged_as_one_by_one(seed: int, segments: int, days: int, without: bool) -> None:
    chain = chain_of(np.random.default_rng(seed), segments, days)
    at, outside = len(chain.periods) - 1, [segments - 1] if without else []
    told = chain._beside(chain.units, at, np.arange(at), outside)
    expected = one_by_one(chain, at, outside)
    assert told.numbers.tolist() == list(expected)
    for place, (shifts, spread, own, is_back) in enumerate(expected.values()):
        found = told.shifts[:, place]
        assert found[~np.isnan(found)] == pytest.approx(shifts, abs=1e-12)
        assert (told.spreads[place], told.own[place]) == pytest.approx((spread, own), abs=1e-12)
        assert told.is_back[place] == is_back


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (126, 9)])
def test_medians_are_those_of_numpy(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    values = np.where(random.random(shape) < 0.3, np.nan, random.normal(size=shape))
    values[0] = 1.0  # a column without a value makes numpy warn
    assert fault_chain._medians(values).tolist() == np.nanmedian(values, axis=0).tolist()
    assert np.isnan(fault_chain._medians(np.full((3, 2), np.nan))).all()
