"""The decision to retrain as a truth table, and what holds for every table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError
from platform_assets.science.retraining import (
    TRIGGERS,
    PastRetraining,
    RetrainingEvidence,
    RetrainingPolicy,
    Signal,
    decide,
)

NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)
DRIFT = Signal("drift", "3", "2025-06-20", 2.0, 0.0)
ERROR = Signal("error", "3", "2025-06-25", 5.1, 4.0)
QUIET = (Signal("drift", "3", None, 0.0, 0.0), Signal("error", "3", None, 0.4, 4.0))
EVERYTHING = RetrainingPolicy(new_rows=1000)
YOUNG = NOW - timedelta(days=3)
OLD = NOW - timedelta(days=30)


def evidence(**changed: Any) -> RetrainingEvidence:
    return RetrainingEvidence(**{"now": NOW, "champion_version": "3", "trained_until": YOUNG, **changed})


def past(trigger: str, episode: str, days_ago: float) -> PastRetraining:
    return PastRetraining(trigger, episode, NOW - timedelta(days=days_ago))


# what is seen | under which policy | after what | fires
TABLE = [
    ("nothing is wrong", evidence(signals=QUIET), EVERYTHING, [], None),
    ("nothing was judged yet", evidence(), EVERYTHING, [], None),
    ("drift", evidence(signals=(DRIFT,)), EVERYTHING, [], ("drift", "3/2025-06-20")),
    ("error", evidence(signals=(ERROR,)), EVERYTHING, [], ("error", "3/2025-06-25")),
    ("both: the error says more", evidence(signals=(DRIFT, ERROR)), EVERYTHING, [], ("error", "3/2025-06-25")),
    ("drift is switched off", evidence(signals=(DRIFT,)), RetrainingPolicy(drift=False), [], None),
    ("error is switched off", evidence(signals=(ERROR,)), RetrainingPolicy(error=False), [], None),
    ("drift of a former champion", evidence(signals=(DRIFT,), champion_version="4"), EVERYTHING, [], None),
    ("no champion: nothing to judge", evidence(signals=(DRIFT,), champion_version=None), EVERYTHING, [], None),
    ("one row short", evidence(rows_since_training=999), EVERYTHING, [], None),
    ("enough rows", evidence(rows_since_training=1000), EVERYTHING, [], ("new_data", "3/2025-06-27T12:00/1")),
    ("rows do not count by default", evidence(rows_since_training=10**9), RetrainingPolicy(), [], None),
    (
        "twice the rows, the first share having been refused",
        evidence(rows_since_training=2000),
        EVERYTHING,
        [past("new_data", "3/2025-06-27T12:00/1", 8)],
        ("new_data", "3/2025-06-27T12:00/2"),
    ),
    ("28 days less a second", evidence(trained_until=NOW - timedelta(days=28, seconds=-1)), EVERYTHING, [], None),
    (
        "28 days",
        evidence(trained_until=NOW - timedelta(days=28)),
        EVERYTHING,
        [],
        ("staleness", "3/2025-06-02T12:00/1"),
    ),
    (
        "old, and nothing new has come: the source has ended",
        evidence(trained_until=OLD, rows_since_training=0),
        EVERYTHING,
        [],
        None,
    ),
    (
        "old, but the new sales are overdue: it waits for them",
        evidence(trained_until=OLD, overdue_inputs=("sales",)),
        EVERYTHING,
        [],
        None,
    ),
    (
        "drift does not wait for them",
        evidence(trained_until=OLD, overdue_inputs=("sales",), signals=(DRIFT,)),
        EVERYTHING,
        [],
        ("drift", "3/2025-06-20"),
    ),
    ("age is no matter", evidence(trained_until=OLD), RetrainingPolicy(max_age_days=None), [], None),
    ("a request", evidence(requests=("ada-1",)), EVERYTHING, [], ("manual", "ada-1")),
    (
        "a request before there is a champion",
        evidence(requests=("a",), champion_version=None),
        EVERYTHING,
        [],
        ("manual", "a"),
    ),
    ("a failed data check", evidence(signals=(DRIFT,), failed_data_checks=("sales:contract",)), EVERYTHING, [], None),
    (
        "it also vetoes a request",
        evidence(requests=("a",), failed_data_checks=("sales:contract",)),
        EVERYTHING,
        [],
        None,
    ),
    ("a retraining is under way", evidence(signals=(DRIFT,), is_running=True), EVERYTHING, [], None),
    ("the episode has fired", evidence(signals=(DRIFT,)), EVERYTHING, [past("drift", "3/2025-06-20", 9)], None),
    (
        "another episode has fired, long ago",
        evidence(signals=(DRIFT,)),
        EVERYTHING,
        [past("drift", "3/2025-05-01", 7)],
        ("drift", "3/2025-06-20"),
    ),
    ("within the cooldown", evidence(signals=(DRIFT,)), EVERYTHING, [past("drift", "3/2025-05-01", 6.9)], None),
    (
        "never is a number of days too",
        evidence(signals=(DRIFT,), trained_until=OLD),
        RetrainingPolicy(max_age_days=10**15, cooldown_days=1e300),
        [past("drift", "3/2025-05-01", 900)],
        None,
    ),
    (
        "a request does not wait for the cooldown",
        evidence(signals=(DRIFT,), requests=("a",)),
        EVERYTHING,
        [past("drift", "3/2025-05-01", 1)],
        ("manual", "a"),
    ),
    (
        "the next cause, where the first has fired",
        evidence(signals=(DRIFT, ERROR)),
        EVERYTHING,
        [past("error", "3/2025-06-25", 8)],
        ("drift", "3/2025-06-20"),
    ),
]


@pytest.mark.parametrize(
    ("seen", "policy", "history", "fires"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_table(
    seen: RetrainingEvidence, policy: RetrainingPolicy, history: list[PastRetraining], fires: tuple[str, str] | None
) -> None:
    decision = decide(seen, policy, history)
    assert decision.retrain == (fires is not None)
    assert (decision.trigger, decision.episode) == (fires or (None, None))
    assert decision.reason


def test_what_keeps_a_cause_from_firing_is_said() -> None:
    held = decide(
        evidence(signals=(DRIFT,), failed_data_checks=("sales:contract",), is_running=True),
        EVERYTHING,
        [past("staleness", "2/x/1", 2)],
    )
    assert held.causes == ("drift 3/2025-06-20",)
    assert held.reasons_against == (
        "cooldown: 2.0 of 7 days since the last retraining",
        "blocking data check sales:contract has failed",
        "a retraining is under way",
    )


def test_a_quiet_decision_gives_the_numbers_compared() -> None:
    decision = decide(evidence(signals=QUIET, rows_since_training=17), EVERYTHING)
    for said in (
        "no alarm: error 0.4, at most 4 allowed",
        "17 new rows of 1000",
        "the last training read was known 3.0 days ago, at most 28 allowed",
    ):
        assert said in decision.reason


def test_the_state_changes_with_the_situation_and_not_with_its_numbers() -> None:
    calm = decide(evidence(signals=QUIET), EVERYTHING).state
    later = evidence(signals=QUIET, now=NOW + timedelta(hours=1), rows_since_training=12)
    assert decide(later, EVERYTHING).state == calm
    for changed in (
        {"signals": (DRIFT,)},
        {"champion_version": "4"},
        {"failed_data_checks": ("a:b",)},
        {"signals": ()},
    ):
        assert decide(evidence(**{"signals": QUIET, **changed}), EVERYTHING).state != calm


# --- what holds for every table --------------------------------------------------------------------------------------

VERSIONS = st.sampled_from(["3", "4"])
ONSETS = st.sampled_from([None, "2025-06-01", "2025-06-20"])
SIGNALS = st.lists(
    st.builds(Signal, st.sampled_from(["drift", "error"]), VERSIONS, ONSETS, st.floats(0, 9), st.floats(0, 9)),
    max_size=4,
)
AGES = st.floats(0, 200).map(lambda days: NOW - timedelta(days=days))
EVIDENCE = st.builds(
    RetrainingEvidence,
    now=st.just(NOW),
    champion_version=st.one_of(st.none(), VERSIONS),
    trained_until=st.one_of(st.none(), AGES),
    rows_since_training=st.one_of(st.none(), st.integers(0, 5000)),
    signals=SIGNALS.map(tuple),
    failed_data_checks=st.lists(st.sampled_from(["sales:contract", "lines:schema"]), max_size=2).map(tuple),
    requests=st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
    is_running=st.booleans(),
)
POLICIES = st.builds(
    RetrainingPolicy,
    drift=st.booleans(),
    error=st.booleans(),
    new_rows=st.one_of(st.none(), st.integers(1, 3000)),
    max_age_days=st.one_of(st.none(), st.integers(1, 90)),
    cooldown_days=st.floats(0, 60),
)
EPISODES = st.sampled_from(["3/2025-06-01", "3/2025-06-20", "4/2025-06-20", "a", "b"])
HISTORY = st.lists(st.builds(PastRetraining, st.sampled_from(TRIGGERS), EPISODES, AGES), max_size=4)


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY, st.randoms())
def test_order_means_nothing(seen: RetrainingEvidence, policy: RetrainingPolicy, history: list, random: Any) -> None:
    def shuffled(items: Any) -> list:
        return random.sample(list(items), len(items))

    other = RetrainingEvidence(
        **{
            **{
                name: getattr(seen, name)
                for name in ("now", "champion_version", "trained_until", "rows_since_training")
            },
            **{name: tuple(shuffled(getattr(seen, name))) for name in ("signals", "failed_data_checks", "requests")},
            "is_running": seen.is_running,
        }
    )
    assert decide(seen, policy, history) == decide(other, policy, shuffled(history))


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY, st.floats(0, 100))
def test_more_cooldown_never_fires_more(
    seen: RetrainingEvidence, policy: RetrainingPolicy, history: list, more: float
) -> None:
    longer = RetrainingPolicy(
        policy.drift, policy.error, policy.new_rows, policy.max_age_days, policy.cooldown_days + more
    )
    if decide(seen, longer, history).retrain:
        assert decide(seen, policy, history).retrain


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY)
def test_a_veto_always_wins_and_a_cause_fires_once(
    seen: RetrainingEvidence, policy: RetrainingPolicy, history: list
) -> None:
    decision = decide(seen, policy, history)
    if seen.failed_data_checks or seen.is_running:
        assert not decision.retrain
    if decision.retrain:
        assert (decision.trigger, decision.episode) not in {(p.trigger, p.episode) for p in history}
        assert decision.trigger is not None
        assert decision.episode is not None
        fired = [*history, PastRetraining(decision.trigger, decision.episode, NOW)]
        again = decide(seen, policy, fired)
        assert (again.trigger, again.episode) != (decision.trigger, decision.episode)
        assert again.trigger in (None, "manual") or policy.cooldown_days == 0


@settings(max_examples=200, deadline=None)
@given(EVIDENCE, HISTORY)
def test_a_policy_with_nothing_switched_on_never_fires_by_itself(seen: RetrainingEvidence, history: list) -> None:
    silent = RetrainingPolicy(drift=False, error=False, max_age_days=None, cooldown_days=0)
    assert decide(seen, silent, history).trigger in (None, "manual")


# --- the policy's mapping --------------------------------------------------------------------------------------------


def test_a_policy_is_what_its_mapping_says_and_else_the_default() -> None:
    assert RetrainingPolicy.from_mapping({}) == RetrainingPolicy()
    assert RetrainingPolicy.from_mapping({"max_age_days": None, "drift": False}) == RetrainingPolicy(
        drift=False, max_age_days=None
    )


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"cool_down_days": 3}, "did you mean `cooldown_days`"),
        ({"psi": 0.2}, "known: drift, error, new_rows, max_age_days, cooldown_days"),
        ({"drift": "yes"}, "`drift` is 'yes', expected true or false"),
        ({"new_rows": 0}, "`new_rows` is 0, expected a whole number of at least 1"),
        ({"new_rows": 1.5}, "`new_rows` is 1.5"),
        ({"max_age_days": True}, "`max_age_days` is True"),
        ({"cooldown_days": -1}, "`cooldown_days` is -1, expected a number of days of at least 0"),
        ({"cooldown_days": float("nan")}, "`cooldown_days` is nan"),
        ({"cooldown_days": None}, "`cooldown_days` is None"),
    ],
)
def test_a_wrong_mapping_is_named(mapping: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RetrainingPolicy.from_mapping(mapping)
    assert told in str(caught.value)


def test_a_decision_contradicts_itself_nowhere() -> None:
    """An alarm that had been answered was told as "no alarm: drift 47 against a threshold of 0 since ..."."""
    seen = evidence(signals=(Signal("drift", "3", "2025-06-20", statistic=47.0, threshold=0.0),))
    fired = [PastRetraining("drift", "3/2025-06-20", NOW - timedelta(days=30))]
    decision = decide(seen, EVERYTHING, fired)
    assert not decision.retrain
    assert decision.reason.startswith("alarm: drift in 47 features, at most 0 allowed, since 2025-06-20, champion 3")
    (answered, *_) = decision.reasons_against
    at = (NOW - timedelta(days=30)).isoformat(timespec="seconds")
    assert answered == f"drift since 2025-06-20 under champion 3 has been answered by a retraining at {at}"
