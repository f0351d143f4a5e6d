"""The outlook of a champion: its expected loss in each week that it has forecast, with an interval, and what came of it.

A week here is one of those after an issue: days 1 to 7, 8 to 14 and so on. How far past estimates were off says how far
the next may be, as in conformal prediction, but weeks of one shop resemble each other: the quarter's 13 weeks count as four
independent ones, the interval is Student's with as many degrees of freedom, and with fewer than two there is none. The weeks
are those of the champion's backtest, each estimated without it, and those that it has lived through, as estimated then.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import SchemaError
from platform_assets.science.expected_loss import FOLDS, LEARNED, METHODS, OWN, WEEK_DAYS, learned
from platform_assets.science.tasks import Task

Floats = NDArray[np.float64]

LEVEL: Final = 0.9  # of the interval
ALIKE_WEEKS: Final = 13 / 4  # that count as one: daily sales carry about four independent days a quarter
LEAST_WEEKS: Final = 7  # of past estimates; fewer are less than two independent ones, and no interval is promised
LEAST_SHARE: Final = 0.5  # of a week's rows with a label; before that it is not compared
KEY: Final = ("model_version", "issued_at", "target_on")
ESTIMATES: Final = pl.Schema(
    {
        "issued_at": pl.Datetime("us", "UTC"),
        "target_on": pl.Date,
        "week": pl.Int64,
        "rows": pl.Int64,
        "expected": pl.Float64,  # loss per row
        "low": pl.Float64,  # of the week over its expected loss; null where nothing is promised
        "high": pl.Float64,
        "weeks": pl.Int64,  # of past estimates that the interval stands on
        "error": pl.Float64,  # usual one of theirs, in logarithms
        "method": pl.String,
    }
)
OUTCOMES: Final = pl.Schema(
    {
        "issued_at": pl.Datetime("us", "UTC"),
        "week": pl.Int64,
        "first_on": pl.Date,
        "last_on": pl.Date,
        "rows": pl.Int64,
        "expected": pl.Float64,
        "realized": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "is_inside": pl.Boolean,
    }
)


@dataclass(frozen=True)
class Scored:
    """Forecasts whose labels have come. rows: issued_at, target_on, horizon_days; all row for row."""

    rows: pl.DataFrame
    said: pl.DataFrame
    label: Floats
    loss: Floats

    @classmethod
    def of(cls, rows: pl.DataFrame, said: pl.DataFrame, task: Task, *, label: str) -> "Scored":
        """Those of the rows that have a label."""
        if rows.height != said.height:
            raise SchemaError(f"outlook: {rows.height} rows and {said.height} forecasts", hint="give both row for row")
        is_known = rows[label].is_not_null()
        known, forecasts = rows.filter(is_known), said.filter(is_known).select(task.outputs)
        truth = known[label].cast(pl.Float64)
        kept = known.select("issued_at", "target_on", "horizon_days")
        return cls(kept, forecasts, truth.to_numpy(), task.loss(truth, forecasts).to_numpy())

    def part(self, mask: NDArray[np.bool_]) -> "Scored":
        """The rows where it is true."""
        return Scored(self.rows.filter(mask), self.said.filter(mask), self.label[mask], self.loss[mask])

    def and_(self, other: "Scored") -> "Scored":
        """Both, one after the other."""
        return Scored(
            pl.concat([self.rows, other.rows]),
            pl.concat([self.said, other.said]),
            np.r_[self.label, other.label],
            np.r_[self.loss, other.loss],
        )


@dataclass(frozen=True)
class Outlook:
    """Estimates of the days that were forecast and are not known yet, and what they stand on.

    estimates: as ESTIMATES; `error`: usual error of a week's estimate, in logarithms, NaN where none is known;
    `errors`: the same of each method in the backtest, by its name.
    """

    estimates: pl.DataFrame
    method: str
    weeks: int
    error: float
    errors: dict[str, float]


def outlook(
    tested: Scored, lived: Scored, outcomes: pl.DataFrame, rows: pl.DataFrame, said: pl.DataFrame, task: Task
) -> Outlook:
    """Expected loss of each issue and day of `rows`, from the champion's backtest and what has come true since.

    outcomes: past weeks' estimates beside their losses, as `compared` gives them. rows: issued_at, target_on,
    horizon_days, of forecasts whose labels have not come; said: those forecasts.
    """
    known = tested.and_(lived)
    errors, past = {}, {}
    for method in METHODS:
        past[method] = _errors(_left_out(tested, task, method))
        errors[method] = _root(past[method]["square"])
    judged = [method for method in METHODS if np.isfinite(errors[method])]
    method = min(judged, key=lambda name: errors[name]) if judged else OWN
    weeks = pl.concat([past[method], _errors(outcomes)]).group_by("block").agg(pl.col("square").mean())
    error, half = _root(weeks["square"]), half_width(weeks["square"].to_numpy())
    if not known.loss.size or rows.is_empty():
        return Outlook(pl.DataFrame(schema=ESTIMATES), method, weeks.height, error, errors)
    found = learned(known.rows, known.said, known.loss, known.label, task, method)
    estimates = _daily(rows, found.expected(rows, said.select(task.outputs), task)).with_columns(
        low=pl.lit(None if half is None else np.exp(-half), dtype=pl.Float64),
        high=pl.lit(None if half is None else np.exp(half), dtype=pl.Float64),
        weeks=pl.lit(weeks.height, dtype=pl.Int64),
        error=pl.lit(error),
        method=pl.lit(found.method),
    )
    return Outlook(estimates.select(*ESTIMATES).cast(ESTIMATES), method, weeks.height, error, errors)


def half_width(squares: Floats) -> float | None:
    """Half of the interval of one more week's error, in logarithms, from the squared errors of past ones.

    None where LEAST_WEEKS are not reached. Errors are about 0: the estimator's constant is free.
    """
    from scipy.stats import t

    if squares.size < LEAST_WEEKS:
        return None
    freedom = squares.size / ALIKE_WEEKS
    return float(t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(squares.mean() * (1 + 1 / freedom)))


def compared(kept: pl.DataFrame, lived: Scored, *, known_until: date) -> pl.DataFrame:
    """OUTCOMES, one row per issue and week that has passed by `known_until`: the estimate as it was made, and what it came to.

    kept: ESTIMATES. Closed days and rows without a label are left out of both sides: `expected`, `low`, `high` and
    `realized` are losses per row with a label, `rows`. A week of which fewer than half of the rows have one is left out.
    """
    came = (
        lived.rows.select("issued_at", "target_on")
        .with_columns(loss=lived.loss)
        .group_by("issued_at", "target_on")
        .agg(known=pl.len().cast(pl.Int64), loss=pl.col("loss").sum())
    )
    weeks = (
        kept.join(came, on=["issued_at", "target_on"], how="left")
        .with_columns(pl.col("known", "loss").fill_null(0))
        .group_by("issued_at", "week")
        .agg(
            first_on=pl.col("target_on").min(),
            last_on=pl.col("target_on").max(),
            asked=pl.col("rows").sum(),
            rows=pl.col("known").sum(),
            expected=(pl.col("expected") * pl.col("known")).sum(),
            loss=pl.col("loss").sum(),
            low=pl.col("low").first(),
            high=pl.col("high").first(),
        )
        .filter(
            pl.col("last_on") <= known_until, pl.col("rows") >= LEAST_SHARE * pl.col("asked"), pl.col("expected") > 0
        )
    )
    return (
        weeks.select(
            "issued_at",
            "week",
            "first_on",
            "last_on",
            "rows",
            expected=pl.col("expected") / pl.col("rows"),
            realized=pl.col("loss") / pl.col("rows"),
            low=pl.col("low") * pl.col("expected") / pl.col("rows"),
            high=pl.col("high") * pl.col("expected") / pl.col("rows"),
        )
        .with_columns(is_inside=pl.col("realized").is_between("low", "high"))
        .sort("issued_at", "week")
    )


def coverage(outcomes: pl.DataFrame) -> tuple[float, int]:
    """Share of past weeks' losses inside their interval, and the calendar weeks that it is a mean over; NaN and 0 of none."""
    promised = outcomes.filter(pl.col("low").is_not_null())
    if promised.is_empty():
        return float("nan"), 0
    weeks = promised.group_by(_block()).agg(pl.col("is_inside").mean())
    return float(weeks["is_inside"].to_numpy().mean()), weeks.height


