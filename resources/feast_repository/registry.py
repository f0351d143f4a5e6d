"""A registry beside the objects that a repository defines: what an apply would change, and the apply. Imports Feast."""

from collections.abc import Callable, Collection
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, OnDemandFeatureView, StreamFeatureView
from feast.data_source import DataSource
from feast.diff.registry_diff import extract_objects_for_keep_delete_update_add
from feast.infra.registry.registry import FEAST_OBJECT_TYPES, FeastObjectType
from feast.repo_contents import RepoContents

from resources.feast_repository.plan import CREATE, DELETE, UNCHANGED, UPDATE, Change, Plan, deletions


def contents_of(objects: Collection[Any], store: FeatureStore) -> RepoContents:
    """A repository's contents from its objects: entities, views with their sources, services."""
    views = [o for o in objects if isinstance(o, FeatureView) and not isinstance(o, StreamFeatureView)]
    sources = {v.batch_source.name: v.batch_source for v in views if isinstance(v.batch_source, DataSource)}
    return RepoContents(
        projects=[store.get_project(store.project)] if _has_project(store) else [],
        data_sources=list(sources.values()),
        feature_views=views,
        on_demand_feature_views=[o for o in objects if isinstance(o, OnDemandFeatureView)],
        stream_feature_views=[o for o in objects if isinstance(o, StreamFeatureView)],
        label_views=[],
        entities=[o for o in objects if isinstance(o, Entity)],
        feature_services=[o for o in objects if isinstance(o, FeatureService)],
        permissions=[],
    )


def _has_project(store: FeatureStore) -> bool:
    return any(found.name == store.project for found in store.list_projects())


def brought_in_line(
    store: FeatureStore,
    objects: Collection[Any],
    *,
    say: Callable[[str], None],
    delete: Collection[str] = (),
    held_before: int = 0,
    accept_empty_registry: bool = False,
    plan_only: bool = False,
) -> Plan:
    """Plan, say the plan, and apply it if it may be applied; nothing is deleted but what `delete` names.

    Raises: as `deletions`, before anything is written.
    """
    contents = contents_of(objects, store)
    plan = planned(store, contents)
    removed = deletions(plan, delete, held_before=held_before, accept_empty_registry=accept_empty_registry)
    say(plan.text(delete=removed))
    if not plan_only:
        write(store, contents, removed)
    return plan


def write(store: FeatureStore, contents: RepoContents, delete: Collection[str]) -> None:
    """Apply the contents, and delete what `delete` names of the objects that the registry alone has."""
    gone = [found for found in _orphans(store, contents) if found.name in delete]
    store.apply(_objects_of(contents), objects_to_delete=gone, partial=False)


def planned(store: FeatureStore, contents: RepoContents) -> Plan:
    diff, _, _ = store.plan(contents)
    changes = [_change(found) for found in diff.feast_object_diffs if found.name != "__dummy"]
    return Plan(tuple(sorted(changes, key=lambda c: (c.kind, c.name))))


def _change(found: Any) -> Change:
    action = {"CREATE": CREATE, "DELETE": DELETE, "UPDATE": UPDATE}.get(found.transition_type.name, UNCHANGED)
    differing = [
        (p.property_name, _short(p.val_existing), _short(p.val_declared)) for p in found.feast_object_property_diffs
    ]
    return Change(found.feast_object_type.value, found.name, action, tuple(differing))


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _orphans(store: FeatureStore, contents: RepoContents) -> list[Any]:
    _, orphans, _, _ = extract_objects_for_keep_delete_update_add(store.registry, store.project, contents)
    found = [o for kind in FEAST_OBJECT_TYPES for o in orphans[kind] if o.name != "__dummy"]
    return [o for o in found if type(o).__name__ != "Project"]


def _objects_of(contents: RepoContents) -> list[Any]:
    return [found for kind in contents for found in kind if getattr(found, "name", "") != "__dummy"]


def held(store: FeatureStore) -> dict[str, list[str]]:
    """Kind to the names that the registry has."""
    store.refresh_registry()
    found = FeastObjectType.get_objects_from_registry(store.registry, store.project)
    return {kind.value: sorted(o.name for o in found[kind] if o.name != "__dummy") for kind in FEAST_OBJECT_TYPES}
