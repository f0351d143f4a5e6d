"""Policies of the grid: what everybody does, what could be the default, and both under each gate."""

from collections.abc import Mapping
from typing import Any, Final

from platform_assets.backtesting import NAMED

Mappings = Mapping[str, Mapping[str, Any]]

FIXED: Final[Mappings] = {
    **{name: {**NAMED[name], "after_alarm": {}} for name in ("monthly", "quarterly")},
    "psi": NAMED["psi"],  # on all history, as everybody does it
}
DEAR: Final[Mappings] = {"weekly": {**NAMED["weekly"], "after_alarm": {}}}  # to try: many trainings
ERRORS: Final[Mapping[str, Any]] = {"when": ["error", {"staleness": 90}], "follow_up_weeks": [3, 7]}
EVENLY: Final[Mapping[str, Any]] = {**ERRORS, "after_alarm": {}}
WEEKS_8: Final[Mapping[str, Any]] = {"when": ["error", {"staleness": 55}]}
SETTLED: Final[Mappings] = {  # what answers an alarm can be judged
    "dense, 14 days": {**ERRORS, "settle_days": 14},
    "evenly, 14 days": {**EVENLY, "settle_days": 14},
    "dense, 14 days, 8 weeks": {**ERRORS, **WEEKS_8, "settle_days": 14},
    "evenly, 14 days, 8 weeks": {**EVENLY, **WEEKS_8, "settle_days": 14},
}
EARLIER: Final[Mappings] = {
    "evenly, 7 days": {**EVENLY, "settle_days": 7},
    "evenly, at once, 8 weeks": {**EVENLY, **WEEKS_8, "settle_days": 0},
}
BY_ESTIMATE: Final = ", by estimate"
GATES: Final[Mapping[str, Mapping[str, Any]]] = {  # what becomes of the undecided, by the ending of a policy's name
    "": {"undecided": "keep"},
    BY_ESTIMATE: {"undecided": "by_estimate"},
    ", promotes": {"undecided": "promote"},
}


def _gated(policies: Mappings) -> Mappings:
    return {f"{name}{gate}": policy for gate in GATES for name, policy in policies.items()}


CANDIDATES: Final[Mappings] = {f"{name}{BY_ESTIMATE}": policy for name, policy in SETTLED.items()}
RIVALS: Final[Mappings] = _gated({**DEAR, **FIXED})
USUAL: Final = tuple(_gated({**FIXED, **SETTLED, **EARLIER}))  # what is run where nothing is said
POLICIES: Final[Mappings] = {**RIVALS, **_gated({**SETTLED, **EARLIER})}


def gate_of(name: str) -> Mapping[str, Any]:
    """What a policy's gate does with the undecided."""
    return GATES[next(gate for gate in reversed(GATES) if name.endswith(gate))]
