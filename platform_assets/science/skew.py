"""Faults of a model's inputs that are no change of the world: each a finding with its name, its place and its size.

A fault is repaired where it arose; a change of the world is learned. So these stand apart from drift, and a retraining
on them would teach the model the fault.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from platform_assets.science.feature_drift import (
    CATEGORIES,
    LEAST_WINDOWS,
    MAD_TO_SD,
    benjamini_hochberg,
)

KINDS: Final = (
    "column missing",
    "column retyped",
    "column added",
    "new category",
    "more nulls",
    "fewer rows",
    "more rows",
    "duplicate key",
)
LEAST_RISE: Final = 0.01  # of the share of nulls; less is no fault, however quiet the past was
LEAST_SPREAD: Final = 0.02  # of the share of nulls, as the arcsine of its root
LEAST_VOLUME_SPREAD: Final = 0.1  # of the logarithm of a count: 10%
VOLUME_SPREADS: Final = 5.0  # robust standard deviations of the logarithm
VOLUME_SHARE: Final = 0.75  # of the smallest of the periods compared with, or beyond the largest over it
SHOWN: Final = 5


@dataclass(frozen=True)
class Finding:
    """One fault: its kind (of `KINDS`), where it is, and what was found against what was expected."""

    kind: str
    where: str
    found: str
    expected: str
    is_fault: bool = True  # False: told, but no reason to distrust the rows

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.kind}: {self.where}: {self.found}, expected {self.expected}"


def schema_skew(
    expected: Mapping[str, pl.DataType], found: Mapping[str, pl.DataType], added: Sequence[str] = ()
) -> list[Finding]:
    """Columns that are missing or of another type, each by name; `added` are those that the reference did not have.

    A column more harms no model that does not read it: it is told, and is no fault.
    """
    gone = [
        Finding("column missing", name, "no such column", str(dtype))
        for name, dtype in expected.items()
        if name not in found
    ]
    other = [
        Finding("column retyped", name, str(found[name]), str(dtype))
        for name, dtype in expected.items()
        if name in found and found[name] != dtype
    ]
    return [*gone, *other, *(Finding("column added", name, str(found.get(name)), "none", False) for name in added)]


def category_skew(reference: pl.DataFrame, current: pl.DataFrame, columns: Sequence[str]) -> list[Finding]:
    """Categories that the reference does not have, column by column, with how many rows have them.

    They are a fault where a hundredth of the rows have them.
    """
    found = []
    for name in columns:
        if reference.schema[name] not in CATEGORIES or current.schema[name] not in CATEGORIES:
            continue
        known = reference[name].cast(pl.String).drop_nulls().unique()
        now = current.select(value=pl.col(name).cast(pl.String)).drop_nulls()
        new = now.filter(~pl.col("value").is_in(known.implode())).group_by("value").len()
        if new.is_empty():
            continue
        most = new.sort("len", "value", descending=[True, False])
        shown = ", ".join(f"{value!r} ({rows})" for value, rows in most.head(SHOWN).iter_rows())
        rest = f" and {new.height - SHOWN} more" if new.height > SHOWN else ""
        is_fault = new["len"].sum() >= LEAST_RISE * current.height  # less is a product that has come
        found.append(Finding("new category", name, f"{shown}{rest}", f"one of {known.len()} categories", is_fault))
    return found


def null_skew(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    columns: Sequence[str],
    *,
    window: str,
    unit: str,
    alpha: float = 0.01,
) -> list[Finding]:
    """Features with more rows without a value (null or NaN) than on past occasions.

    `window` names the column of the reference that says to which occasion a row belongs, `unit` the one that says of what
    it is (a series): rows of one unit are without a value together, so they count as one. The share is judged on the scale
    of the arcsine of its root, where its spread does not depend on it, among the occasions on which the feature had a
    value at all; adjusted over the features for the false discovery rate. Rises below a hundredth are none.
    Source: Anscombe (1948), Biometrika 35, for the transformation.
    """
    from scipy.special import ndtr

    if not columns or reference.is_empty() or current.is_empty():
        return []
    past_shares, shares = (_missing_shares(rows, columns, window, unit) for rows in (reference, current))
    least = max(LEAST_SPREAD, 0.5 / np.sqrt(current[unit].n_unique()))
    p_values, now, usual = [], [], []
    for name in columns:
        past = past_shares[name].filter(past_shares[name] < 1.0).to_numpy()
        now.append(float(shares[name].mean()))  # pyright: ignore[reportArgumentType]
        usual.append(float(past.mean()) if past.size else float("nan"))
        if past.size < LEAST_WINDOWS:
            p_values.append(float("nan"))
            continue
        roots = np.arcsin(np.sqrt(past))
        # Not the median and its like: where most occasions have no null at all, both are 0 and every null is unheard of.
        score = (np.arcsin(np.sqrt(now[-1])) - roots.mean()) / max(float(roots.std()), least)
        p_values.append(float(ndtr(-score)) if now[-1] - usual[-1] >= LEAST_RISE else 1.0)
    q_values = benjamini_hochberg(np.array(p_values))
    units = current[unit].n_unique()
    return [
        Finding(
            "more nulls",
            name,
            f"{share:.1%} of {units:,} {unit.removesuffix('_id')}",
            f"{before:.1%} as on past occasions",
        )
        for name, share, before, q in zip(columns, now, usual, q_values, strict=True)
        if q < alpha
    ]


def _missing_shares(rows: pl.DataFrame, columns: Sequence[str], window: str, unit: str) -> pl.DataFrame:
    """Per occasion the mean share of rows without a value over its units, for each column."""
    by_unit = rows.group_by(window, unit).agg(_missing(rows, name).mean().alias(name) for name in columns)
    return by_unit.group_by(window).agg(pl.col(name).mean() for name in columns)


def volume_skew(counts: pl.DataFrame, what: Mapping[str, str], *, period: str) -> list[Finding]:
    """Whether the last period has about as many of something as the periods before it on the same weekday.

    counts: one row per period in ascending order: `period` (Date) and a column of counts for each key of `what`, whose
    value says what is counted. A count is a fault where it is both five robust standard deviations of the logarithm off
    and a quarter beyond the least or the most of them. Fewer than eight such periods say nothing.
    """
    if counts.is_empty():
        return []
    same = counts.filter(pl.col(period).dt.weekday() == pl.col(period).last().dt.weekday()).sort(period)
    past, last = same[:-1], same[-1]
    if past.height < LEAST_WINDOWS:
        return []
    found = []
    for name, about in what.items():
        now, before = float(last[name].item()), past[name].cast(pl.Float64).to_numpy()
        logs = np.log(np.maximum(before, 0.5))
        spread = max(MAD_TO_SD * float(np.median(np.abs(logs - np.median(logs)))), LEAST_VOLUME_SPREAD)
        score = (np.log(max(now, 0.5)) - np.median(logs)) / spread
        kind = None
        if score < -VOLUME_SPREADS and now < VOLUME_SHARE * before.min():
            kind = "fewer rows"
        elif score > VOLUME_SPREADS and now > before.max() / VOLUME_SHARE:
            kind = "more rows"
        if kind:
            where = f"{about} on {last[period].item()}"
            usual = f"about {np.median(before):,.0f} ({before.min():,.0f} to {before.max():,.0f})"
            found.append(Finding(kind, where, f"{now:,.0f}", f"{usual} on that weekday"))
    return found


def duplicate_skew(rows: pl.DataFrame, key: Sequence[str], where: str) -> list[Finding]:
    """Rows whose key another row has too, with the first few keys."""
    twice = rows.group_by(key).len().filter(pl.col("len") > 1).sort(key)
    if twice.is_empty():
        return []
    shown = "; ".join(", ".join(str(value) for value in row) for row in twice.select(key).head(SHOWN).iter_rows())
    found = f"{twice.height:,} keys stand more than once, such as {shown}"
    return [Finding("duplicate key", f"{where} ({', '.join(key)})", found, "each once")]


def _missing(rows: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    return (column.fill_nan(None) if rows.schema[name].is_float() else column).is_null()
