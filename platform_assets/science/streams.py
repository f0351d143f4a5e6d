"""The stream of results: what became of a champion's forecasts, day by day, as named signals.

A signal is a figure of a trailing window of days, so that weekdays and single orders say little. Days on which no label is
known, closed ones or those of a fault, are passed over; a window of few rows says less (`rows`), one of none nothing.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import SchemaError
from platform_assets.science.tasks import Task

Floats = NDArray[np.float64]

WINDOW_DAYS: Final = 7  # of a signal
PRICE_DAYS: Final = 14  # of the price profile: a fifth of the rows, or less, are at lower prices
LONG_DAYS: Final = 28  # of the loss over a baseline's
LEAST_ROWS: Final = 50  # of a window
LEAST_WEEKDAYS: Final = 4  # of a window, open and with labels, for a profile
PRICE_STEP: Final = 0.05  # a price further below or above the series' usual one is lower or higher
PRICES: Final = ("lower", "usual", "higher")
MOST_PARTS: Final = 12  # stores, or whatever a series' id begins with; of more there are no signals
MEDIAN: Final = 0.5
INNER: Final = 0.95  # highest level of a weekday profile: a day has few rows beyond further ones
LEAST_CENTRE: Final = 0.02  # units: what a forecast of nothing counts as
SCHEMA: Final = {"day": pl.Date, "signal": pl.String, "value": pl.Float64, "rows": pl.Float64}

LOSS: Final = "loss"
OVER_BASELINE: Final = "loss over the baseline's"
NEWER_LOSS: Final = "loss of 7 against 28 days"
BIAS: Final = "bias"
WEEKDAY_PROFILE: Final = "weekday profile"
PRICE_PROFILE: Final = "price profile"
COVERAGE: Final = "coverage"
UPPER_COVERAGE: Final = "upper coverage"
LOWER_COVERAGE: Final = "lower coverage"
ONLY_RISING: Final = (LOSS, OVER_BASELINE, NEWER_LOSS, WEEKDAY_PROFILE)  # that are no matter where they fall


def daily_sums(
    rows: pl.DataFrame,
    predictions: pl.DataFrame,
    baseline: pl.DataFrame,
    task: Task,
    *,
    label: str,
    price_ratio: pl.Series | None = None,
) -> pl.DataFrame:
    """One row per target day, part and price: all that the signals are computed from, as sums.

    rows: series_id, target_on, `label`; predictions, baseline: the task's outputs; price_ratio: of the day to the series'
    usual price, null where unknown; all row for row. Rows whose label is null or of which the baseline says nothing are
    left out. `part` is what the series' id has before its first "/", one for all where there is none or where there are
    more than MOST_PARTS.
    Returns: day, part, price; rows, loss, baseline_loss; error (root of the label minus root of the mean forecast, as an
    order of thousands shall not outweigh all others) and scale (that root); `below OUTPUT` (labels up to each quantile).
    """
    if not rows.height == predictions.height == baseline.height:
        raise SchemaError(
            f"results: {rows.height} rows, {predictions.height} predictions and {baseline.height} of the baseline",
            hint="give all three row for row",
        )
    is_known = rows[label].is_not_null()
    is_known &= baseline.select(pl.all_horizontal(pl.col(task.outputs).is_not_null())).to_series()
    ratio = pl.Series([None] * rows.height, dtype=pl.Float64) if price_ratio is None else price_ratio
    known = rows.select(
        pl.col("target_on").alias("day"),
        pl.col("series_id").cast(pl.String).str.split("/").list.first().alias("part"),
        pl.col(label).cast(pl.Float64).alias("label"),
        ratio.cast(pl.Float64).alias("ratio"),
    ).with_columns(
        pl.when(pl.col("ratio") < 1 - PRICE_STEP)
        .then(pl.lit(PRICES[0]))
        .when(pl.col("ratio") > 1 + PRICE_STEP)
        .then(pl.lit(PRICES[2]))
        .when(pl.col("ratio").is_not_null())
        .then(pl.lit(PRICES[1]))
        .alias("price"),
    )
    known, said, other = (frame.filter(is_known) for frame in (known, predictions.select(task.outputs), baseline))
    if (
        known["part"].n_unique() > MOST_PARTS
        or not rows["series_id"].cast(pl.String).str.contains("/", literal=True).any()
    ):
        known = known.with_columns(part=pl.lit(""))
    truth = known["label"]
    centre = np.maximum(said.to_numpy() @ _mean_weights(task), LEAST_CENTRE)
    values = known.select(
        "day",
        "part",
        "price",
        pl.lit(task.loss(truth, other.select(task.outputs))).alias("baseline_loss"),
        pl.lit(task.loss(truth, said)).alias("loss"),
        pl.Series("error", np.sqrt(np.maximum(truth.to_numpy(), 0.0)) - np.sqrt(centre)),
        pl.Series("scale", np.sqrt(centre)),
        *(pl.lit(truth <= said[output]).cast(pl.Float64).alias(f"below {output}") for output in _quantiles(task)),
    )
    grouped = values.group_by("day", "part", "price").agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.exclude("day", "part", "price").sum()
    )
    return grouped.sort("day", "part", "price", nulls_last=True)


def signals(sums: pl.DataFrame, task: Task, *, reference: tuple[date, date] | None = None) -> pl.DataFrame:
    """One row per day and signal, of each day with results: the signal's value over the window that ends there.

    sums: as `daily_sums` gives them; of signals whose columns it lacks there are none. `rows`: what the window stands on.
    `reference`: first and last day of what is usual, which weekdays are compared with; all days where left out.

    - `loss`: logarithm of the mean loss. `loss over the baseline's`: logarithm, over LONG_DAYS.
    - `loss of 7 against 28 days`: logarithm of the ratio of the mean losses.
    - `coverage OUTPUT`: share of labels up to a quantile, minus its level.
    - `upper coverage`, `lower coverage`: mean over the quantiles above, or below, the median of that difference, each
      over its deviation in one draw, so that outer quantiles count as much as inner ones.
    - `bias`, `bias: lower price`, `bias: PART`, ...: roots of labels minus those of forecasts, over the latter.
    - `price profile`: the upper coverage at lower prices minus that at usual ones, over PRICE_DAYS.
    - `weekday profile`: spread over the window's days of the mean coverage, each less its weekday's usual.
    """
    if sums.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    days, step = _calendar(sums)
    groups = _groups(sums, days)
    found = [
        pl.DataFrame({"day": days, "signal": name, "value": value, "rows": rows}, schema=SCHEMA)
        for name, value, rows in _computed(groups, task, days, step, reference)
    ]
    is_day = sums.select("day").unique()
    told = pl.concat(found).with_columns(pl.col("value").fill_nan(None))
    enough = pl.when(pl.col("rows") >= LEAST_ROWS).then(pl.col("value"))
    return told.join(is_day, on="day", how="semi", maintain_order="left").with_columns(value=enough)


def coverage_of(output: str) -> str:
    """Name of a quantile's signal."""
    return f"{COVERAGE} {output}"


