"""What was known then: feature values joined to rows as of each row's own time.

For a row at time t and a view, the value is that of the view's row with the same keys, event time <= t and known-at
time <= t which is greatest by (event time, known-at time, position in the frame). A null known-at time counts as the
event time. A value older than the view's TTL is null; the edge is inclusive: event time = t - ttl still counts. Rows
out are rows in, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import PointInTimeError
from platform_assets.names import EVENT_AT, KNOWN_AT
from platform_assets.science.as_of_search import search

EVERYTHING_KNOWN: Final = datetime.max.replace(tzinfo=UTC)
"""As `as_of`: event time alone decides, and every correction that was ever made counts."""

_TIME: Final = pl.Datetime("us", "UTC")
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_NS_FIRST, _NS_LAST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
_READ_BYTES: Final = 192 * 2**20  # features of a rereadable view are read in groups of columns of about this size


@dataclass(frozen=True)
class View:
    """A feature view: where its rows are and what its columns mean.

    `keys` are the view's key columns; a mapping names the entity column that each is matched with. None at all is
    allowed: then every row of the view concerns every entity row. `features` likewise may map columns to feature names.
    `known_at=None` means that the view has no such time and everything is known when it happens. `is_rereadable` says
    that collecting `frame` twice gives the same rows in the same order (a scan of fixed files does), so that features
    can be read a few columns at a time.
    """

    name: str
    frame: pl.LazyFrame | pl.DataFrame
    keys: Sequence[str] | Mapping[str, str]
    features: Sequence[str] | Mapping[str, str]
    event_at: str = EVENT_AT
    known_at: str | None = KNOWN_AT
    ttl: timedelta | None = None
    is_rereadable: bool = False

    @property
    def key_map(self) -> dict[str, str]:
        """View column to entity column."""
        return dict(self.keys) if isinstance(self.keys, Mapping) else {key: key for key in self.keys}

    @property
    def feature_map(self) -> dict[str, str]:
        """View column to feature name."""
        return dict(self.features) if isinstance(self.features, Mapping) else {name: name for name in self.features}


@dataclass(frozen=True)
class Located:
    """Where each entity row's value stands in the view's frame, -1 for nowhere.

    `late` counts the rows whose value became known only after the row's time (never, unless `as_of` is given).
    """

    position: NDArray[np.int64]  # (entity rows,)
    late: int


@overload
def join(
    entities: pl.DataFrame,
    views: Sequence[View],
    *,
    at: str,
    as_of: datetime | None = ...,
    full_feature_names: bool = ...,
) -> pl.DataFrame: ...
@overload
def join(
    entities: pl.LazyFrame,
    views: Sequence[View],
    *,
    at: str,
    as_of: datetime | None = ...,
    full_feature_names: bool = ...,
) -> pl.LazyFrame: ...
def join(
    entities: pl.DataFrame | pl.LazyFrame,
    views: Sequence[View],
    *,
    at: str,
    as_of: datetime | None = None,
    full_feature_names: bool = False,
) -> pl.DataFrame | pl.LazyFrame:
    """The entity rows, as many and in the same order, with the columns of every view as known at `at`.

    `at` is a column of instants: time-zone aware, compared in microseconds (what is finer is cut off). With `as_of` a
    value counts if it was known by that instant, however old the row is; the event time must still be <= the row's
    time. `full_feature_names` prefixes features with `<view>__`.
    Raises: PointInTimeError for a missing column, a naive time, keys that cannot be compared, or a column named twice.
    """
    rows = entities.collect() if isinstance(entities, pl.LazyFrame) else entities
    names = _output_names(rows.columns, views, full_feature_names)
    columns: list[pl.DataFrame] = [rows]
    for view in views:
        frame, source = _bounded(view, rows, at)
        located = _locate(rows, view, frame, at=at, as_of=as_of)
        columns.append(_gather(source, view, located.position, len(frame)).rename(names[view.name]))
    joined = pl.concat(columns, how="horizontal") if len(columns) > 1 else rows
    return joined.lazy() if isinstance(entities, pl.LazyFrame) else joined


def locate(rows: pl.DataFrame, view: View, *, at: str, as_of: datetime | None = None) -> Located:
    """Position in `view.frame` of each row's value: `join` without the values."""
    whole = _collect(view.frame.lazy(), view)
    return _locate(rows, view, whole, at=at, as_of=as_of)


def late_rows(rows: pl.DataFrame, view: View, *, at: str) -> int:
    """How many rows would get a value that was not yet known at their time if event time alone decided."""
    frame, _ = _bounded(view, rows, at)
    return _locate(rows, view, frame, at=at, as_of=EVERYTHING_KNOWN).late


