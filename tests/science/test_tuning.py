"""A search stays in its budget and space, tries the same by the same seed, and finds what is better."""

import json
import time

import pytest

from platform_assets.errors import ConfigurationError, ModelError
from platform_assets.science.tuning import Trial, TuningPlan, tune

SPACE = {
    "rate": {"low": 0.01, "high": 0.3, "log": True},
    "leaves": {"low": 8, "high": 64, "integer": True},
    "kind": {"choices": ["a", "b"]},
}


def loss_of(parameters: dict) -> float:
    return (
        abs(parameters["rate"] - 0.1) * 10
        + abs(parameters["leaves"] - 31) / 31
        + (0.5 if parameters["kind"] == "a" else 0)
    )


def plan(**changes: object) -> TuningPlan:
    found = TuningPlan.from_mapping({"search": "random", "trials": 12, "space": SPACE, **changes})
    assert found is not None
    return found


@pytest.mark.parametrize("absent", [None, {}])
def test_tuning_is_off_by_default(absent: dict | None) -> None:
    assert TuningPlan.from_mapping(absent) is None


@pytest.mark.parametrize("search", ["random", "bayesian"])
def test_the_same_seed_tries_the_same(search: str) -> None:
    first, second, other = (tune(plan(search=search), loss_of, seed=seed, now=time.monotonic) for seed in (3, 3, 4))
    assert [t.parameters for t in first.trials] == [t.parameters for t in second.trials]
    assert [t.parameters for t in first.trials] != [t.parameters for t in other.trials]
    assert first.loss == min(t.loss for t in first.trials if t.loss is not None) == loss_of(first.parameters)
    assert len({json.dumps(t.parameters) for t in first.trials}) == 12
    for trial in first.trials:
        assert 0.01 <= trial.parameters["rate"] <= 0.3
        assert trial.parameters["leaves"] in range(8, 65)
        assert type(trial.parameters["leaves"]) is int


def test_bayesian_search_is_better_than_random_on_average() -> None:
    def mean_loss(search: str) -> float:
        return (
            sum(tune(plan(search=search, trials=40), loss_of, seed=seed, now=time.monotonic).loss for seed in range(5))
            / 5
        )

    assert mean_loss("bayesian") < mean_loss("random")


def test_a_grid_tries_every_point_once() -> None:
    grid = plan(
        search="grid",
        trials=12,
        space={
            "rate": {"low": 0.1, "high": 0.3, "step": 0.1},
            "leaves": {"low": 30, "high": 31, "integer": True},
            "kind": {"choices": ["a", "b"]},
        },
    )
    found = tune(grid, loss_of, now=time.monotonic)
    assert len(found.trials) == 12
    assert sorted({t.parameters["rate"] for t in found.trials}) == pytest.approx([0.1, 0.2, 0.3])
    assert found.parameters == {"rate": 0.1, "leaves": 31, "kind": "b"}


def test_seconds_end_the_search_after_the_trial_that_runs() -> None:
    clock = iter(float(tick) for tick in range(1000))
    found = tune(plan(trials=100, seconds=10), loss_of, now=lambda: next(clock))
    assert 1 < len(found.trials) < 10
    assert len(tune(plan(seconds=1e-9), loss_of, now=time.monotonic).trials) == 1


def test_every_trial_is_told_and_failures_do_not_end_the_search() -> None:
    heard: list[Trial] = []

    def failing(parameters: dict) -> float:
        if parameters["kind"] == "a":
            raise ModelError("kind a cannot be fitted")
        return float("nan") if parameters["leaves"] < 20 else loss_of(parameters)

    found = tune(plan(), failing, on_trial=heard.append, now=time.monotonic)
    assert tuple(heard) == found.trials
    assert {trial.loss is None for trial in heard if trial.parameters["kind"] == "a"} == {True}
    assert any("cannot be fitted" in trial.failure for trial in heard)
    assert found.parameters["kind"] == "b"

    def never(parameters: dict) -> float:
        raise ModelError("no rows")

    with pytest.raises(ModelError, match="all 12 trials failed; the last: no rows"):
        tune(plan(search="bayesian"), never, now=time.monotonic)


def test_a_bug_of_the_trainer_is_not_swallowed() -> None:
    def bug(parameters: dict) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tune(plan(), bug, now=time.monotonic)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trails": 3}, "unknown keys \\['trails'\\]"),
        ({"search": "annealing"}, "search 'annealing'"),
        ({"trials": 0}, "`trials` is 0"),
        ({"seconds": "10"}, "`seconds` is '10'"),
        ({"space": {}}, "`space` is {}"),
        ({"space": {"rate": 0.1}}, "`rate` is 0.1, expected a mapping"),
        ({"space": {"rate": {"low": 0, "hihg": 1}}}, "`rate` has unknown keys \\['hihg'\\]"),
        ({"space": {"rate": {"low": 1, "high": 1}}}, "expected low below high"),
        ({"space": {"rate": {"low": 1}}}, "`high` None"),
        ({"space": {"rate": {"low": "a", "high": 1}}}, "`low` 'a'"),
        ({"space": {"rate": {"low": 0, "high": 1, "log": True}}}, "`low` must be above 0"),
        ({"space": {"rate": {"low": 0.5, "high": 2, "integer": True}}}, "is an integer, but `low` is 0.5"),
        ({"space": {"rate": {"low": 0, "high": 1, "step": 0}}}, "step 0"),
        ({"space": {"rate": {"choices": []}}}, "at least one"),
        ({"space": {"rate": {"choices": [[1]]}}}, "expected numbers, texts or booleans"),
        ({"search": "grid"}, "`rate` has no `step`"),
        ({"search": "grid", "trials": 5, "space": {"n": {"low": 1, "high": 10**9, "integer": True}}}, "budget is 5"),
    ],
)
def test_a_wrong_plan_is_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TuningPlan.from_mapping({"space": SPACE, **change})
