"""What a Feast service offers to a model, read from `feature_repo/services.py` without importing Feast (5 s)."""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

from platform_assets.science.demand import columns
from resources.source_digest import module_file, modules_behind, source_digest

SERVICES: Final = Path(__file__).parents[2] / "feature_repo" / "services.py"

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


@cache
def services() -> dict[str, tuple[str, ...]]:
    """Service to the names of its views, as the file says."""
    found = {}
    for node in ast.walk(ast.parse(SERVICES.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FeatureService"):
            continue
        said = {keyword.arg: keyword.value for keyword in node.keywords}
        views = said["features"].elts if isinstance(said["features"], ast.List) else []
        found[ast.literal_eval(said["name"])] = tuple(
            (view.value if isinstance(view, ast.Subscript) else view).id  # pyright: ignore[reportAttributeAccessIssue]
            for view in views
        )
    return found


@cache
def service_owners() -> dict[str, str]:
    """Service to its owner, as the file says."""
    found = {}
    for node in ast.walk(ast.parse(SERVICES.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FeatureService":
            said = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            found[said["name"]] = str(said.get("owner", ""))
    return found


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
    module = f"feature_repo.views.{view}"
    digest = hashlib.sha256()
    for name in sorted(modules_behind([module], ("feature_repo",))):
        file = module_file(name)
        digest.update(name.encode() + b"\0" + (file.read_bytes() if file else b""))
    file = module_file(module)
    named = re.search(r'"computed_by": "([^"]+)"', file.read_text() if file else "")
    return hashlib.sha256(f"{digest.hexdigest()}{source_digest(named[1]) if named else ''}".encode()).hexdigest()[:16]


def service_version(service: str) -> str:
    """Hash of what the service asks for, and of the views that it asks."""
    said = [f"{view} {view_version(view)}" for view in services()[service]]
    return hashlib.sha256("\n".join([service, *said]).encode()).hexdigest()[:16]