def _output_names(taken: Sequence[str], views: Sequence[View], full: bool) -> dict[str, dict[str, str]]:
    seen = dict.fromkeys(taken, "the entity rows")
    names: dict[str, dict[str, str]] = {}
    for view in views:
        if view.name in names:
            raise PointInTimeError(f"view `{view.name}` is given twice")
        names[view.name] = {c: f"{view.name}__{n}" if full else n for c, n in view.feature_map.items()}
        for name in names[view.name].values():
            if name in seen:
                raise PointInTimeError(
                    f"column `{name}` comes from view `{view.name}` and from {seen[name]}",
                    hint="drop or rename one of them, or ask for full_feature_names",
                )
            seen[name] = f"view `{view.name}`"
    return names


def _bounded(view: View, rows: pl.DataFrame, at: str) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """Keys and times of the view's rows that can matter, and the same rows as a frame to read features from."""
    lazy = view.frame.lazy()
    try:
        schema = lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PointInTimeError(f"view `{view.name}` cannot be read: {error}") from error
    wanted = [*view.key_map, *view.feature_map, view.event_at, *([view.known_at] if view.known_at else [])]
    if missing := [name for name in wanted if name not in schema]:
        raise PointInTimeError(
            f"view `{view.name}`: column {', '.join(f'`{m}`' for m in missing)} is missing; "
            f"columns: {', '.join(schema)}"
        )
    for name in [view.event_at, *([view.known_at] if view.known_at else [])]:
        _check_time(schema[name], f"view `{view.name}`", name)
    times = _instants(rows, at, "entity rows")
    first, last = times.min(), times.max()
    if isinstance(first, datetime) and isinstance(last, datetime):
        # One plain predicate per bound, on the column as stored: statistics then skip files and row groups.
        lazy = lazy.filter(pl.col(view.event_at) <= _as_stored(last, schema[view.event_at]))
        if view.ttl is not None and first - _EARLIEST > view.ttl:
            lazy = lazy.filter(pl.col(view.event_at) >= _as_stored(first - view.ttl, schema[view.event_at]))
    index = [*dict.fromkeys([*view.key_map, *wanted[len(view.key_map) + len(view.feature_map) :]])]
    if view.is_rereadable:
        return _collect(lazy.select(index), view), lazy.select(list(view.feature_map))
    whole = _collect(lazy.select(list(dict.fromkeys(wanted))), view)
    return whole.select(index), whole.lazy().select(list(view.feature_map))


def _as_stored(instant: datetime, dtype: pl.DataType) -> pl.Expr:
    """The instant in the column's own type; nanoseconds end in 2262, what lies beyond stands for never and ever."""
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        instant = min(max(instant, _NS_FIRST), _NS_LAST)
    return pl.lit(instant, _TIME).cast(dtype)


def _locate(rows: pl.DataFrame, view: View, frame: pl.DataFrame, *, at: str, as_of: datetime | None) -> Located:
    times = _instants(rows, at, "entity rows")
    wanted, offered = _codes(rows, frame, view)
    events = _instants(frame, view.event_at, f"view `{view.name}`")
    known = _instants(frame, view.known_at, f"view `{view.name}`").fill_null(events) if view.known_at else events
    usable = (offered >= 0) & events.is_not_null().to_numpy()
    if as_of is not None:
        if as_of.tzinfo is None:
            raise PointInTimeError(
                f"as_of {as_of.isoformat()} has no time zone", hint="give an aware datetime, such as UTC"
            )
        usable &= _micros(known) <= _instant_micros(as_of)
    position = np.flatnonzero(usable)
    code, event, seen = offered[position], _micros(events)[position], _micros(known)[position]
    asks = (wanted >= 0) & times.is_not_null().to_numpy()
    asked = np.flatnonzero(asks)
    t = _micros(times)[asked]
    found = search(code, event, seen, event if as_of is not None else np.maximum(event, seen), wanted[asked], t)
    if view.ttl is not None and len(event):
        expired = event[found] < t - view.ttl // timedelta(microseconds=1)
        found = np.where(expired, -1, found)
    out = np.full(len(rows), -1, dtype=np.int64)
    has = found >= 0
    out[asked[has]] = position[found[has]]
    return Located(position=out, late=int((seen[found[has]] > t[has]).sum()))


