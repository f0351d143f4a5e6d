"""The Feast gateway: one registry, one offline and one online store, whatever holds them."""

import importlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from platform_assets import names
from platform_assets.errors import FeatureStoreError
from resources.feast_repository.plan import Plan
from resources.feature_definitions import definition_of, digest_of, polars_type, service_of
from resources.feature_registry import beside_others, opened_store, replace_link
from resources.online_places import online_store
from resources.source_digest import source_digest

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureService, FeatureStore, FeatureView

    from resources.feast_polars.parity import Parity

_AT = "event_timestamp"  # Feast's name for a row's time
_DIGEST = "perennial_digest"  # tag of the registry's project: the repository that was applied last
COMPUTED_BY = "computed_by"  # tag of a feature view: the function that computes it


@dataclass(frozen=True)
class Applied:
    """What the registry holds after an apply, and whether anything had to be written.

    `left_over` are views and services that the registry has and the repository has not.
    """

    views: tuple[str, ...]
    services: tuple[str, ...]
    left_over: tuple[str, ...]
    is_changed: bool
    plan: Plan = field(
        default_factory=lambda: Plan(())
    )  # what was to be done; empty where the same repository had been applied before
    held: int = 0  # objects that the registry has now


class FeatureStoreResource(dg.ConfigurableResource):
    """Feature values as known then, by Feast. Importing Feast costs 8 CPU seconds, once per process, at first use."""

    state: str = Field(description="Folder of the registry and of the online store, where these are local.")
    tables: str = Field(description="Folder or s3:// prefix of the offline tables.")
    storage_options: dict[str, str] = Field(default_factory=dict, repr=False, description="Object-store settings.")
    registry_url: str = Field(default="", repr=False, description="SQLAlchemy URL; SQLite in `state` if empty.")
    project: str = Field(default="perennial", description="Feast project.")
    module: str = Field(default="feature_repo.services", description="Module that names the repository's objects.")
    online_url: str = Field(
        default="",
        repr=False,
        description="sqlite:///file, redis://host or postgresql://host/database; SQLite in `state` if empty.",
    )
    as_of: str = Field(default="", description="Instant at which TTLs are judged online; the wall clock if empty.")
    ends_at: str = Field(
        default="", description="Instant after which the source tells nothing: online, now is never later."
    )
    link: str = Field(default="", description="Symbolic link to `state`, for feast commands; none if empty.")

    def apply(
        self,
        *,
        say: Callable[[str], None] = lambda text: None,
        delete: Collection[str] = (),
        held_before: int = 0,
        accept_empty_registry: bool = False,
        plan_only: bool = False,
    ) -> Applied:
        """Bring the registry and the online tables in line with the repository; what is to be done is said before.

        Nothing is deleted but what `delete` names. Safe beside other applies; does nothing but look where the same
        repository has been applied before. `held_before`: objects that the registry had after the last apply.
        Raises: FeatureStoreError for a registry that has lost everything; ConfigurationError for a deletion of what the
        repository still defines.
        """
        from feast import Entity, FeatureService, FeatureView, Project

        from resources.feast_repository.registry import brought_in_line, held
        from resources.feast_repository.store import one_writer

        self._write_yaml()
        module = importlib.import_module(self.module)
        objects: list[Any] = [o for o in vars(module).values() if isinstance(o, (Entity, FeatureView, FeatureService))]
        views = {o.name: o for o in objects if isinstance(o, FeatureView)}
        services = {o.name: o for o in objects if isinstance(o, FeatureService)}
        store = self._store()
        digest = digest_of([definition_of(o) for o in views.values()], [service_of(o) for o in services.values()])

        def bring_in_line() -> tuple[bool, Plan]:
            if digest == self._applied_digest(store) and not delete:
                return False, Plan(())
            plan = brought_in_line(
                store,
                objects,
                say=say,
                delete=delete,
                held_before=held_before,
                accept_empty_registry=accept_empty_registry,
                plan_only=plan_only,
            )
            if not plan_only:
                # Last, so that a killed apply is done again.
                store.apply(Project(name=self.project, description="Perennial", tags={_DIGEST: digest}))
            return not plan_only, plan

        with one_writer(store.config):
            is_changed, plan = beside_others(bring_in_line)
        found = {kind: names for kind, names in held(store).items() if kind != "project"}
        left_over = sorted({*found["feature view"]} - {*views}) + sorted({*found["feature service"]} - {*services})
        return Applied(
            tuple(sorted(views)),
            tuple(sorted(services)),
            tuple(left_over),
            is_changed,
            plan,
            sum(len(names) for names in found.values()),
        )

    def historical(self, rows: "pl.DataFrame", service: str, at: str = names.ISSUED_AT) -> "pl.DataFrame":
        """The rows, as many and in the same order, with every feature of the service as known at `at`.

        Raises: FeatureStoreError for an unknown service or a table that does not exist yet; PointInTimeError where a
        key is missing or a time has no zone.
        """
        if at not in rows.columns:
            raise FeatureStoreError(f"entity rows have no column `{at}`; columns: {', '.join(rows.columns)}")
        if getattr(rows.schema[at], "time_zone", None) is None:
            raise FeatureStoreError(f"entity rows: `{at}` is {rows.schema[at]}, expected instants with a time zone")
        store = self._store()
        store.refresh_registry()
        asked: Any = rows.rename({at: _AT}) if at != _AT else rows
        job: Any = store.get_historical_features(asked, self._service(store, service))
        joined: pl.DataFrame = job.to_polars().rename({_AT: at})
        return joined.select(*rows.columns, *self.features(service))

    def online(self, rows: "pl.DataFrame", service: str, *, now: datetime | None = None) -> "pl.DataFrame":
        """The rows' keys with what the online store serves for them now; null where it has nothing or its TTL is over.

        TTLs are judged at `now`; where it is left out, at the instant that the deployment says.
        """
        import polars as pl

        from resources.feast_polars.online_ttl import judged_at

        store = self._store()
        views = self._views(store, service)
        keys = list(dict.fromkeys(key for view in views for key in view.join_keys))
        if missing := [key for key in keys if key not in rows.columns]:
            raise FeatureStoreError(f"service `{service}` needs the keys {', '.join(missing)}", hint="add the columns")
        asked: Any = rows.select(keys).to_dict(as_series=False)
        with judged_at(now):
            served = store.get_online_features(self._service(store, service), asked).to_dict()
        schema = {f.name: polars_type(str(f.dtype)) for view in views for f in view.features}
        features = pl.DataFrame({name: served[name] for name in self.features(service)}, schema_overrides=schema)
        return rows.select(keys).hstack(features)

    def load_online(self, view: str, start: datetime, end: datetime, *, targets: tuple[int, int] | None = None) -> int:
        """Load each entity's latest row of [start, end], as known at `end`, into the online store; returns their number.

        Any order of overlapping loads leaves the row with the greatest (event time, known-at time), and a load that was
        killed is completed by the next. `targets` are the first and last target day to load, in days since 1970-01-01.
        """
        from resources.feast_polars.online_load import load

        store = self._store()
        return load(store, self._view(store, view), start, end, keep=_kept(targets))

    def parity(
        self,
        view: str,
        start: datetime,
        end: datetime,
        *,
        targets: tuple[int, int] | None = None,
        limit: int = 500,
    ) -> "Parity":
        """Up to `limit` entities of what `load_online` of this window loads: what online and offline say as of `end`."""
        from resources.feast_polars.parity import compare, sample

        store = self._store()
        store.refresh_registry()
        found = self._view(store, view)
        entities = sample(store, found, start, end, limit=limit, keep=_kept(targets))
        return compare(store, found, entities, end)

    def views(self, service: str) -> tuple[str, ...]:
        """Names of the service's views, in its order."""
        return tuple(view.name for view in self._views(self._store(), service))

    def features(self, service: str) -> tuple[str, ...]:
        """Names of the service's features, in its order."""
        projections = self._service(self._store(), service).feature_view_projections
        return tuple(feature.name for projection in projections for feature in projection.features)

    def view_hashes(self, service: str) -> dict[str, str]:
        """View to hash of its definition and of the code that computes it: what a model's manifest remembers."""
        hashes = {}
        for view in self._views(self._store(), service):
            function = view.tags.get(COMPUTED_BY, "")
            hashes[view.name] = digest_of(definition_of(view), source_digest(function) if function else "")
        return hashes

    def config(self) -> dict[str, Any]:
        """What feature_store.yaml would say, with this deployment's places."""
        state = Path(self.state).resolve()
        tables = self.tables if "://" in self.tables else str(Path(self.tables).resolve())
        return {
            "project": self.project,
            "provider": "local",
            "registry": {
                "registry_type": "sql",
                "path": self.registry_url or f"sqlite:///{state}/registry.db",
                "cache_ttl_seconds": 60,
            },
            "offline_store": {
                "type": "resources.feast_polars.offline.PolarsOfflineStore",
                "known_at": "strict",
                "root": tables,
                "storage_options": self.storage_options,
            },
            "online_store": online_store(self.online_url or f"sqlite:///{state / 'online.db'}")
            | {name: instant for name, instant in (("as_of", self.as_of), ("ends_at", self.ends_at)) if instant},
            "materialization": {"pull_latest_features": True},
            "entity_key_serialization_version": 3,
            "auth": {"type": "no_auth"},
        }

    def _write_yaml(self) -> None:
        """`feature_store.yaml` in `state` for `feast -f`, and the link that the one in feature_repo/ follows."""
        state = Path(self.state)
        state.mkdir(parents=True, exist_ok=True)
        if "://" not in self.tables and not (state / "tables").exists():
            replace_link(state / "tables", Path(os.path.relpath(Path(self.tables).resolve(), state.resolve())))
        # JSON is YAML. Settings of object stores hold secrets and stay out of the file.
        content = self.config()
        content["offline_store"].pop("storage_options")
        urls = self.registry_url, self.online_url
        if all(not url or url.startswith("sqlite:") for url in urls):  # others hold a password
            unfinished = state / f".feature_store.yaml.{os.getpid()}"
            unfinished.write_text(json.dumps(content, indent=2))
            unfinished.replace(state / "feature_store.yaml")
        if self.link:
            replace_link(Path(self.link), state.resolve())

    def _store(self) -> "FeatureStore":
        Path(self.state).mkdir(parents=True, exist_ok=True)
        return opened_store(json.dumps(self.config(), sort_keys=True))

    def _applied_digest(self, store: "FeatureStore") -> str | None:
        from feast.errors import ProjectNotFoundException, ProjectObjectNotFoundException

        try:
            return store.registry.get_project(self.project, allow_cache=False).tags.get(_DIGEST)
        except (ProjectNotFoundException, ProjectObjectNotFoundException):
            return None

    def _service(self, store: "FeatureStore", name: str) -> "FeatureService":
        from feast.errors import FeatureServiceNotFoundException

        try:
            return store.get_feature_service(name)
        except FeatureServiceNotFoundException as error:
            known = ", ".join(sorted(s.name for s in store.list_feature_services()))
            raise FeatureStoreError(
                f"no feature service `{name}` in the registry; it has {known or 'none'}",
                hint="name it in feature_repo/services.py and materialize `feature_registry`",
            ) from error

    def _view(self, store: "FeatureStore", name: str) -> "FeatureView":
        from feast.errors import FeatureViewNotFoundException

        try:
            return store.get_feature_view(name)
        except FeatureViewNotFoundException as error:
            raise FeatureStoreError(
                f"no feature view `{name}` in the registry", hint="materialize `feature_registry`"
            ) from error

    def _views(self, store: "FeatureStore", service: str) -> "list[FeatureView]":
        return [self._view(store, p.name) for p in self._service(store, service).feature_view_projections]


def _kept(targets: tuple[int, int] | None) -> "Callable[[pl.DataFrame], pl.DataFrame]":
    """Of rows, those of the target days from the first to the last of `targets`; all where it is None."""

    def kept(rows: "pl.DataFrame") -> "pl.DataFrame":
        return rows if targets is None else rows.filter(rows[names.TARGET_DAY].is_between(*targets))

    return kept