def spans(estimates: pl.DataFrame) -> dict[str, tuple[float, float | None, float | None]]:
    """Of the newest issue: expected loss per row of the coming week and of all weeks, with their interval.

    The interval of all weeks is a week's: errors of weeks of one month hardly cancel.
    """
    if estimates.is_empty():
        return {}
    newest = estimates.filter(pl.col("issued_at") == pl.col("issued_at").max()).sort("target_on")
    found: dict[str, tuple[float, float | None, float | None]] = {}
    for part in (newest.filter(pl.col("week") == 1), newest):
        if part.is_empty():
            continue
        rows = part["rows"].to_numpy()
        expected = float(part["expected"].to_numpy() @ rows / rows.sum())
        low, high = (None if part[name][0] is None else expected * part[name][0] for name in ("low", "high"))
        found[f"coming {WEEK_DAYS * int(part['week'].to_numpy().max())} days"] = (expected, low, high)
    return found


def coming(estimates: pl.DataFrame) -> pl.DataFrame:
    """Of the newest issue each week, as `compared` has those that have passed; what is not known yet is null."""
    newest = estimates.filter(pl.col("issued_at") == pl.col("issued_at").max())
    expected = (pl.col("expected") * pl.col("rows")).sum() / pl.col("rows").sum()
    return (
        newest.group_by("issued_at", "week")
        .agg(
            first_on=pl.col("target_on").min(),
            last_on=pl.col("target_on").max(),
            rows=pl.col("rows").sum(),
            expected=expected,
            realized=pl.lit(None, dtype=pl.Float64),
            low=pl.col("low").first() * expected,
            high=pl.col("high").first() * expected,
            is_inside=pl.lit(None, dtype=pl.Boolean),
        )
        .sort("week")
    )


