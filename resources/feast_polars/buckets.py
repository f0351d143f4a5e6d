"""A join that keeps to a limit of memory: views one after another, each in buckets of its keys, answers by way of disk.

Every view's answer is written to disk in slices of the entity rows; the slices of all views are read back side by side.
A view that is too large for the limit is first divided by a hash of its keys, in one pass over its files, and joined
bucket by bucket. Within a bucket rows keep their order, so ties are decided as in the join in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from platform_assets.science.as_of_search import ROWS_AT_ONCE
from platform_assets.science.join_keys import columns, comparable, plain
from platform_assets.science.point_in_time import (
    Questions,
    View,
    instants,
    join_and_count,
    output_names,
    relevant,
    unreadable,
)

SLICE = 128 * 1024  # entity rows that are put side by side at a time
_BATCH = 256 * 1024  # view rows that are divided at a time
_VIEW_ROW = 110  # bytes that the search takes for a row of a view that it searches at once
_FURTHER_ROW = 60  # for each row beyond those, which are searched after one another; measured with 20 million rows: 48
_ENTITY_ROW = 60  # bytes that it takes for an entity row
_MOST_BUCKETS = 256  # files open at a time; beyond them the limit is not kept
_ROW = "__row"


@dataclass(frozen=True)
class Need:
    """Bytes of memory that a view takes: all of it at once, and the part that buckets divide."""

    whole: int
    features: int
    answer: int

    def buckets(self, limit: int) -> int:
        """Into how many buckets the view is divided to stay within `limit`; 1 where it fits as it is."""
        return 1 if self.whole <= limit else min(-(-(self.whole + self.features) // limit), _MOST_BUCKETS)


@dataclass
class Spilled:
    """Answers on disk, a folder for each view with a file for each bucket, and each view's number of late rows."""

    folder: Path
    schemas: list[pl.Schema] = field(default_factory=list)
    late: dict[str, int] = field(default_factory=dict)


def need(rows: pl.DataFrame, view: View) -> Need:
    """What joining the view takes, by the number of its rows and the types of its features."""
    frame = view.frame.lazy()
    try:
        schema = frame.collect_schema()
        height = frame.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(view, error) from error
    width = sum(_width(schema[name]) for name in view.feature_map if name in schema)
    answer = len(rows) * width
    at_once = min(height, ROWS_AT_ONCE)
    search = at_once * _VIEW_ROW + (height - at_once) * _FURTHER_ROW + len(rows) * _ENTITY_ROW
    return Need(whole=search + answer, features=height * width, answer=answer)


def is_within(rows: pl.DataFrame, views: Sequence[View], limit: int) -> bool:
    """Whether the whole join fits in `limit` bytes beside the entity rows."""
    needs = [need(rows, view) for view in views]
    return not needs or max(n.whole for n in needs) + sum(n.answer for n in needs) <= limit


def _width(dtype: pl.DataType) -> int:
    if dtype.is_nested():
        return 256
    return 32 if dtype in (pl.String, pl.Binary) else 9


def spill(
    rows: pl.DataFrame,
    views: Sequence[View],
    folder: Path,
    *,
    at: str,
    limit: int,
    as_of: datetime | None = None,
    full_feature_names: bool = False,
) -> Spilled:
    """Write each view's answer below `folder`, from where `slices` reads it."""
    names = output_names(rows.columns, views, full=full_feature_names)
    spilled = Spilled(folder)
    questions: Questions | None = None
    for number, view in enumerate(views):
        place = folder / str(number)
        place.mkdir()
        asked = rows.select(list(dict.fromkeys([*(c for c in view.key_map.values() if c in rows.columns), at])))
        count = need(rows, view).buckets(limit) if view.key_map else 1
        spilled.late[view.name] = 0
        for part, positions in _parts(asked, view, place, at=at, count=count):
            if positions is None and questions is not None and questions.rows.columns == asked.columns:
                mine = questions  # sorted for the view before, which has the same keys
            else:
                mine = Questions(asked if positions is None else asked[positions], at)
                questions = mine if positions is None else None
            joined, counted = join_and_count(mine, [part], at=at, as_of=as_of)
            spilled.late[view.name] += counted[view.name]
            answer = joined.drop(asked.columns).rename({n: names[view.name][c] for c, n in view.feature_map.items()})
            _write(answer, positions, len(rows), place / f"{len(list(place.glob('*.answer')))}.answer")
            if len(spilled.schemas) == number:
                spilled.schemas.append(answer.schema)
            del joined, answer
    return spilled


