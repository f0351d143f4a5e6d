"""Write the description of a Feast repository. A process of its own: it imports Feast and the repository's modules.

python -m resources.feast_repository.describe REPOSITORY DESCRIPTION.json
"""

import hashlib
import inspect
import json
import os
import re
import site
import sys
import sysconfig
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast
import yaml
from feast import BatchFeatureView, Entity, Field, OnDemandFeatureView, PushSource, RequestSource, StreamFeatureView
from feast.labeling.label_view import LabelView
from feast.repo_contents import RepoContents
from feast.repo_operations import parse_repo
from google.protobuf.json_format import MessageToDict

from platform_assets.errors import ConfigurationError
from resources.feast_repository import description as d

_UNSTABLE = {"body", "createdTimestamp", "lastUpdatedTimestamp"}  # pickled code and times


def describe(repository: Path) -> d.Description:
    """The repository's objects, as its modules define them; neither its registry nor its stores are asked."""
    if not (repository / d.YAML).is_file():
        raise ConfigurationError(
            f"{repository}: no {d.YAML}, so no Feast repository", hint="`path` leads to its folder"
        )
    settings: dict[str, Any] = yaml.safe_load(os.path.expandvars((repository / d.YAML).read_text()))
    known = {*sys.modules}
    contents = parsed(repository)
    files = {**d.repository_files(repository), **_imported(repository, {*sys.modules} - known)}
    entities = {entity.name: entity for entity in contents.entities}
    _infer(contents, repository)
    views: list[Any] = [
        *contents.feature_views,
        *contents.stream_feature_views,
        *contents.on_demand_feature_views,
        *contents.label_views,
    ]
    if not views:
        raise ConfigurationError(
            f"{repository}: none of its {len(files)} files defines a view", hint="is it all of the repository?"
        )
    sources = {source.name: source for source in contents.data_sources}
    for view in views:
        for source in (_batch(view), getattr(view, "stream_source", None), *_requests(view)):
            if source is not None:
                sources.setdefault(source.name, source)
    for source in list(sources.values()):
        if isinstance(source, PushSource) and source.batch_source is not None:
            sources.setdefault(source.batch_source.name, source.batch_source)
    project = next(iter(contents.projects), None)
    return d.Description(
        project=project.name if project else settings["project"],
        about=(project.description if project else settings.get("project_description")) or "",
        feast=feast.__version__,
        stores=_stores(settings),
        files=files,
        sources=tuple(_source(source, repository) for source in _sorted(sources.values())),
        views=tuple(_view(view, entities) for view in _sorted(views)),
        services=tuple(_service(service) for service in _sorted(contents.feature_services)),
    )


def parsed(repository: Path) -> RepoContents:
    """What `feast apply` would read."""
    enter(repository)
    return parse_repo(repository)


def enter(repository: Path) -> None:
    """Work in the repository's folder, as its modules expect."""
    os.chdir(repository)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(repository))


def _sorted(objects: Any) -> list[Any]:
    return sorted(objects, key=lambda found: found.name)


def _stores(settings: dict[str, Any]) -> dict[str, str]:
    """Kinds of the stores, without their places: a registry's URL may hold a password."""

    def kind(name: str, default: str) -> str:
        said = settings.get(name)
        return (
            str(said.get("type") or said.get("registry_type") or default) if isinstance(said, dict) else said or default
        )

    registry = settings.get("registry")
    return {
        "provider": str(settings.get("provider") or "local"),
        "registry": kind("registry", "file") if isinstance(registry, dict) else "file",
        "offline": kind("offline_store", "file"),
        "online": kind("online_store", "sqlite"),
    }


def _infer(contents: RepoContents, repository: Path) -> None:
    """Features that a view leaves to Feast to find in its table; without the table they stay unknown."""
    from feast.inference import update_feature_views_with_inferred_features_and_entities
    from feast.infra.provider import get_provider
    from feast.repo_config import load_repo_config

    bare = [view for view in contents.feature_views if not view.features and _batch(view) is not None]
    if not bare:
        return
    try:
        config = load_repo_config(repository, repository / d.YAML)
        update_feature_views_with_inferred_features_and_entities(
            get_provider(config), list(bare), contents.entities, config
        )
    except Exception as error:  # noqa: BLE001  # any store's own error; the asset says that its columns are not known
        print(f"columns of {', '.join(view.name for view in bare)} could not be read: {error}", file=sys.stderr)  # noqa: T201


def _batch(view: Any) -> Any:
    return getattr(view, "batch_source", None)


def _requests(view: Any) -> list[Any]:
    return list(getattr(view, "source_request_sources", {}).values())


def _view(view: Any, entities: dict[str, Entity]) -> d.View:
    names = [name for name in getattr(view, "entities", []) if not name.startswith("__")]
    found = [entities[name] for name in names if name in entities]
    ttl = getattr(view, "ttl", None)
    batch, stream = _batch(view), getattr(view, "stream_source", None)
    is_on_demand = isinstance(view, OnDemandFeatureView)
    code = _code(view)
    fingerprint = _fingerprint(view, *found, *(source for source in (batch, stream) if source is not None), code=code)
    inputs = {p.name: p.features for p in getattr(view, "source_feature_view_projections", {}).values()}
    inputs |= {made_of.name: made_of.features for made_of in getattr(view, "source_views", None) or []}
    return d.View(
        name=view.name,
        kind=_kind(view),
        fingerprint=fingerprint,
        about=view.description or "",
        owner=view.owner or "",
        tags=dict(view.tags or {}),
        keys=tuple(_key(entity, view) for entity in found),
        features=tuple(_column(feature) for feature in view.features),
        entities=tuple(names),
        source=batch.name if batch is not None else "",
        pushed_by=stream.name if stream is not None else "",
        ttl_s=ttl.total_seconds() if isinstance(ttl, timedelta) and ttl else None,
        is_online=bool(view.write_to_online_store if is_on_demand else getattr(view, "online", False)),
        inputs={name: tuple(feature.name for feature in features) for name, features in inputs.items()},
        requests=tuple(source.name for source in _requests(view)),
        code=code,
        labeler=getattr(view, "labeler_field", "") or "",
        conflict_policy=view.conflict_policy.name if isinstance(view, LabelView) else "",
    )


