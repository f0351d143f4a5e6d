"""What an apply would change in a registry, and whether it may."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from platform_assets.errors import ConfigurationError, FeatureStoreError

# Names of a change in Feast's own plans.
CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
DELETE: Final = "DELETE"
UNCHANGED: Final = "UNCHANGED"
_SHOWN: Final = 8  # properties of one change


@dataclass(frozen=True)
class Change:
    """One object's: `kind` as Feast calls it, `properties` that differ, as (name, before, after)."""

    kind: str
    name: str
    action: str
    properties: tuple[tuple[str, str, str], ...] = ()

    @property
    def label(self) -> str:
        return f"{self.kind} `{self.name}`"


@dataclass(frozen=True)
class Plan:
    """Every object of the repository or of the registry, unchanged ones included."""

    changes: tuple[Change, ...]

    def of(self, *actions: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.action in actions)

    @property
    def held(self) -> int:
        """Objects that the registry has, those aside that Feast adds by itself."""
        return sum(change.kind != "project" for change in self.of(UPDATE, DELETE, UNCHANGED))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(change) for change in self.changes]

    def text(self, *, delete: Collection[str] = ()) -> str:
        """A line for each change, in the order of what most wants reading: deletions, updates, additions."""
        lines = []
        for change in self.of(DELETE):
            fate = "is deleted" if change.name in delete else "is in the registry alone, and is kept"
            lines.append(f"{change.label}: {fate}")
        for change in self.of(UPDATE):
            said = [
                f"{name}: {old or 'nothing'} -> {new or 'nothing'}" for name, old, new in change.properties[:_SHOWN]
            ]
            lines.append(f"{change.label} changes: {'; '.join(said) or 'in its definition'}")
        lines += [f"{change.label} is added" for change in self.of(CREATE)]
        return "\n".join(lines) or "nothing to do: the registry is in line with the repository"


def plan_from(changes: list[Mapping[str, Any]]) -> Plan:
    """The plan that `to_json` gave."""
    return Plan(
        tuple(
            Change(c["kind"], c["name"], c["action"], tuple((p[0], p[1], p[2]) for p in c["properties"]))
            for c in changes
        )
    )


def deletions(plan: Plan, delete: Collection[str], *, held_before: int, accept_empty_registry: bool) -> list[str]:
    """What may be deleted: `delete`, if the plan is sound.

    `held_before`: objects that the registry had after the last apply.
    Raises: FeatureStoreError for a registry that has lost everything; ConfigurationError for a deletion of something
    that the repository still defines, or that is not there.
    """
    if held_before and not plan.held and not accept_empty_registry:
        raise FeatureStoreError(
            f"the registry is empty; after the last apply it held {held_before} objects. Nothing was written",
            hint="look where it went (a path, a bucket, a database); if it is meant, run with accept_empty_registry: true",
        )
    orphans = {change.name for change in plan.of(DELETE)}
    if wrong := sorted({*delete} - orphans):
        raise ConfigurationError(
            f"delete names {', '.join(wrong)}, which the repository still defines or the registry does not have; "
            f"in the registry alone: {', '.join(sorted(orphans)) or 'nothing'}. Nothing was written",
            hint="take it out of the repository first",
        )
    return sorted(delete)
