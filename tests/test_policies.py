"""What a retry cannot mend is not retried, and its text stands where people look."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from platform_assets import policies
from platform_assets.demo import failures
from platform_assets.errors import (
    ConcurrentWriteError,
    ConfigurationError,
    DataError,
    EmptyFrameError,
    FeatureStoreError,
    ModelError,
    PointInTimeError,
    SchemaError,
)

POLICY = policies.WhereItHelps(max_retries=2, delay=0.0)
LASTING = (DataError, SchemaError, EmptyFrameError, ConfigurationError, PointInTimeError, ModelError)
PASSING = (ConcurrentWriteError, FeatureStoreError, OSError, TimeoutError)


class Refusing(dg.IOManager):
    """Raises what it is told to raise, wherever it is asked to store."""

    def __init__(self, error: Exception) -> None:
        self.error, self.attempts = error, 0

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        self.attempts += 1
        raise self.error

    def load_input(self, context: dg.InputContext) -> None:
        raise AssertionError("nothing is read")


def run(asset: dg.AssetsDefinition, **resources: Any) -> tuple[list[str], list[Any]]:
    """What the command line says, and the failed steps' errors as the UI shows them."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset], instance=instance, resources=resources, raise_on_error=False)
        assert not result.success
        steps = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
        return list(failures(result)), [step.event_specific_data for step in steps]


@pytest.mark.parametrize("kind", [*LASTING, *PASSING])
@pytest.mark.parametrize("place", ["body", "generator", "io manager"])
def test_only_what_may_pass_is_tried_again(kind: type[Exception], place: str) -> None:
    lasts = kind in LASTING
    error = kind("sales.csv: column `qty`, row 7: 'x' is no number", **({"hint": "mend the cell"} if lasts else {}))
    attempts: list[int] = []

    @dg.asset(retry_policy=POLICY)
    def body() -> None:
        attempts.append(1)
        raise error

    @dg.multi_asset(specs=[dg.AssetSpec("yielded")], retry_policy=POLICY)
    def generator() -> Iterator[dg.MaterializeResult]:
        attempts.append(1)
        yield from ()
        raise error

    @dg.asset(retry_policy=POLICY)
    def stored() -> int:
        attempts.append(1)
        return 1

    made = {"body": body, "generator": generator, "io manager": stored}[place]
    told, shown = run(made, **({"io_manager": Refusing(error)} if place == "io manager" else {}))
    assert len(attempts) == (1 if lasts else 3)
    (line,), (data,) = told, shown
    assert "sales.csv: column `qty`, row 7: 'x' is no number" in line
    if lasts:
        assert "hint: mend the cell" in line
        assert data.user_failure_data.description == str(error)  # what the UI shows of the step
        assert data.error.cause.cls_name == kind.__name__


def test_the_graph_retries_by_this_policy() -> None:
    assert isinstance(policies.RETRY_IO, policies.WhereItHelps)
    assert policies.RETRY_IO.max_retries == 2
    assert 0 <= policies.RETRY_IO.calculate_delay(1) <= 4  # 2 s, and jitter of as much either way
