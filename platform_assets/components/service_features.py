"""What feature_repo/ says of its views and services, read without importing Feast (5 s)."""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from platform_assets.errors import ConfigurationError
from platform_assets.science.demand import columns
from resources.feature_store import COMPUTED_BY
from resources.source_digest import FEATURES, definition_digest, module_file, source_digest

SERVICES: Final = Path(__file__).parents[2] / "feature_repo" / "services.py"

_LITERAL: Final = {"name", "description", "owner", "tags"}

# Views that a derived feature is computed from.
DERIVED_FROM: Final = {
    "weekday_mean_target": ("demand_history",),
    "missed_units": ("demand_history",),
    "season_ratio": ("demand_history", "season"),
    "season_half_ratio": ("demand_history", "season"),
    "season_market_ratio_7": ("demand_history", "season"),
    "season_market_ratio_29": ("demand_history", "season"),
    "target_price_ratio": ("price_history", "offer"),
    "target_price_step": ("price_history", "offer"),
}


@dataclass(frozen=True)
class Said:
    """What a file of feature_repo/ says of a view or a service, as Feast will have it."""

    about: str
    owner: str
    tags: Mapping[str, str]
    ttl: str  # as it is written
    views: tuple[str, ...] = ()  # of a service


@cache
def services() -> dict[str, tuple[str, ...]]:
    """Service to the names of its views, as the file says."""
    return {name: said.views for name, said in said_of_services().items()}


@cache
def said_of_services() -> dict[str, Said]:
    """Service to what the file says of it."""
    return _said(SERVICES, "FeatureService")


def said_of_view(view: str) -> Said:
    """What `feature_repo/views/<view>.py` says of the view.

    Raises: ConfigurationError if it defines none of this name.
    """
    path = module_file(f"{FEATURES}.views.{view}")
    found = _said(path, "FeatureView") if path else {}
    if view not in found:
        raise ConfigurationError(
            f"feature_repo/views/{view}.py defines no FeatureView with the name {view!r}",
            hint="a view's module, its variable and its `name` are called alike",
        )
    return found[view]


def _said(path: Path, kind: str) -> dict[str, Said]:
    """Name to what the calls of this class in a file say.

    Raises: ConfigurationError for what is not written out: only literals can be read without running the file.
    """
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind):
            continue
        written = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        said = {}
        for name in written.keys() & _LITERAL:
            try:
                said[name] = ast.literal_eval(written[name])
            except ValueError as error:
                raise ConfigurationError(
                    f"{path}, line {node.lineno}: `{name}` of a {kind} is {ast.unparse(written[name])}, expected it written out"
                ) from error
        views = features.elts if isinstance(features := written.get("features"), ast.List) else []
        found[said["name"]] = Said(
            about=" ".join(said.get("description", "").split()),
            owner=said.get("owner", ""),
            tags=said.get("tags", {}),
            ttl=ast.unparse(written["ttl"]) if "ttl" in written else "none",
            views=tuple(_whole_view(path, view) for view in views),
        )
    return found


def _whole_view(path: Path, view: ast.expr) -> str:
    if not isinstance(view, ast.Name):
        raise ConfigurationError(
            f"{path}, line {view.lineno}: a service takes {ast.unparse(view)}, expected whole views",
            hint="name the view alone, or define a view of these features",
        )
    return view.id


def features_of(service: str) -> tuple[str, ...]:
    """Columns of a training set on this service: its views', the calendar's, and what they let derive.

    Raises: ValueError naming the services that there are.
    """
    if service not in services():
        raise ValueError(
            f"unknown feature service {service!r}; known: {', '.join(services())} (feature_repo/services.py)"
        )
    views = services()[service]
    own = [feature for view in views for feature in columns.VIEWS[view]]
    derived = [name for name in columns.DERIVED if set(DERIVED_FROM[name]) <= set(views)]
    return (*own, *columns.CALENDAR, *derived)


def view_version(view: str) -> str:
    """Hash of the view's definition in feature_repo/ and of the function that computes it; of no other view."""
    said = definition_digest(f"{FEATURES}.views.{view}", view)
    function = said_of_view(view).tags.get(COMPUTED_BY)
    return hashlib.sha256(f"{said}{source_digest(function) if function else ''}".encode()).hexdigest()[:16]


def service_version(service: str) -> str:
    """Hash of what the service asks for, and of the views that it asks."""
    said = [f"{view} {view_version(view)}" for view in services()[service]]
    return hashlib.sha256("\n".join([service, *said]).encode()).hexdigest()[:16]
