"""A repository's own Feast store, asked from the process of a step. Imports Feast at first use (8 CPU seconds)."""

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.errors import ConfigurationError, DataError, FeatureStoreError

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    from resources.feast_polars.parity import Parity


@cache
def opened(repository: str) -> "FeatureStore":
    """The store that the repository's feature_store.yaml describes.

    Raises: FeatureStoreError where Feast refuses its settings, such as a store whose package is not installed.
    """
    from feast import FeatureStore

    if repository not in sys.path:
        sys.path.append(repository)  # as `feast` does: functions in the registry may name its modules
    try:
        return FeatureStore(repo_path=repository)
    except Exception as error:  # any store's own, told with the place of its settings
        raise FeatureStoreError(
            f"{repository}/feature_store.yaml: Feast cannot open it: {error}",
            hint="`feast plan` in that folder must work",
        ) from error


@contextmanager
def one_writer(config: "RepoConfig") -> Iterator[None]:
    """Wait until no other process of this machine writes this registry.

    A file registry is read and rewritten whole, so two writers lose one another's objects.
    """
    registry = config.registry
    place = str(getattr(registry, "path", registry))
    if "://" not in place:
        place = str((config.repo_path or Path()) / place)
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"feast-registry-{os.getuid()}-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def view_of(store: "FeatureStore", name: str) -> Any:
    """The view as the registry has it.

    Raises: FeatureStoreError where it does not.
    """
    from feast.errors import FeatureViewNotFoundException

    try:
        return store.registry.get_any_feature_view(name, store.project)
    except FeatureViewNotFoundException as error:
        raise FeatureStoreError(
            f"no view `{name}` in the registry of {store.project}", hint="materialize its registry asset"
        ) from error


def load(repository: str, view: str, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Load each entity's latest row of the window into the online store; returns the window that was read.

    A window that ends before what has been loaded already is read up to the end of that: for each entity the latest row
    that any load has seen is loaded again, and no value goes back in time, whatever the order. One load at a time.
    """
    store = opened(repository)
    with one_writer(store.config):
        store.refresh_registry()
        intervals = getattr(view_of(store, view), "materialization_intervals", [])
        until = max((_aware(interval[1]) for interval in intervals), default=end)
        end = max(end, until)
        with named(view, getattr(view_of(store, view), "batch_source", None)):
            store.materialize(start, end, [view])
    return start, end


def parity(repository: str, view: str, *, limit: int) -> "Parity | None":
    """What the online and the offline store say of entities that were loaded, as of the end of the last load.

    None where nothing has been loaded. Raises: FeatureStoreError naming the view and its table where one cannot tell.
    """
    from resources.feast_polars.parity import compare, sample

    store = opened(repository)
    store.refresh_registry()
    found = view_of(store, view)
    windows = [(_aware(start), _aware(end)) for start, end in getattr(found, "materialization_intervals", [])]
    if not windows:
        return None
    start, end = min(start for start, _ in windows), max(end for _, end in windows)
    with named(view, getattr(found, "batch_source", None)):
        return compare(store, found, sample(store, found, start, end, limit=limit), end)


@contextmanager
def named(view: str, source: Any) -> Iterator[None]:
    """An error of any store in it names the view and its table, and says what to do.

    Raises: FeatureStoreError in its place, for a panic of polars too, which is no Exception.
    """
    import polars as pl

    try:
        yield
    except (Exception, pl.exceptions.PanicException) as error:
        if isinstance(error, DataError | ConfigurationError):
            raise  # says so itself, and lasts
        place = getattr(source, "path", "") or getattr(source, "name", "its table")
        raise FeatureStoreError(
            f"view `{view}`: {place}: {error}",
            hint="restore or write that table; what was loaded of it before is as it was",
        ) from error


def service_features(repository: str, service: str) -> dict[str, list[str]]:
    """View to the features that the service takes of it, as the registry resolves them.

    Raises: FeatureStoreError for a service that the registry does not have, or of which a view or feature is gone.
    """
    from feast.errors import FeatureServiceNotFoundException

    store = opened(repository)
    store.refresh_registry()
    try:
        found = store.get_feature_service(service)
    except FeatureServiceNotFoundException as error:
        raise FeatureStoreError(
            f"no feature service `{service}` in the registry of {store.project}", hint="materialize its registry asset"
        ) from error
    resolved: dict[str, list[str]] = {}
    for projection in found.feature_view_projections:
        held = {feature.name for feature in view_of(store, projection.name).features}
        wanted = [feature.name for feature in projection.features]
        if gone := [name for name in wanted if name not in held]:
            raise FeatureStoreError(
                f"service `{service}`: view `{projection.name}` no longer has {', '.join(gone)}; it has {', '.join(sorted(held))}",
                hint="apply the repository with a service that does not ask for it",
            )
        resolved[projection.name] = wanted
    return resolved


def rows(repository: str, view: str, until: datetime) -> "pl.DataFrame":
    """The rows of the view's table up to an instant, under its own names, by the repository's own offline store.

    Raises: FeatureStoreError naming the view, its table and the column, where it cannot be read.
    """
    import polars as pl
    from feast.utils import _get_column_names  # pyright: ignore[reportPrivateUsage]

    store = opened(repository)
    store.refresh_registry()
    found = view_of(store, view)
    if found.batch_source is None:
        raise FeatureStoreError(f"view `{view}` has no table to read")
    entities = [store.get_entity(name) for name in found.entities if not name.startswith("__")]
    keys, features, event, created = _get_column_names(found, entities)
    columns: list[str] = [*keys, *features, event, *([created] if created else [])]
    with named(view, found.batch_source):
        frame = _file_rows(store, repository, found.batch_source, list(dict.fromkeys(columns)))
        if frame is None:
            offline: Any = store._get_provider()
            job = offline.offline_store.pull_all_from_table_or_query(
                store.config, found.batch_source, keys, features, event, created or None, _BEGINNING, until
            )
            frame = pl.DataFrame(pl.from_arrow(job.to_arrow()))
    if not frame.schema[event].is_temporal():
        raise FeatureStoreError(
            f"view `{view}`: `{event}` of {found.batch_source.name} is {frame.schema[event]}, expected instants",
            hint="write the column as timestamps in UTC",
        )
    frame = frame.rename({old: new for old, new in found.batch_source.field_mapping.items() if old in frame.columns})
    naive = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone is None]
    frame = frame.with_columns(pl.col(naive).dt.replace_time_zone("UTC"))
    event = found.batch_source.field_mapping.get(event, event)
    return frame.filter(pl.col(event).is_null() | (pl.col(event) <= until))


def _file_rows(store: "FeatureStore", repository: str, source: Any, columns: list[str]) -> "pl.DataFrame | None":
    """Rows of a file or Delta table, read as they lie: Feast's file store drops copies and fails on some empty tables."""
    from feast import FileSource

    from resources.feast_polars.sources import Sources

    if not isinstance(source, FileSource):
        return None
    offline = store.config.offline_store
    options = dict(getattr(offline, "storage_options", None) or {})
    sources = Sources(str(getattr(offline, "root", "") or repository), options)
    scanned = sources.scan(source)
    held = scanned.collect_schema().names()
    if missing := [name for name in columns if name not in held]:
        raise FeatureStoreError(
            f"{sources.uri(source)} has no column {', '.join(f'`{name}`' for name in missing)}; columns: {', '.join(held)}",
            hint="write the column, or take it out of the view",
        )
    return scanned.select(columns).collect()


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
