"""May this candidate become champion? A pure decision from evidence and a policy.

`better`: the paired interval of the improvement lies above what the policy asks, and nothing forbids. `not_better`:
it lies below, or something forbids.
`undecided`: the interval holds both, or there is too little evidence; then the policy says whether to keep the
champion, to promote, or to go by the estimate. Where what is judged was fitted before the alarm that it answers, the champion stays.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, get_args

from platform_assets.errors import ConfigurationError
from platform_assets.science.bootstrap import Interval

Answer = Literal["better", "not_better", "undecided"]
Undecided = Literal["keep", "by_estimate", "promote"]


@dataclass(frozen=True)
class GatePolicy:
    """What a candidate must show.

    `min_improvement`: what the interval of the relative improvement must exceed. `max_segment_loss`: a segment may
    not be worse than this, relatively, beyond noise.
    `min_rows`, `min_series`: less evidence is no evidence. `min_segment_series`: smaller segments do not veto.
    `undecided`: `keep` or `promote`; `by_estimate` promotes over a champion where the estimate is above `min_improvement`,
    and keeps where it is judged against a baseline or on too little evidence.
    `requires_contract`: whether the contract test must have passed.
    """

    min_improvement: float = 0.0
    max_segment_loss: float = 0.02
    min_rows: int = 50
    min_series: int = 5
    min_segment_series: int = 20
    undecided: Undecided = "by_estimate"
    requires_contract: bool = True

    def __post_init__(self) -> None:
        if self.undecided not in get_args(Undecided):
            _refuse_value("undecided", self.undecided, f"one of {list(get_args(Undecided))}")
        if not isinstance(self.requires_contract, bool):
            _refuse_value("requires_contract", self.requires_contract, "true or false")
        for name, low, high in (("min_improvement", -1.0, 1.0), ("max_segment_loss", 0.0, math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                _refuse_value(name, value, f"a number from {low} to {high}")
        for name in ("min_rows", "min_series", "min_segment_series"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                _refuse_value(name, value, "a whole number from 1")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None) -> "GatePolicy":
        """Policy from a defs.yaml; raises ConfigurationError naming unknown keys and wrong values."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(mapping or {}) - set(known))
        if unknown:
            raise ConfigurationError(f"gate policy: unknown keys {unknown}", hint=f"known keys: {known}")
        return cls(**dict(mapping or {}))

    def to_dict(self) -> dict[str, Any]:
        """Fields, for JSON."""
        return asdict(self)


def _refuse_value(name: str, value: object, expected: str) -> None:
    raise ConfigurationError(
        f"gate policy: `{name}` is {value!r}, expected {expected}", hint="see `gate` in the model's defs.yaml"
    )


@dataclass(frozen=True)
class SegmentEvidence:
    """Improvement of the candidate in one segment, paired, relative: .05 where its loss is 5% less."""

    name: str
    improvement: Interval
    series: int


@dataclass(frozen=True)
class GateEvidence:
    """What is known about a candidate against a champion, or against the best baseline where there is none.

    `judged_from`: when the first judged forecast was issued. `candidate_cut`, `against_cut`: labels known later than
    this were not seen by the fit that was judged; None for a baseline, which is computed from what was known at each
    origin.
    """

    model: str
    against: str
    is_against_champion: bool
    improvement: Interval
    segments: tuple[SegmentEvidence, ...]
    rows: int
    series: int
    judged_from: datetime
    candidate_cut: datetime | None
    against_cut: datetime | None = None
    has_contract_passed: bool | None = None
    contract_failure: str = ""
    rolled_back_at: datetime | None = None  # when somebody took this very version back
    alarm_known_at: datetime | None = None  # end of the first day of the alarm that asked for the candidate
    lacks: str = ""  # what makes the figures mean nothing, such as labels that are all the same

    def to_dict(self) -> dict[str, Any]:
        """Fields, for JSON; instants as ISO text, NaN as null."""
        return {
            **{field.name: _plain(getattr(self, field.name)) for field in fields(self)},
            "improvement": self.improvement.to_dict(),
            "segments": [
                {"name": s.name, "series": s.series, "improvement": s.improvement.to_dict()} for s in self.segments
            ],
        }


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


