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
from platform_assets.science import join_keys
from platform_assets.science.as_of_search import search

EVERYTHING_KNOWN: Final = datetime.max.replace(tzinfo=UTC)
"""As `as_of`: event time alone decides, and every correction that was ever made counts."""

_TIME: Final = pl.Datetime("us", "UTC")
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_NS_FIRST, _NS_LAST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
_READ_BYTES: Final = 48 * 2**20  # features of a rereadable view are read in groups of columns of about this size

_FEW: Final = 10_000  # entity rows; among more, keys from one end to the other are to be expected


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
    def time_columns(self) -> list[str]:
        """Event time and, where the view has one, known-at time."""
        return [self.event_at, *([self.known_at] if self.known_at else [])]

    @property
    def feature_map(self) -> dict[str, str]:
        """View column to feature name."""
        return dict(self.features) if isinstance(self.features, Mapping) else {name: name for name in self.features}


@dataclass(frozen=True)
class Located:
    """Where each entity row's value stands in the view's frame, and whether there is one; if not, `row` is any.

    `late` counts the rows whose value became known only after the row's time (never, unless `as_of` is given).
    """

    row: NDArray[Any]  # (entity rows,), integers
    is_found: NDArray[np.bool_]  # (entity rows,)
    late: int

    @property
    def position(self) -> NDArray[np.int64]:
        """The row in the view's frame, -1 for nowhere."""
        return np.where(self.is_found, self.row.astype(np.int64), -1)


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
    joined, _ = join_and_count(rows, views, at=at, as_of=as_of, full_feature_names=full_feature_names)
    return joined.lazy() if isinstance(entities, pl.LazyFrame) else joined


