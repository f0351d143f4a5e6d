"""Feast file sources as polars scans: Parquet files and folders, Delta tables pinned to one version."""

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from platform_assets.errors import FeatureStoreError
from resources.table_damage import HINT, damage_of, damage_of_files

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from feast.feature_view import FeatureView
    from feast.repo_config import RepoConfig


@dataclass
class Sources:
    """Reads file sources; within one instance a Delta table is opened once, so a whole retrieval reads one version.

    Relative paths are resolved against `root`. `options` are object-store settings such as `aws_endpoint_url`.
    """

    root: str
    options: Mapping[str, str] = field(default_factory=dict)
    _opened: "dict[str, DeltaTable]" = field(default_factory=dict)

    def uri(self, source: DataSource) -> str:
        """Where the source's rows lie.

        Raises: FeatureStoreError for a source that is not a file source.
        """
        if not isinstance(source, FileSource):
            raise FeatureStoreError(
                f"source `{source.name}` is a {type(source).__name__}; this offline store reads FileSource only"
            )
        if "://" in source.path or Path(source.path).is_absolute():
            return source.path
        return f"{self.root.rstrip('/')}/{source.path}"

    def is_delta(self, source: DataSource) -> bool:
        """Whether the source is a Delta table: it says so, or it says nothing and a Delta log is there."""
        form = getattr(source, "file_format", None)
        return isinstance(form, DeltaFormat) or (form is None and Path(self.uri(source), "_delta_log").is_dir())

    def exists(self, source: DataSource) -> bool:
        """Whether there is anything to read yet."""
        uri = self.uri(source)
        if self.is_delta(source):
            try:
                return self.table(source) is not None
            except FeatureStoreError:
                return False
        if "://" in uri or not Path(uri).is_dir():
            return "://" in uri or bool(glob.glob(uri))
        return any(Path(uri).rglob("*.parquet"))

    def version(self, source: DataSource) -> int | None:
        """Version of the Delta table that this instance reads; None for plain files."""
        return self.table(source).version() if self.is_delta(source) else None

    def scan(self, source: DataSource) -> pl.LazyFrame:
        """The source's rows, unread. Reading it twice gives the same rows in the same order.

        Raises: FeatureStoreError if there is nothing to read or the file is damaged.
        """
        uri = self.uri(source)
        if self.is_delta(source):
            self._check(source, damage_of(self.table(source)), HINT)
            return pl.scan_delta(self.table(source), storage_options=self._options(source))
        if not self.exists(source):
            raise FeatureStoreError(
                f"source `{source.name}`: there is nothing at {uri}", hint="materialize its table first"
            )
        if "://" not in uri:
            files = Path(uri).rglob("*.parquet") if Path(uri).is_dir() else map(Path, glob.glob(uri))
            damage = damage_of_files(file for file in sorted(files) if not file.name.startswith("."))
            self._check(source, damage, "restore the file, or write it anew")
        options = self._options(source) if "://" in uri else None
        path = f"{uri}/**/*.parquet" if Path(uri).is_dir() else uri
        try:
            scanned = pl.scan_parquet(path, storage_options=options, hive_partitioning=Path(uri).is_dir())
            scanned.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FeatureStoreError(f"source `{source.name}`: {uri} cannot be read: {error}") from error
        return scanned

    @classmethod
    def of(cls, config: "RepoConfig", root: str | None, options: dict[str, str]) -> "Sources":
        """The sources of a Feast repository whose relative paths start from `root`, by default from itself."""
        repo, start = Path(config.repo_path or "."), root or "."
        return cls(root=start if "://" in start else str(repo / start), options=options)

    def _check(self, source: DataSource, damage: str | None, hint: str) -> None:
        if damage is not None:
            raise FeatureStoreError(f"source `{source.name}`: {damage}", hint=hint)

    def validate(self, source: DataSource) -> None:
        """A table that is not there yet is fine: the registry is applied before the first materialization.

        Raises: FeatureStoreError if it is there and has no such times.
        """
        if self.exists(source):
            names = self.scan(source).collect_schema().names()
            for column in (source.timestamp_field, source.created_timestamp_column):
                if column and column not in names:
                    raise FeatureStoreError(
                        f"source `{source.name}`: column `{column}` is missing; columns: {', '.join(names)}"
                    )

    def columns(self, source: DataSource) -> list[tuple[str, str]]:
        """Columns and Arrow types, as Feast infers a view's fields from them."""
        from resources.feast_polars.retrieval import to_feast_arrow

        schema = to_feast_arrow(pl.DataFrame(schema=self.scan(source).collect_schema())).schema
        return [(column.name, str(column.type)) for column in schema]

    def table(self, source: DataSource) -> "DeltaTable":
        """The Delta table, opened once: the version that this instance reads and writes on.

        Raises: FeatureStoreError if there is none.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        uri = self.uri(source)
        if uri not in self._opened:
            try:
                self._opened[uri] = DeltaTable(uri, storage_options=self._options(source))
            except TableNotFoundError as error:
                raise FeatureStoreError(
                    f"source `{source.name}`: there is nothing at {uri}, no Delta table",
                    hint="materialize its table first",
                ) from error
        return self._opened[uri]

    def _options(self, source: DataSource) -> dict[str, str] | None:
        options = dict(self.options)
        if endpoint := getattr(source, "s3_endpoint_override", ""):
            options["aws_endpoint_url"] = endpoint
        return options or None


def in_utc(frame: pl.LazyFrame, *columns: str | None) -> pl.LazyFrame:
    """The frame with naive times of these columns read as UTC, as Feast does; aware ones are left alone."""
    schema = frame.collect_schema()
    naive = [name for name in columns if name and getattr(schema.get(name), "time_zone", "") is None]
    return frame.with_columns(pl.col(naive).dt.replace_time_zone("UTC")) if naive else frame


def batch_source(view: "FeatureView") -> DataSource:
    """Where the view's rows lie.

    Raises: FeatureStoreError for a view without history.
    """
    if view.batch_source is None:
        raise FeatureStoreError(f"feature view `{view.name}` has no batch source, so it has no history")
    return view.batch_source
