"""What the documentation names exists: commands, options, make targets, files, settings, and the code that it shows."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from platform_assets import cli
from platform_assets.components.scaffolding import TASKS
from platform_assets.components.trained_model import TrainedModel

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "platform_assets").rglob("*.md"),
    ]
)
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


@cache
def commands() -> dict[str, set[str]]:
    """Command of `perennial` to its options, those of its own commands among them."""

    def options(command: Any) -> set[str]:
        own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        return own.union(*map(options, getattr(command, "commands", {}).values()))

    group: Any = typer.main.get_command(cli.app)
    return {name: options(command) for name, command in group.commands.items()}


def code(text: str) -> list[str]:
    """Indented and fenced lines, and everything in backticks."""
    fenced = [line for block in re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [*fenced, *re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_mentioned_exists_with_its_options(path: Path) -> None:
    for text in code(path.read_text()):
        for name, rest in re.findall(r"\bperennial ([a-z][a-z-]+)([^|;&]*)", text):
            assert name in commands(), f"{path.name}: `perennial {name}`; known: {', '.join(commands())}"
            for option in re.findall(r"(--[a-z][a-z-]*)", rest):
                assert option in commands()[name] | {"--help"}, f"{path.name}: `perennial {name} {option}`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_mentioned_exists(path: Path) -> None:
    for text in code(path.read_text()):
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", text):
            assert target in TARGETS, f"{path.name}: `make {target}`; known: {', '.join(sorted(TARGETS))}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_linked_exists(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links {target}"


def test_the_variables_of_make_are_the_ones_that_are_told() -> None:
    for variable in re.findall(r"\bmake [a-z-]+ ([A-Z]+)=", README):
        assert f"$({variable})" in MAKEFILE, variable


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_answers_help_and_is_in_the_readme(command: str) -> None:
    answer = CliRunner().invoke(cli.app, [command, "--help"])
    assert answer.exit_code == 0
    assert "Usage:" in answer.stdout
    assert command in README


def test_every_command_that_reports_takes_json() -> None:
    acts = {"demo-reset", "dev"}
    assert {name for name, options in commands().items() if "--json" not in options} == acts


def test_every_target_of_make_is_phony_and_told_by_help() -> None:
    phony = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())
    assert phony == TARGETS
    told = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert told >= TARGETS - {"system-packages"}


def test_every_setting_of_a_model_is_in_the_readme() -> None:
    for name in set(TrainedModel.model_fields) - {"owners", "trainer", "kind"}:
        assert f"`{name}`" in README, f"`{name}` of defs.yaml is not explained"


def test_the_code_that_is_shown_is_what_the_scaffold_writes() -> None:
    trees = importlib.import_module("platform_assets.science.trees")
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        parsed = ast.parse(block)
        for node in parsed.body:
            if isinstance(node, ast.FunctionDef):
                first = block.splitlines()[node.lineno - 1]
                assert any(first in train for _, train in TASKS.values()), first
        for node in ast.walk(parsed):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and hasattr(trees, node.value.id):
                assert hasattr(getattr(trees, node.value.id), node.attr), ast.unparse(node)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_to_be_filled_in(path: Path) -> None:
    assert not re.findall(r"^[A-Z][A-Z_]{3,}$|\bTODO\b|\bFIXME\b|\bTBD\b", path.read_text(), re.MULTILINE)
