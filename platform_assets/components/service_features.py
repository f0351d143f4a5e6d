"""What a Feast service offers to a model, read from `feature_repo/services.py` without importing Feast (5 s)."""

import ast
from functools import cache
from pathlib import Path
from typing import Final

from platform_assets.science.demand import columns

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
