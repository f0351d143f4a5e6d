"""What is wrong with the rows of a view's table. Pure: polars in, polars out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

_EXAMPLES = 3  # offending rows that a finding shows


@dataclass(frozen=True)
class Finding:
    """One check's answer: rows that fail it, the first of them whole, and the figures behind it."""

    failing: int
    examples: tuple[str, ...]
    figures: Mapping[str, Any]

    @property
    def is_clean(self) -> bool:
        return self.failing == 0


def nulls(rows: pl.DataFrame, required: Sequence[str]) -> Finding:
    """Keys and times are never null; the share of nulls of every other column is told."""
    present = [name for name in required if name in rows.columns]
    offending = rows.filter(pl.any_horizontal(pl.col(present).is_null())) if present else rows.clear()
    others = [name for name in rows.columns if name not in required]
    shares = {f"nulls of {name}": rows[name].null_count() / max(rows.height, 1) for name in others}
    return _finding(offending.select(present), {"rows": rows.height, **shares})


def duplicates(rows: pl.DataFrame, identity: Sequence[str]) -> Finding:
    """One row for each key and time: of two, Feast would take either."""
    present = [name for name in identity if name in rows.columns]
    copies = (
        rows.group_by(present).len("copies").filter(pl.col("copies") > 1).sort(present) if present else rows.clear()
    )
    return _finding(copies, {"rows": rows.height, "keys and times with copies": copies.height})


def ranges(rows: pl.DataFrame, bounds: Mapping[str, tuple[float | None, float | None]]) -> Finding:
    """Numbers are finite, and within the bounds that are stated; NaN counts as null, as in Feast."""
    figures: dict[str, Any] = {}
    blamed = []
    for name, dtype in rows.schema.items():
        if not dtype.is_numeric():
            continue
        value, (low, high) = pl.col(name), bounds.get(name, (None, None))
        wrong = value.is_infinite() if dtype.is_float() else pl.lit(value=False)
        value = value.fill_nan(None) if dtype.is_float() else value
        if low is not None:
            wrong = wrong | (value < low)
        if high is not None:
            wrong = wrong | (value > high)
        blamed.append(pl.when(wrong.fill_null(value=False)).then(pl.lit(f"{name} ")).otherwise(pl.lit("")))
        found = rows.select(value.min().alias("low"), value.max().alias("high")).row(0)
        figures |= {
            f"{end} of {name}": float(x) for end, x in zip(("least", "greatest"), found, strict=True) if x is not None
        }
    offending = rows
    if blamed:
        offending = rows.with_columns(pl.concat_str(blamed).str.strip_chars_end().alias("out of range"))
        offending = offending.filter(pl.col("out of range") != "")
    return _finding(offending if blamed else rows.clear(), figures)


def freshness(rows: pl.DataFrame, event: str, now: datetime, limit: timedelta | None) -> Finding:
    """The newest event is younger than the limit; an empty table is stale where there is one."""
    newest = rows[event].max() if rows.height else None
    if not isinstance(newest, datetime):
        return Finding(int(limit is not None), ("no rows",) if limit else (), {"rows": rows.height})
    age = now - newest
    figures = {"newest event": newest.isoformat(), "age in hours": age.total_seconds() / 3600}
    is_stale = limit is not None and age > limit
    if limit is not None:
        figures["limit in hours"] = limit.total_seconds() / 3600
    return Finding(int(is_stale), (f"newest event at {newest.isoformat()}",) if is_stale else (), figures)


def _finding(offending: pl.DataFrame, figures: Mapping[str, Any]) -> Finding:
    return Finding(offending.height, tuple(str(row) for row in offending.head(_EXAMPLES).to_dicts()), figures)