@dataclass(frozen=True)
class GateDecision:
    """The answer, whether it promotes, against whom, and every reason, the decisive ones first."""

    answer: Answer
    promotes: bool
    against: str
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Fields, for JSON."""
        return {**asdict(self), "reasons": list(self.reasons)}


EVIDENCE_OVERLAP: Final = "evidence overlaps training"


def decide(evidence: GateEvidence, policy: GatePolicy) -> GateDecision:
    """The answer of the policy to the evidence; the same inputs give the same answer, and nothing else is read."""
    vetoes = [
        *_taken_back(evidence),
        *_overlaps(evidence),
        *_contract(evidence, policy),
        *_worse_segments(evidence, policy),
    ]
    if vetoes:
        return _decision(evidence, "not_better", promotes=False, reasons=vetoes)
    if early := _before_the_alarm(evidence):
        return _decision(evidence, "undecided", promotes=False, reasons=early)  # no policy promotes by chance
    lacking = _lacking(evidence, policy)
    if lacking:
        return _undecided(evidence, policy, lacking)
    found = _spoken(evidence.improvement)
    asked = f"{policy.min_improvement:+.1%}"
    moved = "improves by" if evidence.improvement.estimate >= 0 else "is worse, an improvement of"
    subject = f"loss against {_opponent(evidence)} {moved} {found}"
    if evidence.improvement.low == evidence.improvement.high == 0.0:
        subject = f"loss is that of {_opponent(evidence)} in every sample: its predictions are as good as identical"
    if evidence.improvement.low > policy.min_improvement:
        return _decision(evidence, "better", promotes=True, reasons=[f"{subject}, beyond noise above {asked}"])
    if evidence.improvement.high < policy.min_improvement:
        return _decision(evidence, "not_better", promotes=False, reasons=[f"{subject}, beyond noise below {asked}"])
    return _undecided(evidence, policy, [f"{subject}: the interval holds {asked}, so noise alone could have made it"])


def _taken_back(evidence: GateEvidence) -> list[str]:
    if evidence.rolled_back_at is None:
        return []
    return [f"this version was rolled back at {evidence.rolled_back_at:%Y-%m-%d %H:%M}: only a newer one may follow"]


def _overlaps(evidence: GateEvidence) -> list[str]:
    found = []
    cuts = [("candidate", evidence.candidate_cut)]
    if evidence.is_against_champion:
        cuts.append(("champion", evidence.against_cut))
    for who, cut in cuts:
        if cut is None:
            found.append(f"{EVIDENCE_OVERLAP}: the {who} does not say up to when it has seen labels")
        elif cut > evidence.judged_from:
            found.append(
                f"{EVIDENCE_OVERLAP}: the {who} has seen labels up to {cut:%Y-%m-%d %H:%M}, the first judged forecast "
                f"was issued {evidence.judged_from:%Y-%m-%d %H:%M}"
            )
    return found


def _contract(evidence: GateEvidence, policy: GatePolicy) -> list[str]:
    if not policy.requires_contract or evidence.has_contract_passed:
        return []
    if evidence.has_contract_passed is None:
        return ["the contract test was not run"]
    return [f"the contract test failed: {evidence.contract_failure or 'no reason given'}"]


def _worse_segments(evidence: GateEvidence, policy: GatePolicy) -> list[str]:
    return [
        f"segment {segment.name} ({segment.series} series) is worse than allowed: {_spoken(segment.improvement)}, "
        f"allowed is {-policy.max_segment_loss:+.1%}"
        for segment in evidence.segments
        if segment.series >= policy.min_segment_series and segment.improvement.high < -policy.max_segment_loss
    ]


def _before_the_alarm(evidence: GateEvidence) -> list[str]:
    cut, alarm = evidence.candidate_cut, evidence.alarm_known_at
    if cut is None or alarm is None or cut >= alarm:
        return []
    return [
        f"trained for an alarm of {alarm:%Y-%m-%d %H:%M}, the fit that is judged knows labels up to {cut:%Y-%m-%d %H:%M} "
        "alone: nothing of the new world, so that its figures there are chance; the champion stays"
    ]


def _lacking(evidence: GateEvidence, policy: GatePolicy) -> list[str]:
    found = [evidence.lacks] if evidence.lacks else []
    if evidence.rows < policy.min_rows:
        found.append(f"too little evidence: {evidence.rows} rows, the policy asks for {policy.min_rows}")
    if evidence.series < policy.min_series:
        found.append(f"too little evidence: {evidence.series} series, the policy asks for {policy.min_series}")
    if not evidence.improvement.is_known:
        found.append("the improvement has no interval")
    return found


def _undecided(evidence: GateEvidence, policy: GatePolicy, reasons: list[str]) -> GateDecision:
    promotes, told = policy.undecided == "promote", f"the policy {_ANSWERS[policy.undecided]} when undecided"
    if policy.undecided == "by_estimate":
        if not evidence.is_against_champion:
            told = "judged against a baseline, the policy asks for more than an estimate"
        elif _lacking(evidence, policy):
            told = "the policy goes by an estimate when undecided, and here is none to go by: what is there stays"
        else:
            promotes = evidence.improvement.estimate > policy.min_improvement
            told += f": it is {'' if promotes else 'not '}above {policy.min_improvement:+.1%}"
    return _decision(evidence, "undecided", promotes=promotes, reasons=[*reasons, told])


_ANSWERS: Final[Mapping[Undecided, str]] = {
    "keep": "keeps what is there",
    "promote": "promotes",
    "by_estimate": "goes by the estimate",
}


def _decision(evidence: GateEvidence, answer: Answer, *, promotes: bool, reasons: list[str]) -> GateDecision:
    return GateDecision(answer=answer, promotes=promotes, against=evidence.against, reasons=tuple(reasons))


def _opponent(evidence: GateEvidence) -> str:
    return f"champion {evidence.against}" if evidence.is_against_champion else f"baseline {evidence.against}"


def _spoken(interval: Interval) -> str:
    return f"{interval.estimate:+.1%} [{interval.low:+.1%}, {interval.high:+.1%}]"