def _codes(rows: pl.DataFrame, frame: pl.DataFrame, view: View) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dense codes of the keys of entity rows and of view rows; -1 for a null key and for one that nobody asks for."""
    mapping = view.key_map
    if not mapping:
        return np.zeros(len(rows), dtype=np.int64), np.zeros(len(frame), dtype=np.int64)
    if missing := [name for name in mapping.values() if name not in rows.columns]:
        raise PointInTimeError(
            f"view `{view.name}`: the entity rows lack {', '.join(f'`{m}`' for m in missing)}; "
            f"columns: {', '.join(rows.columns)}"
        )
    pairs = [_comparable(rows[e], frame[v], view.name) for v, e in mapping.items()]
    if len(pairs) == 1 and pairs[0][0].dtype == pl.Int64 and (direct := _direct(*pairs[0])):
        return direct
    asked = pl.DataFrame([asked.alias(str(i)) for i, (asked, _) in enumerate(pairs)])
    offered = pl.DataFrame([offered.alias(str(i)) for i, (_, offered) in enumerate(pairs)])
    dense = asked.unique().drop_nulls().with_row_index("code")

    def code(keys: pl.DataFrame) -> NDArray[np.int64]:
        coded = keys.join(dense, on=asked.columns, how="left", maintain_order="left")
        return coded["code"].cast(pl.Int64).fill_null(-1).to_numpy()

    return code(asked), code(offered)


def _direct(asked: pl.Series, offered: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Integers are their own codes where their range is small enough to be packed with a time."""
    low, high = asked.min(), asked.max()
    if not isinstance(low, int) or not isinstance(high, int) or high - low >= 2**20:
        return None
    inside = offered.is_between(low, high).fill_null(False).to_numpy()
    return (
        (asked - low).fill_null(-1).to_numpy(),
        np.where(inside, offered.fill_null(low).to_numpy() - low, -1),
    )


def _comparable(asked: pl.Series, offered: pl.Series, view: str) -> tuple[pl.Series, pl.Series]:
    def plain(keys: pl.Series) -> pl.Series:
        if keys.dtype in (pl.Categorical, pl.Enum):
            return keys.cast(pl.String)
        return keys.cast(pl.Int64) if keys.dtype.is_integer() and keys.dtype != pl.UInt64 else keys

    left, right = plain(asked), plain(offered)
    if pl.Null in (left.dtype, right.dtype):
        return left.cast(pl.Int64), right.cast(pl.Int64)
    if left.dtype != right.dtype or left.dtype.is_float():
        raise PointInTimeError(
            f"view `{view}`: key `{offered.name}` is {offered.dtype}, entity column `{asked.name}` is {asked.dtype}",
            hint="give both the same type; floating-point keys are not compared",
        )
    return left, right


def _gather(source: pl.LazyFrame, view: View, position: NDArray[np.int64], height: int) -> pl.DataFrame:
    """The features of `view` at `position`, null at -1, read and gathered in groups of columns."""
    index = pl.Series("position", np.maximum(position, 0)).set(pl.Series(position < 0), None)
    schema = source.collect_schema()
    gathered: list[pl.Series] = []
    names = list(view.feature_map)
    group = len(names) if not view.is_rereadable else max(1, _READ_BYTES // max(1, 8 * height))
    for start in range(0, len(names), group):
        frame = _collect(source.select(names[start : start + group]), view)
        if frame.is_empty():
            gathered += [pl.Series(n, [None], dtype=schema[n]).new_from_index(0, len(position)) for n in frame.columns]
        else:
            gathered += frame.select(pl.all().gather(index)).get_columns()
    return pl.DataFrame(gathered)


def _collect(frame: pl.LazyFrame, view: View) -> pl.DataFrame:
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PointInTimeError(f"view `{view.name}` cannot be read: {error}") from error


def _check_time(dtype: Any, where: str, name: str) -> None:
    if not isinstance(dtype, pl.Datetime):
        raise PointInTimeError(f"{where}: `{name}` is {dtype}, not an instant", hint="give a Datetime column in UTC")
    if dtype.time_zone is None:
        raise PointInTimeError(
            f"{where}: `{name}` has no time zone", hint="say which zone the times are in: `.dt.replace_time_zone(...)`"
        )


def _instants(frame: pl.DataFrame, name: str, where: str) -> pl.Series:
    if name not in frame.columns:
        raise PointInTimeError(f"{where}: column `{name}` is missing; columns: {', '.join(frame.columns)}")
    _check_time(frame.schema[name], where, name)
    return frame[name].dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _micros(times: pl.Series) -> NDArray[np.int64]:
    return times.to_physical().fill_null(0).to_numpy()


def _instant_micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
