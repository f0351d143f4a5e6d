"""The gate as a truth table, and what must hold for every evidence."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError
from platform_assets.science.bootstrap import Interval
from platform_assets.science.gate import GateEvidence, GatePolicy, SegmentEvidence, Undecided, decide

JUDGED_FROM = datetime(2011, 9, 17, tzinfo=UTC)
AFTER = JUDGED_FROM + timedelta(days=1)
BETTER, WORSE, NOISE = Interval(0.05, 0.03, 0.07), Interval(-0.05, -0.07, -0.03), Interval(0.01, -0.02, 0.04)
UNKNOWN = Interval(0.2, float("nan"), float("nan"))
POLICY = GatePolicy()
BY_ESTIMATE = {"undecided": "by_estimate"}
GOOD = GateEvidence(
    model="demand",
    against="3",
    is_against_champion=True,
    improvement=BETTER,
    segments=(SegmentEvidence("volume: low", BETTER, 100),),
    rows=5000,
    series=300,
    judged_from=JUDGED_FROM,
    candidate_cut=JUDGED_FROM,
    against_cut=JUDGED_FROM - timedelta(days=28),
    has_contract_passed=True,
)


def segments(*improvements: Interval, series: int = 100) -> tuple[SegmentEvidence, ...]:
    return tuple(SegmentEvidence(f"s{place}", found, series) for place, found in enumerate(improvements))


@pytest.mark.parametrize(
    ("change", "policy", "answer", "promotes", "reason"),
    [
        ({}, {}, "better", True, "beyond noise above"),
        ({"improvement": WORSE}, {}, "not_better", False, "is worse, an improvement of -.* beyond noise below"),
        ({"rolled_back_at": JUDGED_FROM}, {"undecided": "promote"}, "not_better", False, "rolled back at 2011-09-17"),
        ({"improvement": WORSE}, {"undecided": "promote"}, "not_better", False, "beyond noise below"),
        ({"improvement": NOISE}, {}, "undecided", False, "noise alone"),
        ({"improvement": NOISE}, {"undecided": "promote"}, "undecided", True, "policy promotes"),
        ({"improvement": BETTER}, {"min_improvement": 0.05}, "undecided", False, "holds \\+5.0%"),
        ({"improvement": BETTER}, {"min_improvement": 0.10}, "not_better", False, "below \\+10.0%"),
        ({"improvement": Interval(-0.01, -0.02, 0.0)}, {"min_improvement": -0.03}, "better", True, "above -3.0%"),
        ({"improvement": Interval(0.02, 0.0, 0.04)}, {}, "undecided", False, "noise"),
        ({"improvement": Interval(0.0, 0.0, 0.0)}, {}, "undecided", False, "loss is that of champion 3 .* identical"),
        ({"improvement": UNKNOWN}, {}, "undecided", False, "no interval"),
        ({"rows": 49}, {}, "undecided", False, "49 rows, the policy asks for 50"),
        ({"lacks": "it never came"}, {}, "undecided", False, "it never came"),
        ({"rows": 49}, {"undecided": "promote"}, "undecided", True, "49 rows"),
        ({"series": 4}, {}, "undecided", False, "4 series"),
        ({"segments": segments(BETTER, WORSE)}, {}, "not_better", False, "segment s1 .* worse than allowed"),
        ({"segments": segments(WORSE)}, {"max_segment_loss": 0.04}, "better", True, "beyond noise"),
        ({"segments": segments(WORSE)}, {"undecided": "promote"}, "not_better", False, "segment s0"),
        ({"segments": segments(Interval(-0.05, -0.1, 0.01))}, {}, "better", True, "beyond noise"),
        ({"segments": segments(WORSE, series=19)}, {}, "better", True, "beyond noise"),
        ({"segments": segments(UNKNOWN)}, {}, "better", True, "beyond noise"),
        ({"has_contract_passed": False, "contract_failure": "no q990"}, {}, "not_better", False, "failed: no q990"),
        ({"has_contract_passed": None}, {}, "not_better", False, "was not run"),
        ({"has_contract_passed": None}, {"requires_contract": False}, "better", True, "beyond noise"),
        ({"candidate_cut": JUDGED_FROM + timedelta(microseconds=1)}, {}, "not_better", False, "overlaps.*candidate"),
        ({"against_cut": JUDGED_FROM + timedelta(days=1)}, {}, "not_better", False, "overlaps training: the champion"),
        ({"candidate_cut": None}, {}, "not_better", False, "does not say"),
        ({"against_cut": None}, {}, "not_better", False, "the champion does not say"),
        ({"against_cut": None, "is_against_champion": False, "against": "arima"}, {}, "better", True, "baseline arima"),
        ({"alarm_known_at": JUDGED_FROM}, {}, "better", True, "beyond noise"),
        ({"alarm_known_at": AFTER}, {}, "undecided", False, "knows labels up to 2011-09-17"),
        ({"alarm_known_at": AFTER}, {"undecided": "promote"}, "undecided", False, "nothing of the new world"),
        ({"alarm_known_at": AFTER, "segments": segments(WORSE)}, {}, "not_better", False, "segment s0"),
        ({"candidate_cut": None}, {"undecided": "promote"}, "not_better", False, "does not say"),
        ({"improvement": NOISE}, BY_ESTIMATE, "undecided", True, "by the estimate when undecided: it is above \\+0.0%"),
        ({"improvement": Interval(-0.01, -0.04, 0.02)}, BY_ESTIMATE, "undecided", False, "not above \\+0.0%"),
        ({"improvement": NOISE}, {**BY_ESTIMATE, "min_improvement": 0.01}, "undecided", False, "not above \\+1.0%"),
        ({"improvement": Interval(0.0, 0.0, 0.0)}, BY_ESTIMATE, "undecided", False, "identical"),
        (
            {"improvement": NOISE, "is_against_champion": False},
            BY_ESTIMATE,
            "undecided",
            False,
            "judged against a baseline",
        ),
        ({"rows": 49}, BY_ESTIMATE, "undecided", False, "none to go by"),
        ({"improvement": UNKNOWN}, BY_ESTIMATE, "undecided", False, "none to go by"),
        ({"alarm_known_at": AFTER}, BY_ESTIMATE, "undecided", False, "nothing of the new world"),
        ({"improvement": WORSE}, BY_ESTIMATE, "not_better", False, "beyond noise below"),
        ({}, BY_ESTIMATE, "better", True, "beyond noise above"),
    ],
)
def test_truth_table(change: dict, policy: dict, answer: str, promotes: bool, reason: str) -> None:
    evidence = replace(GOOD, **change)
    found = decide(evidence, GatePolicy.from_mapping({"undecided": "keep", **policy}))
    assert (found.answer, found.promotes, found.against) == (answer, promotes, evidence.against)
    assert re.search(reason, " | ".join(found.reasons)), found.reasons


def test_unless_said_otherwise_the_undecided_goes_by_its_estimate() -> None:
    assert GatePolicy.from_mapping({}) == GatePolicy(undecided="by_estimate")


def test_every_veto_is_told() -> None:
    found = decide(
        replace(GOOD, has_contract_passed=False, candidate_cut=None, segments=segments(WORSE, WORSE)), POLICY
    )
    assert len(found.reasons) == 4


intervals = st.tuples(st.floats(-0.5, 0.5), st.floats(0, 0.3), st.floats(0, 0.3)).map(
    lambda drawn: Interval(drawn[0], drawn[0] - drawn[1], drawn[0] + drawn[2])
)
evidences = st.builds(
    lambda improvement, parts, rows, series, contract, late: replace(
        GOOD,
        improvement=improvement,
        segments=segments(*parts),
        rows=rows,
        series=series,
        has_contract_passed=contract,
        candidate_cut=JUDGED_FROM + timedelta(days=late),
    ),
    intervals,
    st.lists(intervals, max_size=3),
    st.integers(0, 2000),
    st.integers(0, 200),
    st.sampled_from([True, True, False, None]),
    st.integers(-3, 1),
)
policies = st.builds(
    GatePolicy,
    min_improvement=st.floats(-0.1, 0.1),
    max_segment_loss=st.floats(0, 0.1),
    undecided=st.sampled_from(["keep", "by_estimate", "promote"]),
    requires_contract=st.booleans(),
)


@given(evidences, policies)
def test_what_must_hold_always(evidence: GateEvidence, policy: GatePolicy) -> None:
    found = decide(evidence, policy)
    assert found == decide(evidence, policy)
    assert found.reasons
    is_likelier = evidence.improvement.estimate > policy.min_improvement and evidence.rows >= policy.min_rows
    is_likelier &= evidence.series >= policy.min_series
    goes = {"keep": False, "promote": True, "by_estimate": is_likelier}[policy.undecided]
    assert found.promotes == (found.answer == "better" or (found.answer == "undecided" and goes))
    assert evidence.candidate_cut is not None
    if evidence.candidate_cut > JUDGED_FROM or (policy.requires_contract and not evidence.has_contract_passed):
        assert found.answer == "not_better"
    if found.answer == "better":
        assert evidence.improvement.low > policy.min_improvement
        assert evidence.rows >= policy.min_rows


@given(evidences, policies, st.floats(0, 0.3))
def test_a_better_candidate_is_never_judged_worse(evidence: GateEvidence, policy: GatePolicy, gain: float) -> None:
    order = ["not_better", "undecided", "better"]
    before = evidence.improvement
    shifted = replace(
        evidence,
        improvement=Interval(before.estimate + gain, before.low + gain, before.high + gain),
        segments=tuple(
            replace(
                s,
                improvement=Interval(
                    *(v + gain for v in (s.improvement.estimate, s.improvement.low, s.improvement.high))
                ),
            )
            for s in evidence.segments
        ),
    )
    assert order.index(decide(shifted, policy).answer) >= order.index(decide(evidence, policy).answer)


@given(
    evidences,
    policies,
    st.floats(0, 0.2),
    st.floats(0, 0.1),
    st.integers(0, 500),
    st.sampled_from(["keep", "by_estimate"]),
)
def test_a_stricter_policy_never_promotes_more(
    evidence: GateEvidence, policy: GatePolicy, margin: float, segment: float, rows: int, undecided: Undecided
) -> None:
    stricter = replace(
        policy,
        min_improvement=min(policy.min_improvement + margin, 1.0),
        max_segment_loss=max(policy.max_segment_loss - segment, 0.0),
        undecided="keep" if policy.undecided == "keep" else undecided,
        requires_contract=True,
        min_rows=policy.min_rows + rows,
    )
    if decide(evidence, stricter).promotes:
        assert decide(evidence, policy).promotes


def test_a_wrong_policy_names_its_key() -> None:
    with pytest.raises(ConfigurationError, match="unknown keys \\['min_improvment'\\]"):
        GatePolicy.from_mapping({"min_improvment": 0.1})
    for name, wrong in [
        ("undecided", "maybe"),
        ("min_improvement", "5%"),
        ("min_improvement", 5),
        ("max_segment_loss", -0.1),
        ("max_segment_loss", float("nan")),
        ("min_rows", 0),
        ("min_series", 1.5),
        ("min_rows", True),
        ("requires_contract", "yes"),
    ]:
        with pytest.raises(ConfigurationError, match=f"`{name}` is"):
            GatePolicy.from_mapping({name: wrong})
    assert GatePolicy.from_mapping({"undecided": "promote"}).to_dict()["undecided"] == "promote"


def test_evidence_and_decision_are_json() -> None:
    import json

    found = json.loads(
        json.dumps([replace(GOOD, improvement=UNKNOWN).to_dict(), decide(GOOD, POLICY).to_dict()], allow_nan=False)
    )
    assert found[0]["improvement"] == {"estimate": 0.2, "low": None, "high": None}
    assert found[0]["judged_from"] == "2011-09-17T00:00:00+00:00"
    assert found[1]["answer"] == "better"