def slices(rows: pl.DataFrame, spilled: Spilled) -> Iterator[pl.DataFrame]:
    """The entity rows with the columns of all views, in order, a slice at a time."""
    folders = [spilled.folder / str(number) for number in range(len(spilled.schemas))]
    readers = [[pa.ipc.open_file(pa.OSFile(str(f))) for f in sorted(folder.glob("*.answer"))] for folder in folders]
    for number, start in enumerate(range(0, max(len(rows), 1), SLICE)):
        parts = [rows.slice(start, SLICE)]
        for schema, buckets in zip(spilled.schemas, readers, strict=True):
            held = pl.concat([pl.DataFrame(pl.from_arrow(bucket.get_batch(number))) for bucket in buckets])
            parts.append((held.sort(_ROW).drop(_ROW) if _ROW in held.columns else held).cast(schema))
        yield pl.concat(parts, how="horizontal") if len(parts) > 1 else parts[0]


def _write(answer: pl.DataFrame, positions: NDArray[np.int64] | None, height: int, file: Path) -> None:
    """One Arrow batch for each slice of the entity rows; with their positions where they are not all of them."""
    edges = np.arange(0, max(height, 1) + SLICE, SLICE)
    if positions is not None:
        answer = answer.with_columns(pl.Series(_ROW, positions))
        edges = np.searchsorted(positions, edges)
    answer = _plain(answer)
    schema = answer.clear().to_arrow().schema
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start, end in pairwise(edges):
            table = answer.slice(int(start), int(end - start)).to_arrow().cast(schema).combine_chunks()
            writer.write_batch(table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], schema=schema))


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as text: an Arrow file holds one dictionary, and every batch brings its own."""
    return frame.with_columns(
        pl.col(n).cast(pl.String) for n, t in frame.schema.items() if t in (pl.Categorical, pl.Enum)
    )


def _parts(
    asked: pl.DataFrame, view: View, place: Path, *, at: str, count: int
) -> Iterator[tuple[View, NDArray[np.int64] | None]]:
    """The view in `count` parts, each with the positions of the entity rows that ask for it; None for all rows."""
    if count == 1:
        yield view, None
        return
    held = columns(asked, view.key_map, view.name)
    bucket = _buckets([plain(key) for key in held], count)
    files = _divide(asked, view, place, at=at, count=count)
    schema = view.frame.lazy().collect_schema()
    for number, file in enumerate(files):
        with pa.OSFile(str(file)) as source:
            stored = pl.DataFrame(pl.from_arrow(pa.ipc.open_file(source).read_all()))
        frame = stored.cast(pl.Schema({name: schema[name] for name in stored.columns}))
        part = View(
            view.name, frame, view.key_map, view.feature_map, view.event_at, view.known_at, view.ttl, is_rereadable=True
        )
        yield part, np.flatnonzero(bucket == number)
        del stored, frame, part
        file.unlink()


def _divide(asked: pl.DataFrame, view: View, place: Path, *, at: str, count: int) -> list[Path]:
    """Files of the view's rows by bucket, in the order of the view."""
    held = columns(asked.clear(), view.key_map, view.name)
    wanted = list(dict.fromkeys([*view.key_map, *view.time_columns, *view.feature_map]))
    frame = relevant(view, instants(asked, at, "entity rows")).select(wanted)
    files = [place / f"{number}.part" for number in range(count)]
    schema = _plain(pl.DataFrame(schema=frame.collect_schema())).to_arrow().schema
    writers = [pa.ipc.new_file(str(file), schema) for file in files]
    try:
        for batch in frame.collect_batches(chunk_size=_BATCH, maintain_order=True, engine="streaming"):
            keys = [comparable(batch[v], key, view.name) for v, key in zip(view.key_map, held, strict=True)]
            bucket = pl.Series(_buckets(keys, count))
            for number, writer in enumerate(writers):
                mine = batch.filter(bucket == number)
                if len(mine):
                    writer.write_table(_plain(mine).to_arrow().cast(schema))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(view, error) from error
    finally:
        for writer in writers:
            writer.close()
    return files


def _buckets(keys: list[pl.Series], count: int) -> NDArray[np.int64]:
    """The bucket of each row, by a hash of its keys that does not depend on their width."""
    frame = pl.DataFrame([key.alias(str(number)) for number, key in enumerate(keys)])
    return (frame.hash_rows(seed=0) % count).cast(pl.Int64).to_numpy()
