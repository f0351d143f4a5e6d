"""From which of the champion's fits a training may go on, and never one that has seen what it is to be judged by."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from platform_assets.science.demand.masks import Mask, not_in
from platform_assets.science.manifest import KINDS, Began, Kind, Manifest

FURTHER: Final = "further_rounds"  # a trainer that can go on names it in its DEFAULTS: how many rounds further


def began(
    champion: Manifest,
    version: str,
    cuts: Mapping[Kind, datetime],
    recipe: Mapping[str, Any],
    masks: Sequence[Mask] = (),
) -> tuple[dict[Kind, Began], str]:
    """From which fit of the champion each of the two fits goes on; else nothing, and why both begin from nothing.

    A fit goes on from the newest of the champion's two fits whose own cut is not after its cut. A fit's cut bounds every
    label that it has seen, also through the fits that it went on from, each of which was held to the same rule; so what
    is judged on forecasts issued from its cut on has seen none of their labels. The shipped fit of the champion has
    usually seen the evaluation window, or has not; the rule asks for its cut alone. Where there is no such fit for one of
    the two, both begin from nothing: what is judged is what is shipped.

    `cuts`: of the new fits. `recipe`: fields of a manifest that must be as the champion's has them. A champion that has learned from
    forecasts that are masked now is not gone on from.
    """
    if changed := [name for name in recipe if _plain(attrgetter(name)(champion)) != _plain(recipe[name])]:
        return {}, f"the recipe has changed since version {version}: {', '.join(changed)}"
    known = [Mask.from_dict(raw) for raw in champion.masks]
    if any(mask.since < champion.shipped.cut_at for mask in not_in(masks, known)):
        return {}, f"version {version} has learned from forecasts that are masked now"
    found: dict[Kind, Began] = {}
    for kind, cut in cuts.items():
        unseen: list[Kind] = [one for one in KINDS if champion.fit(one).cut_at <= cut]
        if not unseen:
            return {}, f"both fits of version {version} have seen labels that came after {cut:%Y-%m-%d %H:%M} UTC"
        newest = max(unseen, key=lambda one: champion.fit(one).cut_at)
        found[kind] = Began(version, newest, champion.fit(newest).weights_sha256)
    return found, ""


def _plain(value: Any) -> Any:
    """Without what says only how far to go on."""
    return {name: one for name, one in value.items() if name != FURTHER} if isinstance(value, Mapping) else value
