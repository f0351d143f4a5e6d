"""A policy read from its mapping, its mistakes named, its words; and when an alarm of several verdicts began."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError
from platform_assets.science.retraining_policy import Budget, QuietHours, RetrainingPolicy
from platform_assets.science.retraining_triggers import (
    KINDS,
    Alarms,
    All,
    Drift,
    Error,
    NewData,
    Operations,
    Performance,
    Schedule,
    Staleness,
    alarm_since,
)
from platform_assets.science.train_on import TrainOn

WHOLE: dict[str, Any] = {
    "when": [
        "drift",
        {"error": {"alarms": "2 of 3"}},
        {"staleness": 28},
        {"schedule": {"cron": "0 3 * * 1", "timezone": "Europe/London"}},
        {
            "all": [
                {"new_data": {"rows": 5000}},
                {"performance": {"metric": "pinball", "above": 1.1, "against": "baseline"}},
            ]
        },
        {"operations": {"metric": "latency_p99_ms", "above": 250, "alarms": "3 of 5"}},
        "code",
    ],
    "cooldown_days": 3,
    "follow_up_weeks": [1, 3, 7],
    "budget": {"trainings": 2},
    "quiet_hours": {"start": 8, "end": 18, "timezone": "Europe/London"},
    "min_new_rows": 500,
    "train_on": {"window_days": 730, "recent_density": 2},
    "after_alarm": {"recent_days": 28, "recent_density": 5},
}


def test_a_policy_is_what_its_mapping_says_and_else_the_default() -> None:
    default = RetrainingPolicy((Error(), Staleness(90)), cooldown_days=7, settle_days=14, follow_up_weeks=(3, 7))
    assert RetrainingPolicy.from_mapping({}) == RetrainingPolicy() == default
    policy = RetrainingPolicy.from_mapping(WHOLE)
    assert policy.when[:4] == (
        Drift(),
        Error(Alarms(2, 3)),
        Staleness(28),
        Schedule("0 3 * * 1", "Europe/London"),
    )
    assert policy.when[4] == All((NewData(rows=5000), Performance("pinball", above=1.1, against="baseline")))
    assert policy.when[5] == Operations("latency_p99_ms", above=250, alarms=Alarms(3, 5))
    assert (policy.budget, policy.quiet_hours) == (Budget(2), QuietHours(8, 18, "Europe/London"))
    assert (policy.follow_up_weeks, policy.min_new_rows, policy.cooldown_days) == ((1, 3, 7), 500, 3)
    assert policy.train_on == TrainOn(window_days=730, recent_density=2)
    assert policy.after_alarm == TrainOn(window_days=730, recent_days=28, recent_density=5)
    assert policy.alarms_of("error") == Alarms(2, 3)
    assert policy.alarms_of("drift") == Alarms()


def test_its_words_name_every_setting() -> None:
    told = "\n".join(RetrainingPolicy.from_mapping(WHOLE).told())
    for word in (
        "(one alarm is enough)", "2 alarms of 3 verdicts", "28 days old", "`0 3 * * 1` (Europe/London)", "5,000 rows", " AND ",
        "pinball over the baseline's is above 1.1", "latency_p99_ms is above 250", "code", "Within 3 days",
        "followed by others 1, 3 and 7 weeks after it", "At most 2 retrainings within 7 days", "From 8 to 18 o'clock", "500 rows",
        "It learns from the last 730 days, the last 56 days of it sampled 2 times as densely.",
        "After an alarm (drift, error or performance) it learns from the last 730 days, the last 28 days of it sampled 5 times as densely.",
    ):  # fmt: skip
        assert word in told, word
    assert "never by itself" in RetrainingPolicy(()).told()[0]
    assert "It learns from all history." in RetrainingPolicy(()).told()


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({}, "After an alarm (error) it learns from all history"),
        ({"follow_up_weeks": [3]}, "followed by another 3 weeks after it"),
        ({"follow_up_weeks": [1]}, "followed by another 1 week after it"),
        ({"follow_up_weeks": [3, 7]}, "followed by others 3 and 7 weeks after it"),
        ({"settle_days": 1}, "An alarm that still holds once 1 more day is known is answered"),
    ],
)
def test_its_words_are_those_of_a_person(mapping: dict[str, Any], said: str) -> None:
    assert said in "\n".join(RetrainingPolicy.from_mapping(mapping).told())


def test_a_policy_without_alarms_says_nothing_of_them() -> None:
    """It said that it was never retrained by itself, and what followed a training for an alarm."""
    told = "\n".join(RetrainingPolicy.from_mapping({"when": [{"staleness": 28}]}).told())
    assert "alarm" not in told
    assert "weeks" not in told


@pytest.mark.parametrize(
    ("mapping", "usually", "after_alarm"),
    [
        ({}, TrainOn(), TrainOn(recent_density=7, judged_days=7)),
        ({"train_on": {"window_days": 400}}, TrainOn(400), TrainOn(400, recent_density=7, judged_days=7)),
        ({"after_alarm": {}}, TrainOn(), TrainOn()),
        ({"train_on": {"recent_density": 3}, "after_alarm": {}}, TrainOn(None, 56, 3), TrainOn(None, 56, 3)),
        (
            {"train_on": {"window_days": 400}, "after_alarm": {"window_days": None, "recent_days": 28}},
            TrainOn(400),
            TrainOn(None, 28),
        ),
    ],
)
def test_what_an_alarm_leaves_out_is_as_usual_and_all_but_its_mention_is_dense(
    mapping: dict[str, Any], usually: TrainOn, after_alarm: TrainOn
) -> None:
    policy = RetrainingPolicy.from_mapping(mapping)
    assert (policy.train_on, policy.after_alarm) == (usually, after_alarm)


@pytest.mark.parametrize(
    ("trigger", "is_alarm"),
    [
        ("drift", True), ("error", True), ("performance", True), ("follow_up", True), ("drift+new_data", True),
        ("manual", False), ("schedule", False), ("staleness", False), ("new_data", False), ("code", False),
        ("operations", False), ("schedule+new_data", False),
    ],
)  # fmt: skip
def test_only_an_alarm_and_what_follows_it_learns_otherwise(trigger: str, is_alarm: bool) -> None:
    policy = RetrainingPolicy()
    assert policy.choice(trigger) == (policy.after_alarm if is_alarm else policy.train_on)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"cool_down_days": 3}, "unknown key `cool_down_days`\n\nhint: did you mean `cooldown_days`?"),
        ({"psi": 0.2}, "known: when, cooldown_days, settle_days, follow_up_weeks, budget, quiet_hours, min_new_rows"),
        ({"when": "drift"}, "`when` is 'drift', expected a list"),
        ({"when": ["drfit"]}, "unknown trigger `drfit`\n\nhint: did you mean `drift`?"),
        ({"when": ["manual"]}, "a request by hand is always heard"),
        ({"when": [{"drift": None, "error": None}]}, "expected a trigger's name, or one name with its settings"),
        ({"when": [{"drift": 3}]}, "`drift` is 3, expected a mapping of alarms"),
        ({"when": [{"drift": {"alarm": "2 of 3"}}]}, "unknown key `drift.alarm`\n\nhint: did you mean `alarms`?"),
        ({"when": [{"drift": {"alarms": "3 of 2"}}]}, "`drift.alarms` is '3 of 2', expected such as `2 of 3`"),
        ({"when": [{"drift": {"alarms": "0 of 2"}}]}, "`drift.alarms` is '0 of 2'"),
        ({"when": ["drift", {"all": ["code", {"drift": {"alarms": "2 of 3"}}]}]}, "`drift` is asked for with different"),
        ({"when": ["new_data"]}, "`new_data` needs one of `rows` and `periods`"),
        ({"when": [{"new_data": {"rows": 0}}]}, "`new_data.rows` is 0, expected a whole number of at least 1"),
        ({"when": [{"new_data": {"rows": 1.5}}]}, "`new_data.rows` is 1.5"),
        ({"when": [{"staleness": True}]}, "`staleness.days` is True"),
        ({"when": ["staleness"]}, "`staleness` lacks a setting"),
        ({"when": [{"schedule": "daily"}]}, "`schedule.cron` is 'daily', expected five fields"),
        ({"when": [{"schedule": {"cron": "0 3 * * 1", "timezone": "Mars"}}]}, "`schedule.timezone` is 'Mars'"),
        ({"when": [{"performance": {"metric": "pinball"}}]}, "`performance` needs one of `above` and `below`"),
        ({"when": [{"performance": {"above": 1}}]}, "`performance` lacks a setting"),
        ({"when": [{"performance": {"metric": "p", "above": 1, "against": "champion"}}]}, "`performance.against`"),
        ({"when": [{"operations": {"metric": "p", "below": float("nan")}}]}, "`operations.below` is nan"),
        ({"when": [{"all": ["drift"]}]}, "`all` joins at least two triggers"),
        ({"when": [{"all": "drift"}]}, "`all` is 'drift', expected a list"),
        ({"cooldown_days": -1}, "`cooldown_days` is -1, expected a number of days of at least 0"),
        ({"cooldown_days": float("nan")}, "`cooldown_days` is nan"),
        ({"cooldown_days": None}, "`cooldown_days` is None"),
        ({"follow_up_weeks": [3, 1]}, "expected weeks in ascending order, each once"),
        ({"follow_up_weeks": [0, 1]}, "`follow_up_weeks` is 0"),
        ({"budget": 2}, "`budget` is 2, expected a mapping of trainings, days"),
        ({"budget": {"trainings": 1, "days": 0}}, "`budget.days` is 0, expected a number of days above 0"),
        ({"budget": {"days": 1}}, "`budget` lacks a setting"),
        ({"quiet_hours": {"start": 8, "end": 25}}, "`quiet_hours.end` is 25, expected an hour from 0 to 24"),
        ({"quiet_hours": {"start": 8, "end": 8}}, "expected two different hours"),
        ({"min_new_rows": 0}, "`min_new_rows` is 0"),
        ({"train_on": 90}, "`train_on` is 90, expected a mapping of window_days, recent_days, recent_density, judged_days, start"),
        ({"train_on": {"window": 90}}, "unknown key `train_on.window`\n\nhint: did you mean `window_days`?"),
        ({"train_on": {"window_days": 0}}, "`window_days` is 0, expected a whole number of at least 1"),
        ({"train_on": {"recent_days": None}}, "`recent_days` is None"),
        ({"after_alarm": {"recent_density": 0.5}}, "`recent_density` is 0.5, expected a number of at least 1"),
        ({"train_on": {"start": "cold"}}, "`start` is 'cold', expected one of scratch, champion"),
        ({"after_alarm": {"density": 7}}, "unknown key `after_alarm.density`\n\nhint: did you mean `recent_density`?"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_named(mapping: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RetrainingPolicy.from_mapping(mapping)
    assert told in str(caught.value)


def test_every_kind_has_a_name_and_words() -> None:
    assert {kind.kind for kind in KINDS.values()} == set(KINDS)


VERDICTS = st.lists(st.booleans(), max_size=12)


def days(verdicts: list[bool]) -> list[tuple[str, bool]]:
    """Newest first: the newest is of the last day."""
    return [(f"2025-01-{len(verdicts) - at:02d}", failed) for at, failed in enumerate(verdicts)]


def naive_since(newest_first: list[tuple[str, bool]], least: int, of: int) -> str | None:
    """Day by day from the oldest on, as an alarm would have been seen: its name is kept while it holds."""
    kept: str | None = None
    oldest_first = newest_first[::-1]
    for end in range(1, len(oldest_first) + 1):
        failures = [day for day, failed in oldest_first[max(0, end - of) : end] if failed]
        kept = (kept or failures[0]) if len(failures) >= least else None
    return kept


@settings(max_examples=400, deadline=None)
@given(VERDICTS, st.integers(1, 4), st.integers(0, 3))
def test_an_alarm_keeps_the_day_that_it_began_with(verdicts: list[bool], least: int, more: int) -> None:
    seen = days(verdicts)
    assert alarm_since(seen, Alarms(least, least + more)) == naive_since(seen, least, least + more)


@settings(max_examples=200, deadline=None)
@given(VERDICTS, st.integers(1, 3), st.integers(0, 2))
def test_two_alarms_never_have_one_name(verdicts: list[bool], least: int, more: int) -> None:
    """As days pass, a name once given up does not come back: its cause has been answered."""
    names: list[str | None] = []
    for end in range(len(verdicts) + 1):
        names.append(alarm_since(days(verdicts)[len(verdicts) - end :], Alarms(least, least + more)))
    given_up = {name for name, after in pairwise(names) if name is not None and after != name}
    for at, name in enumerate(names):
        if name in given_up:
            last = max(i for i, other in enumerate(names) if other == name)
            assert all(other == name for other in names[at : last + 1])


def test_of_several_verdicts_of_a_day_the_newest_counts_and_no_more_is_read_than_needed() -> None:
    def verdicts() -> Any:
        yield from [("2025-06-03", True), ("2025-06-03", False), ("2025-06-02", True), ("2025-06-01", False)]
        raise AssertionError("reads on")

    assert alarm_since(verdicts(), Alarms()) == "2025-06-02"
