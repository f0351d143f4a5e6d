"""Keys of entity rows and of view rows in common codes, and the entity rows in the order in which they are searched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import PointInTimeError
from platform_assets.science.as_of_search import Needles, sharpen

_DIRECT_RANGE = 2**20  # of integer keys that are their own codes; 42 bits are left for times
_PACKED = 2**62

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """Entity rows of one set of key columns, those with keys and a time, sorted by (code, time).

    `position` says where they stand in the entity rows, None where all of them stand as they are. `encode` gives a
    view's keys, as many and in the same order, in the codes of the rows; -1 for a key that is null or that nobody asks
    for.
    """

    position: NDArray[np.int64] | None  # (asked rows,)
    needles: Needles
    encode: Callable[[list[pl.Series]], Codes]


def ask(keys: list[pl.Series], times: pl.Series) -> Asked:
    """The rows with these key columns, in types that `comparable` made plain, and these UTC microseconds."""
    code, encode = _coded(keys, len(times))
    micros = times.to_physical()
    if times.null_count():
        code = np.where(times.is_null().to_numpy(), -1, code)
    t = micros.fill_null(0).to_numpy()
    position = None
    if (code < 0).any():
        position = np.flatnonzero(code >= 0)
        code, t = code[position], t[position]
    order, needles = sharpen(code, t)
    if order is not None:
        position = order if position is None else position[order]
    return Asked(position, needles, encode)


def _coded(keys: list[pl.Series], height: int) -> tuple[Codes, Callable[[list[pl.Series]], Codes]]:
    if not keys:
        return np.zeros(height, dtype=np.int64), lambda _: np.zeros(0, dtype=np.int64)
    if len(keys) == 1 and keys[0].dtype == pl.Int64 and (direct := _direct(keys[0])):
        return direct
    names = [str(n) for n in range(len(keys))]
    asked = pl.DataFrame([key.alias(name) for name, key in zip(names, keys, strict=True)])
    dense = asked.unique().drop_nulls().with_row_index("code")

    def encode(offered: list[pl.Series]) -> Codes:
        rows = pl.DataFrame([key.alias(name) for name, key in zip(names, offered, strict=True)])
        coded = rows.join(dense, on=names, how="left", maintain_order="left")
        return coded["code"].cast(pl.Int64).fill_null(-1).to_numpy()

    return encode(asked.get_columns()), encode


def _direct(asked: pl.Series) -> tuple[Codes, Callable[[list[pl.Series]], Codes]] | None:
    """Integers are their own codes where their range is small enough to be packed with a time."""
    low, high = asked.min(), asked.max()
    if not isinstance(low, int) or not isinstance(high, int) or high - low >= _DIRECT_RANGE or low < -_PACKED:
        return None

    def encode(offered: list[pl.Series]) -> Codes:
        code = (offered[0].fill_null(low - 1) if offered[0].null_count() else offered[0]).to_numpy() - low
        outside = code.view(np.uint64) > high - low  # what lies below wraps around to the largest numbers
        if outside.any():
            code[outside] = -1
        return code

    return encode([asked]), encode


def plain(key: pl.Series) -> pl.Series:
    """The key in the one type of its kind that is compared: integers as Int64, categories as text."""
    if key.dtype in (pl.Categorical, pl.Enum):
        return key.cast(pl.String)
    if key.dtype.is_integer() and key.dtype != pl.UInt64:
        return key.cast(pl.Int64)
    return key.cast(pl.Int64) if key.dtype == pl.Null else key


def comparable(key: pl.Series, asked: pl.Series, view: str) -> pl.Series:
    """The view's key in the plain type of the entity rows' key.

    Raises: PointInTimeError if the two cannot be compared.
    """
    left, right = plain(asked), plain(key)
    if left.dtype == right.dtype and not left.dtype.is_float():
        return right
    if pl.Null in (asked.dtype, key.dtype):
        return pl.Series(key.name, [None], dtype=left.dtype).new_from_index(0, len(key))
    raise PointInTimeError(
        f"view `{view}`: key `{key.name}` is {key.dtype}, entity column `{asked.name}` is {asked.dtype}",
        hint="give both the same type; floating-point keys are not compared",
    )


def columns(rows: pl.DataFrame, names: Mapping[str, str], view: str) -> list[pl.Series]:
    """The entity columns that the view's keys (view column to entity column) are matched with.

    Raises: PointInTimeError naming those that the rows lack.
    """
    if missing := [name for name in names.values() if name not in rows.columns]:
        raise PointInTimeError(
            f"view `{view}`: the entity rows lack {', '.join(f'`{m}`' for m in missing)}; "
            f"columns: {', '.join(rows.columns)}",
            hint="add them to the entity rows, or map the view's keys to the columns that hold them",
        )
    return [rows[name] for name in names.values()]
