"""Features by what somebody may have meant: their names, and the words of their meanings."""

import difflib
from collections.abc import Iterable

from platform_assets.science.demand.columns import DESCRIPTIONS

SHOWN = 4


def closest(wanted: str, known: Iterable[str]) -> list[str]:
    """The few known features that are most like the wanted name, the most alike first; none where nothing is."""
    words = [word for word in wanted.lower().split("_") if word]
    scores: dict[str, float] = {}
    for name in sorted(known):
        spelt = difflib.SequenceMatcher(None, wanted.lower(), name).ratio()
        meaning = DESCRIPTIONS.get(name, "").lower().replace(",", " ").split()
        said = sum(bool(difflib.get_close_matches(word, meaning, 1, 0.8)) for word in words) / max(len(words), 1)
        scores[name] = max(spelt, 0.95 * said)
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    return [name for name in ranked if scores[name] >= 0.6][:SHOWN]
