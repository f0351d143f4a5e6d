"""Plan, and on a word from the parent process apply. A process of its own: it imports the repository's modules.

    python -m resources.feast_repository.apply REPOSITORY

Prints the plan as a line of JSON, reads a line of JSON with the names to delete (or nothing, which ends it), applies, and prints
what the registry then holds. The registry is locked from the plan to the end.
"""

import json
import sys
from pathlib import Path
from typing import Any

from feast import FeatureStore
from feast.diff.registry_diff import extract_objects_for_keep_delete_update_add
from feast.infra.registry.registry import FEAST_OBJECT_TYPES, FeastObjectType
from feast.repo_contents import RepoContents
from feast.repo_operations import _get_repo_contents  # pyright: ignore[reportPrivateUsage]

from resources.feast_repository.describe import enter
from resources.feast_repository.plan import CREATE, DELETE, UNCHANGED, UPDATE, Change, Plan
from resources.feast_repository.store import one_writer, opened

_VIEWS = (
    FeastObjectType.FEATURE_VIEW,
    FeastObjectType.STREAM_FEATURE_VIEW,
    FeastObjectType.ON_DEMAND_FEATURE_VIEW,
    FeastObjectType.LABEL_VIEW,
)


def main(repository: str) -> None:
    """The conversation of the module's docstring, on the real standard output: Feast prints a lot on the other one."""
    out, sys.stdout = sys.stdout, sys.stderr
    place = Path(repository).resolve()
    enter(place)
    store = opened(str(place))
    contents = _get_repo_contents(place, store.project, store.config)
    with one_writer(store.config):
        store.refresh_registry()
        orphans = _orphans(store, contents)
        print(json.dumps(_plan(store, contents).to_json()), file=out, flush=True)  # an answer
        if not (answer := sys.stdin.readline().strip()):
            return
        delete = set(json.loads(answer))
        removed = [found for found in orphans if found.name in delete]
        store.apply(_objects(contents), objects_to_delete=removed, partial=False)
        print(json.dumps(held(store)), file=out, flush=True)  # an answer


def _plan(store: FeatureStore, contents: RepoContents) -> Plan:
    diff, _, _ = store.plan(contents)
    named = {change.name: change for change in (_change(found) for found in diff.feast_object_diffs)}
    # Feast's comparison leaves out deletions of objects that it does not list by default; ours asks for each kind.
    changes = [change for change in named.values() if change.name != "__dummy"]
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


def _objects(contents: RepoContents) -> list[Any]:
    return [found for kind in contents for found in kind if getattr(found, "name", "") != "__dummy"]


def held(store: FeatureStore) -> dict[str, list[str]]:
    """Kind to the names that the registry has."""
    store.refresh_registry()
    found = FeastObjectType.get_objects_from_registry(store.registry, store.project)
    return {kind.value: sorted(o.name for o in found[kind] if o.name != "__dummy") for kind in FEAST_OBJECT_TYPES}


if __name__ == "__main__":
    main(*sys.argv[1:])
