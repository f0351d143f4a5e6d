"""The decision to retrain as a truth table, and what holds for every table."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.science.retraining import TRIGGERS, PastRetraining, decide
from platform_assets.science.retraining_evidence import Measure, RetrainingEvidence, Signal, Tick, alarm_began
from platform_assets.science.retraining_policy import Budget, QuietHours, RetrainingPolicy
from platform_assets.science.retraining_triggers import (
    Alarms,
    All,
    Code,
    Drift,
    Error,
    NewData,
    Operations,
    Performance,
    Schedule,
    Staleness,
)
from platform_assets.science.train_on import TrainOn

NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)
LAST = "2025-06-29"  # known
DRIFT = Signal("drift", "3", "2025-06-20", 2.0, 0.0, LAST)
ERROR = Signal("error", "3", "2025-06-22", 5.1, 4.0, LAST)
SIX_DAYS = Signal("error", "3", "2025-06-23", 5.1, 4.0, LAST)  # that have passed since its first day
QUIET = (Signal("drift", "3", None, 0.0, 0.0), Signal("error", "3", None, 0.4, 4.0))
ALL_BUT_ROWS = (Drift(), Error(), Staleness(28))
EVERYTHING = RetrainingPolicy((*ALL_BUT_ROWS, NewData(rows=1000)), follow_up_weeks=(), settle_days=7)
MONDAYS = Schedule("0 3 * * 1", "Europe/London")
MONDAY = Tick("0 3 * * 1", "Europe/London", datetime(2025, 6, 30, 2, tzinfo=UTC))
WORSE = Performance("pinball", above=1.1, against="baseline")
SLOW = Operations("latency_p99_ms", above=250, alarms=Alarms(2, 3))


def only(*when: Any, **limits: Any) -> RetrainingPolicy:
    return RetrainingPolicy(when, **{"follow_up_weeks": (), "settle_days": 7, **limits})


def judged_at(day: int, value: float, **changed: Any) -> Measure:
    given = {"of": "performance", "metric": "pinball", "baseline": 10.0, "champion_version": "3", **changed}
    return Measure(at=f"2025-06-{day:02d}", value=value, **given)


def slow_at(*hours: tuple[int, float]) -> tuple[Measure, ...]:
    return tuple(Measure("operations", "latency_p99_ms", f"2025-06-30T{hour:02d}", value) for hour, value in hours)


SLOW_NOW = ("operations", "3/latency_p99_ms/2025-06-30T09")
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
    ("error", evidence(signals=(ERROR,)), EVERYTHING, [], ("error", "3/2025-06-22")),
    ("both: the error says more", evidence(signals=(DRIFT, ERROR)), EVERYTHING, [], ("error", "3/2025-06-22")),
    ("an alarm of six days, seven are asked for", evidence(signals=(SIX_DAYS,)), EVERYTHING, [], None),
    (
        "its week has passed and is not known yet",
        evidence(signals=(replace(DRIFT, as_of="2025-06-26"),)),
        EVERYTHING,
        [],
        None,
    ),
    ("six are asked for", evidence(signals=(SIX_DAYS,)), only(Error(), settle_days=6), [], ("error", "3/2025-06-23")),
    ("an older alarm beside it", evidence(signals=(SIX_DAYS, DRIFT)), EVERYTHING, [], ("drift", "3/2025-06-20")),
    (
        "drift is old enough, the error that must hold too is not",
        evidence(signals=(SIX_DAYS, DRIFT)),
        only(All((Drift(), Error()))),
        [],
        None,
    ),
    ("what is slow need not settle", evidence(measures=slow_at((9, 300), (10, 300))), only(SLOW), [], SLOW_NOW),
    ("drift is switched off", evidence(signals=(DRIFT,)), only(Error(), Staleness(28)), [], None),
    ("error is switched off", evidence(signals=(ERROR,)), only(Drift(), Staleness(28)), [], None),
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
    ("age is no matter", evidence(trained_until=OLD), only(Drift(), Error()), [], None),
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
        only(*ALL_BUT_ROWS[:2], Staleness(10**15), cooldown_days=1e300),
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
        [past("error", "3/2025-06-22", 8)],
        ("drift", "3/2025-06-20"),
    ),
    ("one period short", evidence(periods_since_training=6), only(NewData(periods=7)), [], None),
    (
        "enough periods",
        evidence(periods_since_training=14),
        only(NewData(periods=7)),
        [],
        ("new_data", "3/2025-06-27T12:00/2"),
    ),
    (
        "the schedule came round",
        evidence(ticks=(MONDAY,), trained_at=YOUNG),
        only(MONDAYS),
        [],
        ("schedule", "2025-06-30T02:00:00+00:00"),
    ),
    ("it was trained since", evidence(ticks=(MONDAY,), trained_at=NOW), only(MONDAYS), [], None),
    ("another schedule's tick", evidence(ticks=(MONDAY,), trained_at=YOUNG), only(Schedule("0 4 * * 1")), [], None),
    ("when it was trained is unknown", evidence(ticks=(MONDAY,)), only(MONDAYS), [], None),
    (
        "worse than allowed, over the baseline",
        evidence(measures=(judged_at(20, 9.0), judged_at(27, 11.5))),
        only(WORSE, settle_days=0),
        [],
        ("performance", "3/pinball over the baseline/2025-06-27"),
    ),
    ("as good as allowed", evidence(measures=(judged_at(27, 11.0),)), only(WORSE), [], None),
    (
        "a former champion's figure",
        evidence(measures=(judged_at(27, 15.0, champion_version="2"),)),
        only(WORSE),
        [],
        None,
    ),
    (
        "another segment's figure",
        evidence(measures=(judged_at(27, 15.0, segment="price: high"),)),
        only(WORSE),
        [],
        None,
    ),
    ("a figure without its baseline", evidence(measures=(judged_at(27, 15.0, baseline=None),)), only(WORSE), [], None),
    (
        "coverage in a segment, below its limit",
        evidence(measures=tuple(judged_at(at, 0.8, metric="coverage", segment="price: high") for at in (25, 27))),
        only(Performance("coverage", below=0.85, segment="price: high"), settle_days=2),
        [],
        ("performance", "3/coverage in price: high/2025-06-25"),
    ),
    ("slow once", evidence(measures=slow_at((9, 200), (10, 300))), only(SLOW), [], None),
    (
        "slow twice of three times",
        evidence(measures=slow_at((9, 300), (10, 200), (11, 300))),
        only(SLOW),
        [],
        ("operations", "3/latency_p99_ms/2025-06-30T09"),
    ),
    ("the same code", evidence(code="a", trained_code="a"), only(Code()), [], None),
    ("another code", evidence(code="b", trained_code="a"), only(Code()), [], ("code", "b")),
    ("what it was trained with is unknown", evidence(code="b"), only(Code()), [], None),
    ("one of two that must hold", evidence(signals=(DRIFT,)), only(All((Drift(), NewData(rows=9)))), [], None),
    (
        "both hold",
        evidence(signals=(DRIFT,), rows_since_training=9),
        only(All((NewData(rows=9), Drift()))),
        [],
        ("drift+new_data", "3/2025-06-27T12:00/1&3/2025-06-20"),
    ),
    (
        "age, joined with drift, still waits for overdue sales",
        evidence(trained_until=OLD, overdue_inputs=("sales",), signals=(DRIFT,)),
        only(All((Drift(), Staleness(28)))),
        [],
        None,
    ),
    (
        "three weeks after an alarm's retraining",
        evidence(signals=QUIET),
        only(Drift(), follow_up_weeks=(1, 3, 7)),
        [past("drift", "2/2025-05-30", 22), past("follow_up", "drift/2/2025-05-30/1w", 15)],
        ("follow_up", "drift/2/2025-05-30/3w"),
    ),
    (
        "of two that are due the later one alone",
        evidence(signals=QUIET),
        only(Drift(), follow_up_weeks=(1, 3, 7)),
        [past("drift", "2/2025-05-30", 22)],
        ("follow_up", "drift/2/2025-05-30/3w"),
    ),
    (
        "a newer alarm's retraining begins them anew",
        evidence(signals=QUIET),
        only(Drift(), follow_up_weeks=(3,), cooldown_days=0),
        [past("drift", "2/2025-05-30", 22), past("error", "2/2025-06-20", 5)],
        None,
    ),
    (
        "a scheduled retraining has none",
        evidence(signals=QUIET),
        only(Drift(), follow_up_weeks=(1,)),
        [past("schedule", "2025-06-02", 22)],
        None,
    ),
    (
        "the budget is spent",
        evidence(signals=(DRIFT,)),
        only(Drift(), cooldown_days=0, budget=Budget(2, 7)),
        [past("new_data", "x", 6.9), past("manual", "y", 1)],
        None,
    ),
    (
        "the budget of a week ago is free again",
        evidence(signals=(DRIFT,)),
        only(Drift(), cooldown_days=0, budget=Budget(2, 7)),
        [past("new_data", "x", 7.0), past("manual", "y", 1)],
        ("drift", "3/2025-06-20"),
    ),
    (
        "quiet hours: 12:00 UTC is 13:00 in London",
        evidence(signals=(DRIFT,)),
        only(Drift(), quiet_hours=QuietHours(13, 14, "Europe/London")),
        [],
        None,
    ),
    (
        "after quiet hours",
        evidence(signals=(DRIFT,)),
        only(Drift(), quiet_hours=QuietHours(22, 13, "Europe/London")),
        [],
        ("drift", "3/2025-06-20"),
    ),
    (
        "too little is new to learn from",
        evidence(signals=(DRIFT,), rows_since_training=99),
        only(Drift(), min_new_rows=100),
        [],
        None,
    ),
    (
        "a request is heard whatever the limits",
        evidence(requests=("a",)),
        only(budget=Budget(1), quiet_hours=QuietHours(0, 24), min_new_rows=9, cooldown_days=9),
        [past("drift", "x", 1)],
        ("manual", "a"),
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
    trained_at=st.one_of(st.none(), AGES),
    rows_since_training=st.one_of(st.none(), st.integers(0, 5000)),
    measures=st.lists(
        st.builds(
            Measure,
            st.sampled_from(["performance", "operations"]),
            st.sampled_from(["pinball", "latency_p99_ms"]),
            st.sampled_from(["2025-06-01", "2025-06-20", "2025-06-29"]),
            st.floats(0, 3),
            baseline=st.one_of(st.none(), st.floats(0, 2)),
            champion_version=VERSIONS,
        ),
        max_size=6,
    ).map(tuple),
    ticks=st.lists(st.just(MONDAY), max_size=1).map(tuple),
    code=st.sampled_from([None, "a", "b"]),
    trained_code=st.sampled_from([None, "a"]),
    signals=SIGNALS.map(tuple),
    failed_data_checks=st.lists(st.sampled_from(["sales:contract", "lines:schema"]), max_size=2).map(tuple),
    requests=st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
    is_running=st.booleans(),
)
ALARMS = st.sampled_from([Alarms(), Alarms(2, 3)])
SIMPLE = st.one_of(
    st.just(Drift()),
    st.just(Error()),
    st.just(Code()),
    st.just(MONDAYS),
    st.builds(NewData, rows=st.integers(1, 3000)),
    st.builds(Staleness, st.integers(1, 90)),
    st.builds(
        Performance,
        st.just("pinball"),
        above=st.floats(0, 2),
        against=st.sampled_from([None, "baseline"]),
        alarms=ALARMS,
    ),
    st.builds(Operations, st.just("latency_p99_ms"), above=st.floats(0, 2), alarms=ALARMS),
)
WHEN = st.lists(st.one_of(SIMPLE, st.lists(SIMPLE, min_size=2, max_size=3).map(lambda of: All(tuple(of)))), max_size=4)
POLICIES = st.builds(
    RetrainingPolicy,
    when=WHEN.map(tuple),
    cooldown_days=st.floats(0, 60),
    settle_days=st.sampled_from([0.0, 7.0, 14.0]),
    follow_up_weeks=st.sampled_from([(), (1, 3), (7,)]),
    budget=st.one_of(st.none(), st.builds(Budget, st.integers(1, 3), st.floats(1, 90))),
    quiet_hours=st.sampled_from([None, QuietHours(0, 13), QuietHours(20, 4)]),
    min_new_rows=st.one_of(st.none(), st.integers(1, 3000)),
)
EPISODES = st.sampled_from(["3/2025-06-01", "3/2025-06-20", "4/2025-06-20", "a", "b"])
HISTORY = st.lists(st.builds(PastRetraining, st.sampled_from(TRIGGERS), EPISODES, AGES), max_size=4)


@pytest.mark.parametrize(
    ("cause", "began"),
    [
        ("error/3/2025-06-22", "2025-06-22"),
        ("performance/3/coverage in price: high/2025-06-27", "2025-06-27"),
        ("drift+error/3/2025-06-20&3/2025-06-22", "2025-06-22"),
        ("error+new_data/3/2025-06-22&3/2025-05-01T12:00/1", "2025-06-22"),
        ("follow_up/error/3/2025-06-22/7w", "2025-06-22"),
        ("operations/3/latency_p99_ms/2025-06-30T09", None),
        ("staleness/3/2025-06-02T12:00/1", None),
        ("schedule/2025-06-30T02:00:00+00:00", None),
        ("manual/ada-1", None),
    ],
)
def test_a_cause_says_when_its_alarm_began(cause: str, began: str | None) -> None:
    trigger, _, episode = cause.partition("/")
    assert alarm_began(trigger, episode) == (None if began is None else date.fromisoformat(began))


def test_what_fires_says_on_what_and_what_waits_says_nothing() -> None:
    policy = replace(EVERYTHING, train_on=TrainOn(400), after_alarm=TrainOn(recent_density=5), follow_up_weeks=(1,))
    answers = [past("drift", "3/2025-06-20", 8)]
    for seen, history, expected in (
        (evidence(signals=(DRIFT,)), [], policy.after_alarm),
        (evidence(), answers, policy.after_alarm),  # what follows an alarm
        (evidence(rows_since_training=1000), [], policy.train_on),
        (evidence(requests=("a",), signals=(DRIFT,)), [], policy.train_on),  # who asks says what for
        (evidence(), [], None),
    ):
        assert decide(seen, policy, history).train_on == expected


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY, st.randoms())
def test_order_means_nothing(seen: RetrainingEvidence, policy: RetrainingPolicy, history: list, random: Any) -> None:
    def shuffled(items: Any) -> list:
        return random.sample(list(items), len(items))

    lists = ("signals", "measures", "ticks", "failed_data_checks", "requests")
    other = replace(seen, **{name: tuple(shuffled(getattr(seen, name))) for name in lists})
    policy_other = replace(policy, when=tuple(shuffled(policy.when)))
    assert decide(seen, policy, history) == decide(other, policy, shuffled(history))
    first, second = decide(seen, policy, history), decide(other, policy_other, history)
    assert (first.retrain, first.trigger, first.episode) == (second.retrain, second.trigger, second.episode)


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY, st.floats(0, 100))
def test_more_cooldown_never_fires_more(
    seen: RetrainingEvidence, policy: RetrainingPolicy, history: list, more: float
) -> None:
    longer = replace(policy, cooldown_days=policy.cooldown_days + more)
    if decide(seen, longer, history).retrain:
        assert decide(seen, policy, history).retrain


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY)
def test_a_limit_never_fires_more(seen: RetrainingEvidence, policy: RetrainingPolicy, history: list) -> None:
    free = replace(policy, cooldown_days=0.0, settle_days=0.0, budget=None, quiet_hours=None, min_new_rows=None)
    if decide(seen, policy, history).retrain:
        assert decide(seen, free, history).retrain


@settings(max_examples=300, deadline=None)
@given(EVIDENCE, POLICIES, HISTORY, SIMPLE)
def test_one_trigger_more_never_fires_less_and_one_condition_more_never_fires_more(
    seen: RetrainingEvidence, policy: RetrainingPolicy, history: list, more: Any
) -> None:
    either = replace(policy, when=(*policy.when, more))
    both = replace(policy, when=tuple(All((trigger, more)) for trigger in policy.when))
    seen = replace(seen, overdue_inputs=())
    if decide(seen, policy, history).retrain:
        assert decide(seen, either, history).retrain
    if decide(seen, both, []).retrain:
        assert decide(seen, policy, []).retrain


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
    silent = only(cooldown_days=0)
    assert decide(seen, silent, history).trigger in (None, "manual")


def test_a_decision_contradicts_itself_nowhere() -> None:
    """An alarm that had been answered was told as "no alarm: drift 47 against a threshold of 0 since ..."."""
    seen = evidence(signals=(Signal("drift", "3", "2025-06-20", statistic=47.0, threshold=0.0),))
    fired = [PastRetraining("drift", "3/2025-06-20", NOW - timedelta(days=30))]
    decision = decide(seen, EVERYTHING, fired)
    assert not decision.retrain
    assert decision.reason.startswith("drift in 47 features, at most 0 allowed, since 2025-06-20, champion 3")
    (answered, *_) = decision.reasons_against
    at = (NOW - timedelta(days=30)).isoformat(timespec="seconds")
    assert answered == f"drift since 2025-06-20 under champion 3 has been answered by a retraining at {at}"
