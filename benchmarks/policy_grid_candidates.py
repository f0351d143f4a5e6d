"""Policies of the grid: what everybody does, and what could be the default."""

from collections.abc import Mapping
from typing import Any, Final

from platform_assets.backtesting import NAMED

Mappings = Mapping[str, Mapping[str, Any]]

FIXED: Final[Mappings] = {
    **{name: {**NAMED[name], "after_alarm": {}} for name in ("monthly", "quarterly")},
    "psi": NAMED["psi"],  # on all history, as everybody does it
}
DEAR: Final[Mappings] = {  # to try: many trainings
    "weekly": {**NAMED["weekly"], "after_alarm": {}},
    "inputs and errors": {"when": ["drift", "error", {"staleness": 28}], "follow_up_weeks": []},
}
ERRORS: Final[Mapping[str, Any]] = {"when": ["error", {"staleness": 90}], "follow_up_weeks": [3, 7]}
EVENLY: Final[Mapping[str, Any]] = {**ERRORS, "after_alarm": {}}
WEEKS_8: Final[Mapping[str, Any]] = {"when": ["error", {"staleness": 55}]}
CANDIDATES: Final[Mappings] = {
    "dense, 7 days": {**ERRORS, "settle_days": 7},
    "evenly, 7 days": {**EVENLY, "settle_days": 7},
    "dense, 14 days": {**ERRORS, "settle_days": 14},
    "evenly, 14 days": {**EVENLY, "settle_days": 14},
    "evenly, 21 days": {**EVENLY, "settle_days": 21},
    "dense, at once, 8 weeks": {**ERRORS, **WEEKS_8, "settle_days": 0},
    "dense, 14 days, 8 weeks": {**ERRORS, **WEEKS_8, "settle_days": 14},
    "evenly, 14 days, 8 weeks": {**EVENLY, **WEEKS_8, "settle_days": 14},
    "evenly, 21 days, 8 weeks": {**EVENLY, **WEEKS_8, "settle_days": 21},
}
PROMOTES: Final = {"undecided": "promote"}  # of the gate: what cannot be told from the champion replaces it
PROMOTING: Final[Mappings] = {
    f"{name}, promotes": {**FIXED, **CANDIDATES}[name]
    for name in (
        "monthly",
        "quarterly",
        "dense, 7 days",
        "evenly, 7 days",
        "dense, 14 days",
        "evenly, 14 days",
        "evenly, 14 days, 8 weeks",
    )
}
POLICIES: Final[Mappings] = {**FIXED, **CANDIDATES, **PROMOTING, **DEAR}
