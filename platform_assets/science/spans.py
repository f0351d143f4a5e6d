"""Periods of a segment, in words."""

from datetime import date
from typing import Final

ALL: Final = "all segments"


def span_name(segment: str, first_on: date, last_on: date | None) -> str:
    """Such as: store_03 from 2026-01-12 to 2026-01-18."""
    return f"{segment or ALL} from {first_on}" + ("" if last_on is None else f" to {last_on}")
