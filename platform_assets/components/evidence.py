"""Gate evidence as it travels between two steps, in JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from platform_assets.science.bootstrap import Interval
from platform_assets.science.gate import GateEvidence, SegmentEvidence


def evidence_from(told: Mapping[str, Any]) -> GateEvidence:
    """The inverse of `GateEvidence.to_dict`."""
    return GateEvidence(
        **{
            **told,
            "improvement": _interval(told["improvement"]),
            "segments": tuple(
                SegmentEvidence(s["name"], _interval(s["improvement"]), s["series"]) for s in told["segments"]
            ),
            **{
                key: _instant(told.get(key))
                for key in ("judged_from", "candidate_cut", "against_cut", "rolled_back_at", "alarm_known_at")
            },
        }
    )


def _interval(told: Mapping[str, float | None]) -> Interval:
    return Interval(*(float("nan") if told[key] is None else told[key] for key in ("estimate", "low", "high")))  # pyright: ignore[reportArgumentType]


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
