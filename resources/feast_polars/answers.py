"""What a retrieval answers: in memory where it fits the limit, otherwise slice by slice from disk."""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from platform_assets.science.point_in_time import EVERYTHING_KNOWN, View, join_and_count
from resources.feast_polars.buckets import is_within, slices, spill

AT = "__perennial_at"


@dataclass(frozen=True)
class Answer:
    """One historical retrieval: entity rows with their times in column `AT`, and the views joined to them."""

    rows: pl.DataFrame
    views: Sequence[View]
    is_strict: bool
    full_feature_names: bool
    limit: int  # bytes of memory beside the entity rows and what the caller keeps of the answer

    def slices(self) -> Iterator[pl.DataFrame]:
        """The answer's rows in order; one slice where everything fits, otherwise one after another from disk.

        Warns where `is_strict` is not asked for and some values were not yet known.
        """
        as_of: datetime | None = None if self.is_strict else EVERYTHING_KNOWN
        if is_within(self.rows, self.views, self.limit):
            joined, late = join_and_count(
                self.rows, self.views, at=AT, as_of=as_of, full_feature_names=self.full_feature_names
            )
            self._warn_of_the_future(late)
            yield joined
            return
        with tempfile.TemporaryDirectory(prefix="perennial-join-") as folder:
            spilled = spill(
                self.rows,
                self.views,
                Path(folder),
                at=AT,
                limit=self.limit,
                as_of=as_of,
                full_feature_names=self.full_feature_names,
            )
            self._warn_of_the_future(spilled.late)
            yield from slices(self.rows, spilled)

    def _warn_of_the_future(self, late: Mapping[str, int]) -> None:
        if not self.is_strict and any(late.values()):
            counts = ", ".join(f"{name}: {count:,}" for name, count in late.items() if count)
            warnings.warn(
                f"of {len(self.rows):,} rows some hold values that were not yet known at their time ({counts}); "
                "`known_at: strict` in offline_store, or filter_by_created_timestamp=True, leaves them out",
                UserWarning,
                stacklevel=3,
            )


def once(evaluate: Callable[[], pl.DataFrame]) -> Callable[[], Iterator[pl.DataFrame]]:
    """A function that gives all rows at once, as one that gives them in slices."""

    def in_one_slice() -> Iterator[pl.DataFrame]:
        yield evaluate()

    return in_one_slice
