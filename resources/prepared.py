"""Lines of files that were examined once, kept typed and placed in time, so that a file costs its reading only once.

A file's lines are kept under the digest of the rules that read them (`landed/<rules>/<file>.parquet`): other rules read it
again. What is kept may be deleted; it is made again.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from platform_assets.errors import DataError
from resources.artifacts import Artifacts

if TYPE_CHECKING:
    import polars as pl

FOLDER = "landed"
ROW_GROUP = 64 * 1024  # rows in order of day: a month is read without the others


@dataclass(frozen=True)
class PreparedFile:
    """A file's lines, unread; `arrived_at` is None for the history that the platform began with."""

    name: str
    digest: str
    arrived_at: datetime | None
    lines: "pl.LazyFrame"


@dataclass(frozen=True)
class Prepared:
    """What is kept of the files of one set of rules."""

    files: Artifacts
    rules: str

    def lines(self, name: str, make: "Callable[[], pl.DataFrame]") -> "pl.LazyFrame":
        """Lines of a file as they are kept; made, and kept, where they are not."""
        key = f"{FOLDER}/{self.rules[:16]}/{name}.parquet"
        kept = self._scan(key)
        if kept is None:
            content = io.BytesIO()
            make().sort("day_on", "file_row").write_parquet(content, compression="zstd", row_group_size=ROW_GROUP)
            self.files.put(key, content.getvalue())
            kept = self._scan(key)
            assert kept is not None
        return kept

    def _scan(self, key: str) -> "pl.LazyFrame | None":
        import polars as pl

        if not self.files.is_remote:
            path = Path(self.files.uri(key))
            return pl.scan_parquet(path) if path.is_file() else None
        try:
            return pl.scan_parquet(io.BytesIO(self.files.get(key)))
        except DataError:
            return None