def join_and_count(
    entities: "pl.DataFrame | Questions",
    views: Sequence[View],
    *,
    at: str,
    as_of: datetime | None = None,
    full_feature_names: bool = False,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """`join`, and for each view how many rows hold a value that was not yet known at their time."""
    questions = entities if isinstance(entities, Questions) else Questions(entities, at)
    rows = questions.rows
    names = output_names(rows.columns, views, full=full_feature_names)
    columns: list[pl.DataFrame] = [rows]
    late: dict[str, int] = {}
    for view in views:
        frame, source = _bounded(view, questions)
        located = _locate(questions, view, frame, as_of=as_of)
        late[view.name] = located.late
        columns.append(_gather(source, view, located, len(frame)).rename(names[view.name]))
    return (pl.concat(columns, how="horizontal") if len(columns) > 1 else rows), late


def locate(rows: pl.DataFrame, view: View, *, at: str, as_of: datetime | None = None) -> Located:
    """Position in `view.frame` of each row's value: `join` without the values."""
    return _locate(Questions(rows, at), view, _collect(view.frame.lazy(), view), as_of=as_of)


class Questions:
    """The entity rows: their times, and their keys once for every set of key columns that some view has."""

    def __init__(self, rows: pl.DataFrame, at: str) -> None:
        self.rows = rows
        self.times = instants(rows, at, "entity rows")
        self._asked: dict[tuple[str, ...], join_keys.Asked] = {}

    def by(self, view: View) -> join_keys.Asked:
        names = tuple(view.key_map.values())
        if names not in self._asked:
            columns = join_keys.columns(self.rows, view.key_map, view.name)
            self._asked[names] = join_keys.ask([join_keys.plain(column) for column in columns], self.times)
        return self._asked[names]

    def codes(self, view: View, frame: pl.DataFrame) -> NDArray[np.int64]:
        """The view's rows in the codes of the entity rows; -1 where nobody asks."""
        if not view.key_map:
            return np.zeros(len(frame), dtype=np.int64)
        offered = [join_keys.comparable(frame[v], self.rows[e], view.name) for v, e in view.key_map.items()]
        return self.by(view).encode(offered)


def output_names(taken: Sequence[str], views: Sequence[View], *, full: bool) -> dict[str, dict[str, str]]:
    """For each view its columns and what they are called in the answer.

    Raises: PointInTimeError if two columns would have one name.
    """
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


def relevant(view: View, times: pl.Series) -> pl.LazyFrame:
    """The view's rows that can matter to rows at these times, unread.

    Raises: PointInTimeError for a missing column or a time without a zone.
    """
    lazy = view.frame.lazy()
    try:
        schema = lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(view, error) from error
    wanted = [*view.key_map, *view.feature_map, view.event_at, *([view.known_at] if view.known_at else [])]
    if missing := [name for name in wanted if name not in schema]:
        raise PointInTimeError(
            f"view `{view.name}`: column {', '.join(f'`{m}`' for m in missing)} is missing; "
            f"columns: {', '.join(schema)}",
            hint="correct the view's schema or field mapping, or write the table with that column",
        )
    for name in view.time_columns:
        _check_time(schema[name], f"view `{view.name}`", name)
    first, last = times.min(), times.max()
    if isinstance(first, datetime) and isinstance(last, datetime):
        # One plain predicate per bound, on the column as stored: statistics then skip files and row groups.
        lazy = lazy.filter(pl.col(view.event_at) <= _as_stored(last, schema[view.event_at]))
        if view.ttl is not None and first - _EARLIEST > view.ttl:
            lazy = lazy.filter(pl.col(view.event_at) >= _as_stored(first - view.ttl, schema[view.event_at]))
    return lazy


def _bounded(view: View, questions: Questions) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """Keys and times of the view's rows that can matter, and the same rows as a frame to read features from."""
    lazy = _between_asked(relevant(view, questions.times), view, questions.rows)
    index = list(dict.fromkeys([*view.key_map, *view.time_columns]))
    if view.is_rereadable:
        frame = _collect(lazy.select(index), view)
        if len(frame) == _collect(view.frame.lazy().select(pl.len()), view).item():
            lazy = view.frame.lazy()  # nothing to filter: the features are read without looking at the times again
        return frame, lazy.select(list(view.feature_map))
    whole = _collect(lazy.select(list(dict.fromkeys([*index, *view.feature_map]))), view)
    return whole.select(index), whole.lazy().select(list(view.feature_map))


def _between_asked(lazy: pl.LazyFrame, view: View, rows: pl.DataFrame) -> pl.LazyFrame:
    """The rows whose key lies between the least and the greatest asked for, where few ask: statistics then skip others."""
    names = [(column, name) for column, name in view.key_map.items() if name in rows.columns]
    if len(names) != 1 or len(view.key_map) != 1 or len(rows) > _FEW:
        return lazy
    column, name = names[0]
    dtype, low, high = rows.schema[name], rows[name].min(), rows[name].max()
    if low is None or lazy.collect_schema()[column] != dtype or not (dtype.is_integer() or dtype == pl.String):
        return lazy
    return lazy.filter(pl.col(column) >= pl.lit(low, dtype)).filter(pl.col(column) <= pl.lit(high, dtype))


def _as_stored(instant: datetime, dtype: pl.DataType) -> pl.Expr:
    """The instant in the column's own type; nanoseconds end in 2262, what lies beyond stands for never and ever."""
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        instant = min(max(instant, _NS_FIRST), _NS_LAST)
    return pl.lit(instant, _TIME).cast(dtype)


def _locate(questions: Questions, view: View, frame: pl.DataFrame, *, as_of: datetime | None) -> Located:
    asked = questions.by(view)
    code = questions.codes(view, frame)
    where = f"view `{view.name}`"
    events = instants(frame, view.event_at, where)
    known = instants(frame, view.known_at, where) if view.known_at else events
    usable = None if not len(code) or code.min() >= 0 else code >= 0
    if events.null_count():
        usable = _both(usable, events.is_not_null().to_numpy())
    event = _micros(events)
    seen = event if known is events else _micros(known.fill_null(events) if known.null_count() else known)
    if as_of is not None:
        if as_of.tzinfo is None:
            raise PointInTimeError(
                f"as_of {as_of.isoformat()} has no time zone", hint="give an aware datetime, such as UTC"
            )
        if len(seen) and seen.max() > _instant_micros(as_of):
            usable = _both(usable, seen <= _instant_micros(as_of))
    position = None if usable is None else np.flatnonzero(usable)
    if position is not None:
        is_one_time = seen is event
        code, event = code[position], event[position]
        seen = event if is_one_time else seen[position]
    available = event
    if as_of is None and seen is not event:
        available = seen if (seen >= event).all() else np.maximum(event, seen)
    ttl = None if view.ttl is None else view.ttl // timedelta(microseconds=1)
    found, is_found = search(code, event, seen, available, asked.needles, ttl=ttl)
    late = int((seen[found] > asked.needles.t)[is_found].sum()) if as_of is not None and len(seen) else 0
    if position is not None and len(position):
        found = position[found]
    if asked.position is not None:
        found, is_found = (_scattered(values, asked.position, len(questions.rows)) for values in (found, is_found))
    return Located(found, is_found, late)


def _both(usable: NDArray[np.bool_] | None, more: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return more if usable is None else usable & more


def _scattered(values: NDArray[Any], position: NDArray[np.int64], height: int) -> NDArray[Any]:
    out = np.zeros(height, dtype=values.dtype)
    out[position] = values
    return out


def _gather(source: pl.LazyFrame, view: View, located: Located, height: int) -> pl.DataFrame:
    """The features of `view` at the rows that were found, null elsewhere, read and gathered in groups of columns."""
    index = pl.Series("row", located.row.astype(np.uint32 if height < 2**32 else np.uint64, copy=False))
    found = None if located.is_found.all() else pl.Series("found", located.is_found)
    schema = source.collect_schema()
    gathered: list[pl.Series] = []
    names = list(view.feature_map)
    group = len(names) if not view.is_rereadable else max(1, _READ_BYTES // max(1, 8 * height))
    for start in range(0, len(names), group):
        columns = _collect(source.select(names[start : start + group]), view).get_columns()[::-1]
        while columns:
            column = columns.pop()
            if not height:
                gathered.append(pl.Series(column.name, [None], dtype=schema[column.name]).new_from_index(0, len(index)))
                continue
            # One chunk: gathering from the many that a Parquet file's row groups give takes five times as long.
            picked = column.rechunk().gather(index)
            gathered.append(picked if found is None else pl.select(pl.when(found).then(picked)).to_series())
    return pl.DataFrame(gathered)


def _collect(frame: pl.LazyFrame, view: View) -> pl.DataFrame:
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(view, error) from error


def unreadable(view: View, error: Exception) -> PointInTimeError:
    """What is raised where the view's files cannot be read."""
    return PointInTimeError(
        f"view `{view.name}` cannot be read: {error}",
        hint="restore or rewrite the file that is named; if a vacuum removed it, ask again for the table's newest version",
    )


def _check_time(dtype: Any, where: str, name: str) -> None:
    if not isinstance(dtype, pl.Datetime):
        raise PointInTimeError(f"{where}: `{name}` is {dtype}, not an instant", hint="give a Datetime column in UTC")
    if dtype.time_zone is None:
        raise PointInTimeError(
            f"{where}: `{name}` has no time zone", hint="say which zone the times are in: `.dt.replace_time_zone(...)`"
        )


def instants(frame: pl.DataFrame, name: str, where: str) -> pl.Series:
    """A column of times in UTC microseconds.

    Raises: PointInTimeError if it is missing, no time or has no zone.
    """
    if name not in frame.columns:
        raise PointInTimeError(f"{where}: column `{name}` is missing; columns: {', '.join(frame.columns)}")
    _check_time(frame.schema[name], where, name)
    return frame[name].dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _micros(times: pl.Series) -> NDArray[np.int64]:
    physical = times.to_physical()
    return (physical.fill_null(0) if physical.null_count() else physical).to_numpy()


def _instant_micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
