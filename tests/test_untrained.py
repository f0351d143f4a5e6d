"""A model that lacks history does not end the demo: it is told on the last screen; only where none stands is it an error."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from platform_assets import cli, locate
from platform_assets import demo as main_job
from platform_assets.components import source_window
from platform_assets.components.model_assets import model_names
from platform_assets.errors import EmptyFrameError
from tests.small import write_world

TOLD = "{model}/training_set: needs 14 days of history, found 3\n\nhint: `origins: 6` would do"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locate, "STATES", tmp_path / "states")
    monkeypatch.setattr(source_window, "_active", None)
    return write_world(tmp_path / "world.parquet", days=30)


def demo(world: Path, monkeypatch: pytest.MonkeyPatch, untrained: set[str]) -> tuple[Any, list[str]]:
    """A demo of which nothing is run; stages in their order."""
    ran: list[str] = []

    def execute(job: Any, instance: Any, stage: str, *rest: Any) -> None:
        ran.append(stage)
        if stage in untrained:
            raise main_job.UntrainedError(TOLD.format(model=stage))

    monkeypatch.setattr(main_job, "execute", execute)
    state = str(world.with_name("state"))
    return CliRunner().invoke(cli.app, ["demo", "--data", str(world), "--source", "simulator", "--state", state]), ran


def test_the_others_go_on_and_the_last_screen_says_why_it_was_not_trained(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, ran = demo(world, monkeypatch, {"dormant"})
    assert result.exit_code == 0, result.output
    assert ran == ["data", *sorted(model_names()), "reports"]
    said = "dormant: not trained: needs 14 days of history, found 3\n  hint: `origins: 6` would do\n"
    assert said in result.output
    assert "dormant has no champion yet" not in result.output
    assert "demand has no champion yet" in result.output
    assert "the first champion after" not in result.output
    again, ran = demo(world, monkeypatch, {"dormant"})  # it is asked again, and told again; the others are done
    assert ran == ["dormant"]
    assert said in again.output


def test_none_that_stands_is_an_error_that_names_every_reason(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, ran = demo(world, monkeypatch, set(model_names()))
    assert isinstance(result.exception, main_job.DemoFailedError)
    assert ran == ["data", *sorted(model_names())]
    for model in model_names():
        assert f"{model}/training_set: needs 14 days" in str(result.exception)


def test_only_rows_that_lack_make_a_model_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in a trainer is no lack of history: it ends the demo."""

    def failing(error: Exception) -> type[Exception]:
        @dg.asset
        def training_set() -> None:
            raise error

        @dg.asset(deps=[training_set])
        def candidate() -> None: ...

        job = dg.Definitions(assets=[training_set, candidate]).resolve_implicit_global_asset_job_def()
        lines: list[str] = []
        with dg.DagsterInstance.ephemeral() as instance:
            with pytest.raises(main_job.DemoFailedError, match="training_set: ") as failed:
                main_job._run(job, instance, [training_set.key, candidate.key], {}, lines.append)
            assert not any("Dependencies for step" in line for line in lines)
            return failed.type

    assert failing(EmptyFrameError("dormant/training_set: nothing was sold")) is main_job.UntrainedError
    assert failing(ValueError("a mistake")) is main_job.DemoFailedError
