"""What an evaluation found: plain data, for the report, the gate, the ledger and JSON."""

import math
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

from platform_assets.errors import ConfigurationError
from platform_assets.science.bootstrap import Interval
from platform_assets.science.gate import GateEvidence, SegmentEvidence
from platform_assets.science.metrics import ReliabilityBin
from platform_assets.science.stock_cost import UnitCosts

Figures = dict[str, Interval]
TO_COME: Final = "not known yet"  # why forecasts were not judged: their periods lie after the last known one,
WITHOUT_LABEL: Final = "closed or unknown"  # or have come, and nobody knows what was asked for


@dataclass(frozen=True)
class Comparison:
    """The candidate against one opponent on the rows that both predicted; a positive improvement is better."""

    opponent: str
    rows: int
    series: int
    improvements: Figures  # loss -> 1 - ours / theirs
    difference: Interval  # of the primary loss per row, ours - theirs
    calibration: Interval | None = None  # mean over the levels of their distance from calibration less ours


@dataclass(frozen=True)
class Slice:
    """One part of the judged rows: a segment, an origin or a week of the horizon."""

    kind: str
    name: str
    rows: int
    series: int
    loss: Figures  # model -> primary loss per row
    improvements: Figures  # opponent -> 1 - ours / theirs of the primary loss
    figures: Figures  # of the candidate, each figure
    compared: dict[str, Figures]  # opponent -> loss -> 1 - ours / theirs


@dataclass(frozen=True)
class LevelFigures:
    """Calibration of one quantile level of one model, with the intervals of both sides."""

    level: float
    share_below: Interval
    share_not_above: Interval
    distance: float


@dataclass(frozen=True)
class Example:
    """One series at the last origin: what came before, what the candidate said, what came."""

    series_id: str
    kind: str  # worst, typical or best against the opponent
    improvement: float  # of the series' primary loss at that origin, 1 - ours / theirs
    past_on: tuple[date, ...]
    past: tuple[float, ...]
    target_on: tuple[date, ...]
    actual: tuple[float | None, ...]  # None where there is no label
    quantiles: tuple[tuple[float, ...], ...]  # for each target period, in the order of the levels


@dataclass(frozen=True)
class Sample:
    """Series that the baselines were fitted on which do not cover every judged row."""

    baselines: tuple[str, ...]
    series: int
    of: int  # judged series
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """All that a report, a gate and a ledger need to know; `to_dict` is plain JSON."""

    task: str
    label: str
    candidate: str
    champion: str | None
    baselines: tuple[str, ...]
    best_baseline: str | None  # of those that predicted every judged row
    sample: Sample | None  # of the baselines that did not
    primary: str
    rows: int
    series: int
    excluded: dict[str, int]  # forecasts that were not judged, by why
    judged_from: datetime
    first_target_on: date
    last_target_on: date
    origins: int
    levels: tuple[float, ...]
    has_prices: bool
    costs: UnitCosts
    confidence: float
    draws: int
    seed: int
    figures: dict[str, Figures]  # model -> figure
    comparisons: dict[str, Comparison]  # by opponent
    calibration: dict[str, list[LevelFigures]]  # quantiles: by model
    reliability: dict[str, list[ReliabilityBin]]  # probabilities: by model
    roc: dict[str, list[tuple[float, float]]]  # probabilities: by model, false and true positive rates
    slices: list[Slice]
    examples: list[Example]

    @property
    def opponent(self) -> str | None:
        """Who must be beaten: the champion, or the best baseline where there is none."""
        return self.champion or self.best_baseline

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON has it: dates as ISO text, NaN as null."""
        return _plain(asdict(self))

    def gate_evidence(
        self,
        model: str,
        *,
        candidate_cut: datetime | None,
        champion_cut: datetime | None = None,
        champion_version: str | None = None,
        has_contract_passed: bool | None = None,
        contract_failure: str = "",
    ) -> GateEvidence:
        """What the gate reads, against the champion or the best baseline.

        The cuts say up to when labels were seen by the fits whose predictions were judged.
        Raises: ConfigurationError if there is nobody to be compared with.
        """
        opponent = self.opponent
        if opponent is None:
            raise ConfigurationError(
                f"{model}: the evaluation has neither a champion nor a baseline", hint="name a baseline in defs.yaml"
            )
        comparison = self.comparisons[opponent]
        return GateEvidence(
            model=model,
            against=(champion_version or opponent) if self.champion else opponent,
            is_against_champion=self.champion is not None,
            improvement=comparison.improvements[self.primary],
            segments=tuple(
                SegmentEvidence(f"{part.kind}: {part.name}", part.improvements[opponent], part.series)
                for part in self.slices
                if part.kind not in ("origin", "horizon") and opponent in part.improvements
            ),
            rows=comparison.rows,
            series=comparison.series,
            judged_from=self.judged_from,
            candidate_cut=candidate_cut,
            against_cut=champion_cut,
            has_contract_passed=has_contract_passed,
            contract_failure=contract_failure,
            lacks=self._lacks(),
        )

    def _lacks(self) -> str:
        observed = self.figures[self.candidate].get("rate_observed")
        if observed is None or 0 < observed.estimate < 1:
            return ""
        came = "never" if observed.estimate == 0 else "always"
        return f"nothing to tell apart: in the judged rows it {came} came"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
