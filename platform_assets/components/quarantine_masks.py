"""Which forecasts were issued while a value that is under quarantine now was the known one."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from platform_assets.science import segment_quarantine
from platform_assets.science.source import Source
from resources.ledger import Ledger

if TYPE_CHECKING:
    from platform_assets.science.demand.masks import Mask


def masks_of(ledger: Ledger, source: Source, now: datetime) -> list[Mask]:
    """From a period's end to its quarantine, of the segment; none of what was found when it arrived: nobody read it.

    A row issued between the two has features made of the wrong value for ever, as that is what was known.
    """
    from platform_assets.science.demand.masks import Mask

    found = []
    for spell in segment_quarantine.spells(ledger.quarantines(source.name), source.period_days):
        midnight = datetime.combine(spell.first_on, time(), ZoneInfo(source.timezone))
        since = midnight + timedelta(days=source.period_days)  # local days, whatever the clocks do
        if (
            spell.status in segment_quarantine.HOLDING
            and since < spell.found_at <= now
            and spell.who != segment_quarantine.DETECTOR
        ):
            series = f"{_escaped(spell.segment)}/" if spell.segment and source.segment_position == 0 else ""
            found.append(Mask(since, spell.found_at, series))
    return found


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("/", "%2F")