def about(estimates: pl.DataFrame) -> str:
    """What the newest estimates and their interval stand on, or why there is none."""
    if estimates.is_empty():
        return "Nothing is estimated: nothing is forecast that is not known yet, or there is no backtest to learn from"
    newest = estimates.sort("issued_at").row(-1, named=True)
    method, weeks = newest["method"], newest["weeks"]
    told = {OWN: "What the forecasts imply, times a factor", LEARNED: "Learned from past forecasts and their losses"}[
        method
    ]
    blind = "A change in how demand answers shows only once labels come"
    if newest["low"] is None:
        return f"{told}. Estimates of {weeks} past weeks are known, {LEAST_WEEKS} are needed: no interval is promised. {blind}"
    return (
        f"{told}. Such estimates of {weeks} past weeks were off by {np.expm1(newest['error']):.0%}; weeks resemble each other, so the "
        f"{LEVEL:.0%} interval takes them for {weeks / ALIKE_WEEKS:.0f} independent ones. {blind}"
    )


def _daily(rows: pl.DataFrame, expected: Floats) -> pl.DataFrame:
    return (
        rows.select("issued_at", "target_on", _week())
        .with_columns(expected=expected)
        .group_by("issued_at", "target_on")
        .agg(pl.col("week").first(), rows=pl.len().cast(pl.Int64), expected=pl.col("expected").mean())
        .sort("issued_at", "target_on")
    )


def _left_out(tested: Scored, task: Task, method: str) -> pl.DataFrame:
    """The backtest's weeks, each estimated from the others: issued_at, week, last_on, expected, realized."""
    block = tested.rows.select(pl.col("target_on").dt.truncate("1w").rank("dense")).to_series().to_numpy()
    distinct = int(block.max()) if block.size else 0
    if distinct < 2:
        return _outcomes(tested.part(np.zeros(block.size, dtype=np.bool_)), np.zeros(0))
    fold = (block.astype(np.int64) - 1) * min(FOLDS, distinct) // distinct
    expected = np.zeros(block.size)
    for number in np.unique(fold):
        out = fold == number
        rest, left = tested.part(~out), tested.part(out)
        found = learned(rest.rows, rest.said, rest.loss, rest.label, task, method)
        expected[out] = found.expected(left.rows, left.said, task)
    return _outcomes(tested, expected)


def _outcomes(scored: Scored, expected: Floats) -> pl.DataFrame:
    return (
        scored.rows.select("issued_at", "target_on", _week())
        .with_columns(expected=expected, realized=scored.loss)
        .group_by("issued_at", "week")
        .agg(last_on=pl.col("target_on").max(), expected=pl.col("expected").mean(), realized=pl.col("realized").mean())
    )


def _errors(outcomes: pl.DataFrame) -> pl.DataFrame:
    """One row per calendar week: the mean of its squared errors, in logarithms."""
    apart = (pl.col("realized").clip(1e-9) / pl.col("expected").clip(1e-9)).log() ** 2
    return outcomes.group_by(_block()).agg(square=apart.mean()).select("block", "square")


def _root(squares: pl.Series) -> float:
    return float(np.sqrt(squares.to_numpy().mean())) if squares.len() else float("nan")


def _week() -> pl.Expr:
    return ((pl.col("horizon_days").cast(pl.Int64) - 1) // WEEK_DAYS + 1).alias("week")


def _block() -> pl.Expr:
    return pl.col("last_on").dt.truncate("1w").alias("block")
