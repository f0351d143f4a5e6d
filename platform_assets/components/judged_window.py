"""Who answers now, and the rows on which a candidate may be judged against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from platform_assets.components.model_spec import ModelSpec

if TYPE_CHECKING:
    from platform_assets.science.manifest import Manifest
    from resources.ledger import Promotion


@dataclass(frozen=True)
class Window:
    """What is judged: forecasts issued from `opens_at` on, and which fit of the champion may be judged there."""

    opens_at: datetime
    champion_fit: Literal["shipped", "evaluation"] | None


def evaluation_window(issued: list[datetime], champion: Manifest | None) -> Window:
    """The window of a candidate: what came after the champion's last label, or, where nothing did, all origins.

    Then the champion is judged by its evaluation fit, provided that it had not seen the window either; a champion whose
    both fits have seen all of the window opens it at the last origin that its evaluation fit has not seen.
    """
    instants = sorted(set(issued))
    if champion is None:
        return Window(instants[0], None)
    unseen = [at for at in instants if at >= champion.shipped.cut_at]
    if unseen:
        return Window(unseen[0], "shipped")
    unseen = [at for at in instants if at >= champion.evaluation.cut_at]
    return Window(unseen[0] if unseen else instants[-1], "evaluation")


def champion_manifest(spec: ModelSpec, res: Any) -> tuple[Promotion | None, Manifest | None]:
    """Who answers now, and its manifest; Nones before the first promotion."""
    champion = res.ledger.champion(spec.name)
    if champion is None:
        return None, None
    return champion, res.registry.manifest(spec.name, champion.version)