def _code(view: Any) -> str:
    """Text of the view's own function; Feast keeps it only of a decorated one."""
    transformation = getattr(view, "feature_transformation", None)
    if transformation is None:
        return ""
    try:
        return str(getattr(transformation, "udf_string", "") or inspect.getsource(transformation.udf))
    except (AttributeError, OSError, TypeError):
        return "a function whose text is not known"


def _kind(view: Any) -> str:
    kinds = {
        LabelView: d.LABEL,
        OnDemandFeatureView: d.ON_DEMAND,
        StreamFeatureView: d.STREAM,
        BatchFeatureView: d.BATCH,
    }
    return next((kind for of, kind in kinds.items() if isinstance(view, of)), d.PLAIN)


def _key(entity: Entity, view: Any) -> d.Column:
    typed = {field.name: str(field.dtype) for field in getattr(view, "entity_columns", [])}
    kind = typed.get(entity.join_key) or (entity.value_type.name.title() if entity.value_type.value else "")
    return d.Column(entity.join_key, kind, entity.description or f"key of {entity.name}")


def _column(field: Field) -> d.Column:
    tags = field.tags or {}
    low, high = _number(tags, "min"), _number(tags, "max")
    return d.Column(field.name, str(field.dtype), field.description or "", low, high, _reads(field.name, tags))


def _reads(feature: str, tags: dict[str, str]) -> tuple[str, ...]:
    said = tuple(part for part in re.split(r"[,\s]+", tags.get("reads", "")) if part)
    if wrong := [part for part in said if not re.fullmatch(r"[^.]+(/[^.]+)*\.[^./]+", part)]:
        raise ConfigurationError(
            f"tag `reads` of feature `{feature}` is {', '.join(wrong)}, expected asset.column, such as raw/rides.fare"
        )
    return said


def _number(tags: dict[str, str], name: str) -> float | None:
    try:
        return float(tags[name]) if name in tags else None
    except ValueError as error:
        raise ConfigurationError(f"tag `{name}` of a feature is no number: {tags[name]!r}") from error


def _source(source: Any, repository: Path) -> d.Source:
    path = str(getattr(source, "path", None) or getattr(source, "table", None) or getattr(source, "query", None) or "")
    batch = getattr(source, "batch_source", None)
    return d.Source(
        name=source.name,
        kind=type(source).__name__,
        path=path,
        about=source.description or "",
        owner=source.owner or "",
        tags=dict(source.tags or {}),
        time=source.timestamp_field or "",
        created=source.created_timestamp_column or "",
        batch=batch.name if batch is not None else "",
        columns=tuple(_column(field) for field in source.schema) if isinstance(source, RequestSource) else (),
        mapping=dict(source.field_mapping or {}),
        first_event=_first_event(source, repository),
    )


def _first_event(source: Any, repository: Path) -> str | None:
    """Day of the earliest row of a file source; None where there is nothing to read from here."""
    import polars as pl

    from resources.feast_polars.sources import Sources

    if type(source).__name__ != "FileSource" or not source.timestamp_field:
        return None
    try:
        scanned = Sources(str(repository)).scan(source)
        first = scanned.select(pl.col(source.timestamp_field).min()).collect().item()
    except Exception as error:  # noqa: BLE001  # a missing file, a bucket, a damaged one: the table's checks tell which
        print(f"source {source.name}: {error}", file=sys.stderr)  # noqa: T201
        return None
    return None if first is None else str(first)[:10]


def _service(service: Any) -> d.Service:
    return d.Service(
        name=service.name,
        fingerprint=_fingerprint(service),
        features={p.name: tuple(f.name for f in p.features) for p in service.feature_view_projections},
        about=service.description or "",
        owner=service.owner or "",
        tags=dict(service.tags or {}),
    )


def _fingerprint(*objects: Any, code: str = "") -> str:
    """Hash of what the objects say, the text of their functions included, whatever pickles them and whenever."""
    said = [_stable(MessageToDict(found.to_proto())) for found in objects]
    return hashlib.sha256(json.dumps([*said, code], sort_keys=True).encode()).hexdigest()[:16]


def _stable(said: Any) -> Any:
    if isinstance(said, dict):
        return {name: _stable(value) for name, value in said.items() if name not in _UNSTABLE}
    return [_stable(value) for value in said] if isinstance(said, list) else said


def _imported(repository: Path, modules: set[str]) -> dict[str, str]:
    """Of the modules that it imported: those outside the repository that no package manager installed."""
    installed = {Path(place).resolve() for place in (sysconfig.get_path("stdlib"), *site.getsitepackages(), sys.prefix)}
    found = {}
    for name in modules:
        file = getattr(sys.modules[name], "__file__", None)
        path = Path(file).resolve() if file and file.endswith(".py") else repository
        if not any(path.is_relative_to(place) for place in (repository, *installed)):
            found[os.path.relpath(path, repository)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def main(repository: str, out: str) -> None:
    """Atomic: a description that fails leaves the one before."""
    place = Path(out)
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    unfinished.write_text(describe(Path(repository).resolve()).to_json())
    unfinished.replace(place)


if __name__ == "__main__":
    main(*sys.argv[1:])
