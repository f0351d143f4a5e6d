"""From rows to the numbers that a network reads: scaled, standardised, nulls marked.

Everything that was learned from the training rows (means, deviations, which features had nulls) is in the encoding, and the
encoding is in the model's file: a row is read the same way in training and in serving, whatever else stands beside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science.demand.columns import IN_UNITS

Array = NDArray[np.float32]

SCALE: Final = "level"  # backward-looking size of the series, units per period
CATEGORIES: Final = {"target_weekday": (1, 7), "target_month": (1, 12)}
PATCH: Final = 7  # periods that the network reads as one: about a week of daily sales
SMALLEST_DEVIATION: Final = 1e-6  # of logarithms; what varies less is rounding
LARGEST: Final = 6.0  # standard deviations at which an input is cut; beyond it nothing was learned


@dataclass(frozen=True)
class Input:
    """How one feature is read.

    number: signed log of the value (over the series' scale where `is_in_units`), less `mean`, over `deviation`; a null is
    0, and 1 in a column of its own where the training rows had nulls. A deviation of 0 is a feature that never varied:
    nothing was learned about it, and whatever it is later reads as 0. category: one column per value from `low` to `high`.
    """

    name: str
    kind: Literal["number", "category"]
    is_in_units: bool = False
    has_nulls: bool = False
    mean: float = 0.0
    deviation: float = 1.0
    low: int = 0
    high: int = 0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.high - self.low + 1 if self.kind == "category" else 1 + self.has_nulls


@dataclass(frozen=True)
class Encoding:
    """The features in order, the sequence feature if there is one, and the scale of rows that do not tell theirs."""

    inputs: tuple[Input, ...]
    sequence: str | None
    periods: int
    scale: str | None
    usual_scale: float
    smallest_scale: float

    @classmethod
    def learn(cls, rows: pl.DataFrame, features: Sequence[str], label: str) -> Self:
        """The encoding of these training rows. Raises: SchemaError for a feature that is missing or no number."""
        _check(rows, features)
        lists = [name for name in features if isinstance(rows[name].dtype, pl.List)]
        if len(lists) > 1:
            raise SchemaError(f"a network reads one list feature; found {', '.join(lists)}")
        longest = rows[lists[0]].list.len().max() if lists else None
        periods = -(-int(str(longest or 0)) // PATCH) * PATCH
        scale = SCALE if SCALE in features else None
        sizes = rows[scale].cast(pl.Float64).fill_nan(None).drop_nulls() if scale else rows[label].abs().drop_nulls()
        sizes = sizes.filter(sizes > 0).to_numpy()
        if rows.is_empty():
            raise EmptyFrameError("a network needs rows to learn from")
        usual = float(np.median(sizes)) if scale and sizes.size else float(sizes.mean()) if sizes.size else 1.0
        smallest = float(sizes.min()) if scale and sizes.size else usual
        draft = cls((), lists[0] if periods else None, periods, scale, usual, smallest)
        scales = draft.scales(rows)
        inputs = tuple(_learn(rows[name], name, scales) for name in features if name not in lists)
        return cls(inputs, draft.sequence, periods, scale, usual, smallest)

    @property
    def width(self) -> int:
        """Number of columns of `dense`."""
        return sum(one.width for one in self.inputs)

    def scales(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """(rows,), > 0: what the row's demand is measured in."""
        if self.scale is None:
            return np.full(rows.height, self.usual_scale)
        scales = rows[self.scale].cast(pl.Float64).fill_null(self.usual_scale).to_numpy()
        return np.where(np.isfinite(scales), np.maximum(scales, self.smallest_scale), self.usual_scale)

    def dense(self, rows: pl.DataFrame, scales: NDArray[np.float64]) -> Array:
        """(rows, width)"""
        _check(rows, [one.name for one in self.inputs])
        found = np.zeros((rows.height, self.width), np.float32)
        place = 0
        for one in self.inputs:
            if one.kind == "category":
                values = rows[one.name].cast(pl.Float64).fill_null(-1).to_numpy()
                found[:, place : place + one.width] = values[:, None] == np.arange(one.low, one.high + 1)
            else:
                values = _values(rows[one.name], scales if one.is_in_units else None)
                is_null = np.isnan(values)
                if one.deviation > 0:
                    standard = np.where(is_null, 0.0, (values - one.mean) / one.deviation)
                    found[:, place] = np.clip(standard, -LARGEST, LARGEST)
                if one.has_nulls:
                    found[:, place + 1] = is_null
            place += one.width
        return found

    def recent(self, rows: pl.DataFrame, scales: NDArray[np.float64]) -> Array:
        """(rows, periods): log of the recent units over the scale, oldest first, zeros where a series is shorter."""
        if self.sequence is None:
            return np.zeros((rows.height, 0), np.float32)
        _check(rows, [self.sequence])
        lists = rows[self.sequence].cast(pl.List(pl.Float32)).fill_null(pl.Series([[]], dtype=pl.List(pl.Float32)))
        lists = lists.list.tail(self.periods)
        missing = self.periods - lists.list.len().cast(pl.Int64).to_numpy()
        units = np.zeros((rows.height, self.periods), np.float32)
        is_given = np.arange(self.periods) >= missing[:, None]
        units[is_given] = lists.filter(lists.list.len() > 0).explode().fill_null(0.0).to_numpy()
        np.nan_to_num(units, copy=False, nan=0.0, posinf=0.0, neginf=0.0)  # in place: 600,000 rows are 134 MB
        np.maximum(units, 0.0, out=units)
        units /= scales.astype(np.float32)[:, None]
        return np.log1p(units, out=units)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """From `to_json`."""
        return cls(**{**raw, "inputs": tuple(Input(**one) for one in raw["inputs"])})


def _check(rows: pl.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise SchemaError(f"features missing: {', '.join(missing)}; columns: {', '.join(rows.columns)}")
    wrong = [f"{name} ({rows[name].dtype})" for name in names if not _is_readable(rows[name].dtype)]
    if wrong:
        raise SchemaError(
            f"a network reads numbers, booleans and one list of numbers; found {', '.join(wrong)}",
            hint="leave the column out of `features` in defs.yaml, or make numbers of it in a feature view",
        )


def _is_readable(dtype: pl.DataType) -> bool:
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    return inner.is_numeric() or inner in {pl.Boolean, pl.Null}


def _values(values: pl.Series, scales: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Signed log of the values, over the scales if given; NaN where null or not finite."""
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    if scales is not None:
        numbers = numbers / scales
    return np.sign(numbers) * np.log1p(np.abs(numbers))


def _learn(values: pl.Series, name: str, scales: NDArray[np.float64]) -> Input:
    if name in CATEGORIES:
        low, high = CATEGORIES[name]
        return Input(name, "category", low=low, high=high)
    is_in_units = name in IN_UNITS
    numbers = _values(values, scales if is_in_units else None)
    is_null = np.isnan(numbers)
    known = numbers[~is_null]
    mean, deviation = (float(known.mean()), float(known.std())) if known.size else (0.0, 0.0)
    deviation = deviation if deviation > SMALLEST_DEVIATION else 0.0
    return Input(name, "number", is_in_units, bool(is_null.any() and known.size), mean, deviation)
