"""What all commands have in common, on a state directory in which nothing has been done yet."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from platform_assets import cli
from platform_assets.errors import PerennialError


@pytest.fixture
def state(tmp_path: Path) -> Path:
    pin = {"source": "simulator", "data": None, "starts_on": "2024-01-01", "ends_on": "2025-12-30"}
    (tmp_path / "source.json").write_text(json.dumps(pin))
    return tmp_path


def ask(state: Path, *arguments: str) -> Result:
    """A command on this state; an error made on purpose is part of the result."""
    result = CliRunner().invoke(cli.app, [*arguments, "--state", str(state)])
    assert result.exception is None or isinstance(result.exception, PerennialError | SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    "command",
    [
        "why demand",
        "predict demand",
        "quarantine list",
        "quarantine add store_01 --from 2025-12-01 --reason broken",
        "quarantine lift store_01 --from 2025-12-01 --reason right",
        "features diff store_01/sku_0002 --target never",
    ],
)
def test_every_command_says_which_state_it_asks(state: Path, command: str) -> None:
    assert f"state: {state} (source simulator)" in ask(state, *command.split()).stderr
    assert "state:" not in ask(state, *command.split(), "--json").stderr