def window_days(signal: str) -> int:
    """Days that a signal looks back, on daily results."""
    return {OVER_BASELINE: LONG_DAYS, NEWER_LOSS: LONG_DAYS, PRICE_PROFILE: PRICE_DAYS}.get(signal, WINDOW_DAYS)


def price_ratios(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.Series:
    """Price of each row's day over the series' median price of the 91 days up to the forecast's issue; null if unknown.

    rows: series_id, target_on, horizon_days. prices: series_id, period_on, price; where a series has none on a day, that
    of its last day with one counts.
    """
    known = prices.select("series_id", "period_on", "price").drop_nulls().sort("series_id", "period_on")
    usual = known.with_columns(usual=pl.col("price").rolling_median_by("period_on", "91d").over("series_id"))
    keys = rows.select(
        "series_id", "target_on", issued_on=pl.col("target_on") - pl.duration(days=pl.col("horizon_days"))
    ).with_row_index("at")
    at_issue = keys.sort("issued_on").join_asof(
        usual.sort("period_on"), left_on="issued_on", right_on="period_on", by="series_id", check_sortedness=False
    )
    at_target = keys.sort("target_on").join_asof(
        known.sort("period_on"), left_on="target_on", right_on="period_on", by="series_id", check_sortedness=False
    )
    found = at_target.select("at", "price").join(at_issue.select("at", "usual"), on="at").sort("at")
    return found.select((pl.col("price") / pl.col("usual")).alias("price_ratio"))["price_ratio"]


def _quantiles(task: Task) -> tuple[str, ...]:
    return task.outputs if task.levels else ()


def _mean_weights(task: Task) -> Floats:
    """What each output counts in the mean: a quantile for the levels that are nearest to its own."""
    if not task.levels:
        return np.full(len(task.outputs), 1 / len(task.outputs))
    levels = np.array(task.levels)
    return np.diff(np.r_[0.0, (levels[1:] + levels[:-1]) / 2, 1.0])


def _calendar(sums: pl.DataFrame) -> tuple[pl.Series, int]:
    """Every day, or period, from the first to the last with results, and its length in days."""
    days = sums["day"].unique().sort()
    gaps = days.diff().dt.total_days().drop_nulls()
    step = int(gaps.median() or 1) if gaps.len() else 1  # pyright: ignore[reportArgumentType]
    step = step if step >= 7 else 1
    return pl.date_range(days[0], days[-1], interval=f"{step}d", eager=True).alias("day"), step


def _groups(sums: pl.DataFrame, days: pl.Series) -> dict[str, dict[str, Floats]]:
    """Name of a segment ("" is all) to its sums, one value per day of the calendar."""
    of = {"": sums}
    if "price" in sums.columns:
        of |= {f"{price} price": sums.filter(pl.col("price") == price) for price in PRICES}
    if "part" in sums.columns:
        of |= {str(part): sums.filter(pl.col("part") == part) for part in sums["part"].unique().sort() if part}
    figures = [name for name in sums.columns if name not in {"day", "part", "price"}]
    found = {}
    for name, frame in of.items():
        daily = frame.group_by("day").agg(pl.col(figures).sum())
        rows = days.to_frame().join(daily, on="day", how="left", maintain_order="left").select(figures)
        values = rows.fill_null(0).cast(pl.Float64)
        found[name] = {figure: values[figure].to_numpy() for figure in figures}
    return found


def _computed(
    groups: Mapping[str, Mapping[str, Floats]],
    task: Task,
    days: pl.Series,
    step: int,
    reference: tuple[date, date] | None,
) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, values and rows of each signal that the sums allow."""
    whole = groups[""]
    # Of weeks, or longer periods, four make a window.
    short, long = (WINDOW_DAYS, LONG_DAYS) if step == 1 else (4, 4)
    rows = _trailing(whole["rows"], short)
    loss = _ratio(whole, "loss", "rows", short)
    yield LOSS, np.log(loss), rows
    yield OVER_BASELINE, np.log(_ratio(whole, "loss", "baseline_loss", long)), _trailing(whole["rows"], long)
    if step == 1:
        yield NEWER_LOSS, np.log(loss / _ratio(whole, "loss", "rows", long)), rows
    for name, group in groups.items() if "error" in whole else ():
        bias = _ratio(group, "error", "scale", short)
        yield f"{BIAS}: {name}" if name else BIAS, bias, _trailing(group["rows"], short)
    quantiles = dict(zip(_quantiles(task), task.levels, strict=True))
    levels = {output: level for output, level in quantiles.items() if f"below {output}" in whole}
    for output, level in levels.items():
        yield coverage_of(output), _ratio(whole, f"below {output}", "rows", short) - level, rows
    upper = {output: level for output, level in levels.items() if level > MEDIAN}
    lower = {output: level for output, level in levels.items() if level < MEDIAN}
    for name, some in ((UPPER_COVERAGE, upper), (LOWER_COVERAGE, lower)):
        if some:
            yield name, _covered(whole, some, short), rows
    cheap, usual = (groups.get(f"{price} price") for price in PRICES[:2])
    if upper and step == 1 and cheap is not None and usual is not None:
        apart = _covered(cheap, upper, PRICE_DAYS) - _covered(usual, upper, PRICE_DAYS)
        yield PRICE_PROFILE, apart, _trailing(cheap["rows"], PRICE_DAYS)
    if levels and step == 1:
        inner = [output for output, level in levels.items() if MEDIAN <= level <= INNER] or list(levels)
        covered = np.mean([_ratio(whole, f"below {output}", "rows", 1) for output in inner], axis=0)
        yield WEEKDAY_PROFILE, _profile(covered, whole["rows"], days, reference), rows


def _covered(group: Mapping[str, Floats], levels: Mapping[str, float], width: int) -> Floats:
    """Mean of the quantiles' shares less their levels, each over its deviation in one draw."""
    apart = [
        (_ratio(group, f"below {output}", "rows", width) - level) / np.sqrt(level * (1 - level))
        for output, level in levels.items()
    ]
    return np.mean(apart, axis=0)


def _profile(values: Floats, rows: Floats, days: pl.Series, reference: tuple[date, date] | None) -> Floats:
    """Spread of a week's values, each less the median of its weekday in the reference; days of few rows left out."""
    first, last = reference or (days[0], days[-1])
    is_usual = days.is_between(first, last).to_numpy()
    typical = np.median(rows[is_usual & (rows > 0)]) if (is_usual & (rows > 0)).any() else 0.0
    known = np.where(rows >= 0.5 * typical, values, np.nan)
    weekday = days.dt.weekday().to_numpy()
    apart = np.full(values.size, np.nan)
    for number in range(1, 8):
        of_weekday = weekday == number
        past = known[of_weekday & is_usual]
        if (~np.isnan(past)).any():
            apart[of_weekday] = known[of_weekday] - np.nanmedian(past)
    windows = np.lib.stride_tricks.sliding_window_view(np.r_[np.full(WINDOW_DAYS - 1, np.nan), apart], WINDOW_DAYS)
    seen = (~np.isnan(windows)).sum(axis=1)
    mean = np.nansum(windows, axis=1) / np.maximum(seen, 1)
    spread = np.sqrt(np.nansum((windows - mean[:, None]) ** 2, axis=1) / np.maximum(seen, 1))
    return np.where(seen >= LEAST_WEEKDAYS, spread, np.nan)


def _trailing(values: Floats, width: int) -> Floats:
    totals = np.cumsum(np.r_[np.zeros(width), values])
    return totals[width:] - totals[:-width]


def _ratio(group: Mapping[str, Floats], above: str, below: str, width: int) -> Floats:
    """Sum over sum of the trailing windows; NaN where there is nothing to divide by."""
    divisor = _trailing(group[below], width)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _trailing(group[above], width) / divisor
    return np.where(divisor > 1e-12, np.where(found == 0, np.nan, found) if above == "loss" else found, np.nan)


def first_whole_day(first: date, signal: str) -> date:
    """The first day whose window lies within what begins on a day."""
    return first + timedelta(days=window_days(signal) - 1)
