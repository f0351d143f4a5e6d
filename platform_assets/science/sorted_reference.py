"""A reference column, sorted once and kept, and the grid on which others are compared with it without being sorted."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, SchemaError

Floats = NDArray[np.float64]

CELLS: Final = 1 << 16  # of a grid at most
PER_CELL: Final = 16  # values, where the reference is so small that the grid has fewer cells
CHUNK: Final = 1 << 18  # values placed at once: their cells stay in the cache
SIGN: Final = np.int64(0x7FFFFFFFFFFFFFFF)


@dataclass(frozen=True)
class Grid:
    """Cells of equal width between two numbers, of the values or of their bits; what lies outside is in the end cells.

    The bits of a double, read as a whole number, grow with it and are nearly its logarithm: equal widths there suit a
    long tail.
    """

    low: float
    width: float
    of_bits: bool
    count: int

    def cells(self, values: Floats) -> NDArray[np.int32]:
        """Cell of each value, within [0, count); never falls where the value rises."""
        scale = _ordered_bits(values) if self.of_bits else values
        with np.errstate(over="ignore"):
            return np.clip((scale - self.low) / self.width, 0.0, self.count - 1.0).astype(np.int32)

    def bounds(self) -> Floats:
        """(count,) where each cell begins; the first and the last have no end on the outside."""
        scale = np.arange(self.count, dtype=np.float64) * self.width + self.low
        return _of_bits(scale.astype(np.int64)) if self.of_bits else scale

    @classmethod
    def over(cls, ordered: Floats) -> "Grid":
        """The grid, of values or of bits, whose fullest cell of different values is the less full."""
        low, high = ordered[int(0.001 * ordered.size)], ordered[int(0.999 * (ordered.size - 1))]
        finite = ordered[np.isfinite(ordered)]
        if not np.isfinite(low) or not np.isfinite(high):
            low, high = (finite[0], finite[-1]) if finite.size else (0.0, 1.0)
        ends, count = np.array([low, high]), min(CELLS, max(PER_CELL, 1 << (ordered.size // PER_CELL).bit_length()))
        bits = _ordered_bits(ends)
        grids = [
            cls(float(first), max(float(last) - float(first), np.finfo(np.float64).tiny) / (count - 1), of_bits, count)
            for (first, last), of_bits in ((ends, False), (bits, True))
        ]
        grids = [grid for grid in grids if np.isfinite(grid.width)]
        return min(grids, key=lambda grid: np.bincount(grid.cells(ordered)).max())


@dataclass(frozen=True)
class Reference:
    """A numeric column's values, sorted once, with the grid on which others are compared with them."""

    name: str
    values: Floats  # (n,) ascending, without nulls and NaN
    missing: int  # rows without a value
    grid: Grid
    up_to: NDArray[np.int64]  # (cells,) values in this cell and all below
    only: Floats  # (cells,) the value of a cell that holds no other; NaN where it holds none or several
    above: Floats  # (cells,) sum of what each value of a cell is above the cell's beginning

    @classmethod
    def of(cls, column: pl.Series) -> "Reference":
        """Raises: SchemaError if the column is neither numeric nor Boolean; EmptyFrameError if it has no value."""
        values, missing = known(column)
        ordered = np.sort(values)
        grid = Grid.over(ordered)
        up_to = np.cumsum(_histogram(grid, ordered))
        least = ordered[np.minimum(np.r_[0, up_to[:-1]], ordered.size - 1)]
        greatest = ordered[np.maximum(up_to - 1, 0)]
        only = np.where((np.diff(up_to, prepend=0) > 0) & (least == greatest), greatest, np.nan)
        above = _sums(grid, ordered, grid.bounds())
        return cls(column.name, ordered, missing, grid, up_to, only, above)

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, within [0, 1)."""
        return self.missing / (self.missing + self.values.size)

    def edges(self, bins: int) -> Floats:
        """Inner edges, at most `bins` - 1, of bins that hold equal shares of the values; ties make them fewer.

        Each is a value of the reference: between a finite one and an infinite one there is nothing to interpolate.
        """
        return np.unique(np.quantile(self.values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))


@dataclass(frozen=True)
class Current:
    """Values to be compared with a reference: placed on its grid, and not sorted."""

    values: Floats  # (m,) without nulls and NaN
    missing: int
    up_to: NDArray[np.int64]  # (cells,) values in this cell and all below

    @classmethod
    def of(cls, column: pl.Series, reference: Reference) -> "Current":
        """Raises: SchemaError, EmptyFrameError as for a reference."""
        values, missing = known(column)
        return cls(values, missing, np.cumsum(_histogram(reference.grid, values)))

    def above(self, grid: Grid, bounds: Floats) -> Floats:
        """(cells,) sum of what each value of a cell is above the cell's beginning."""
        return _sums(grid, self.values, bounds)

    def differs(self, is_wanted: NDArray[np.bool_], reference: Reference) -> NDArray[np.bool_]:
        """The wanted cells in which a value is not the reference's only one."""
        found = np.zeros(reference.grid.count, dtype=np.bool_)
        for start in range(0, self.values.size, CHUNK):
            chunk = self.values[start : start + CHUNK]
            cells = reference.grid.cells(chunk)
            found[cells[chunk != reference.only[cells]]] = True
        return found & is_wanted

    def inside(self, is_wanted: NDArray[np.bool_], grid: Grid) -> Floats:
        """Values in the wanted cells, sorted."""
        if is_wanted.all():
            return np.sort(self.values)
        chunks = (self.values[start : start + CHUNK] for start in range(0, self.values.size, CHUNK))
        return np.sort(np.concatenate([chunk[is_wanted[grid.cells(chunk)]] for chunk in chunks]))


def known(column: pl.Series) -> tuple[Floats, int]:
    """Values of a column that are neither null nor NaN, and how many rows are.

    Raises: SchemaError if the column is neither numeric nor Boolean; EmptyFrameError if it has no value.
    """
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise SchemaError(
            f"drift: `{column.name}` is {column.dtype}, expected numbers", hint="compare categories by chi_square"
        )
    values = column.cast(pl.Float64).drop_nulls().drop_nans()
    if values.is_empty():
        raise EmptyFrameError(f"drift: `{column.name}` has no value in {column.len()} rows")
    return values.to_numpy() + 0.0, column.len() - values.len()  # -0.0 is 0.0: one value has one cell


def _histogram(grid: Grid, values: Floats) -> NDArray[np.int64]:
    counts = np.zeros(grid.count, dtype=np.int64)
    for start in range(0, values.size, CHUNK):
        counts += np.bincount(grid.cells(values[start : start + CHUNK]), minlength=grid.count)
    return counts


def _sums(grid: Grid, values: Floats, bounds: Floats) -> Floats:
    totals = np.zeros(grid.count)
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        cells = grid.cells(chunk)
        with np.errstate(over="ignore", invalid="ignore"):
            totals += np.bincount(cells, weights=chunk - bounds[cells], minlength=grid.count)
    return totals


def _of_bits(numbers: NDArray[np.int64]) -> Floats:
    """The inverse of `_ordered_bits`."""
    return np.where(numbers < 0, numbers ^ SIGN, numbers).view(np.double)


def _ordered_bits(values: Floats) -> NDArray[np.int64]:
    """Whole numbers in the order of the values: the bits of a negative double fall where it rises, so they are turned."""
    bits = values.view(np.int64)
    return np.where(bits < 0, bits ^ SIGN, bits)
