"""What is misspelt in a source that is not the active one is found all the same."""

import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox

from platform_assets.components.source_check import check_sources
from platform_assets.errors import ConfigurationError

SOURCES = Path(__file__).parents[2] / "platform_assets" / "defs" / "data"


@pytest.fixture
def sandbox() -> Iterator[Any]:
    """A project with this one's sources, none of which is active."""
    with create_defs_folder_sandbox() as found:
        for name in ("online_retail", "simulator"):
            shutil.copytree(SOURCES / name, found.defs_folder_path / "data" / name)
        yield found


def change(sandbox: Any, source: str, old: str, new: str) -> str:
    """`file:line` of what was put into a source's defs.yaml."""
    file: Path = sandbox.defs_folder_path / "data" / source / "defs.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if new.splitlines()[0] in text)
    return f"{file}:{line}"


def test_sound_sources_pass(sandbox: Any) -> None:
    with sandbox.build_component_tree() as tree:
        check_sources(tree)


@pytest.mark.parametrize(
    ("source", "old", "new", "says"),
    [
        ("online_retail", "  timezone:", "  timezon:", "timezon"),
        ("online_retail", "Europe/London", "Europe/Lundon", "unknown timezone 'Europe/Lundon'"),
        ("simulator", "    units: units", "    unit: units", "unknown roles ['unit']"),
        ("simulator", "contract: schema.Lines", "contract: schema.Linse", "'Linse'"),
    ],
)
def test_what_is_misspelt_in_any_source_is_named_with_file_and_line(
    sandbox: Any, source: str, old: str, new: str, says: str
) -> None:
    place = change(sandbox, source, old, new)
    with sandbox.build_component_tree() as tree, pytest.raises(ComponentTreeException) as error:
        check_sources(tree)
    told = "".join(traceback.format_exception(error.value))
    assert says in told
    folder, _, line = place.rpartition(":")
    assert any(f"{folder}:{number}" in told for number in (line, str(int(line) - 1))), told


def test_values_that_contradict_each_other_are_named_with_the_source(sandbox: Any) -> None:
    change(sandbox, "simulator", "  series: [store, sku]", "  dated: end\n  series: [store, sku]")
    with sandbox.build_component_tree() as tree, pytest.raises(ConfigurationError, match="source simulator: dated"):
        check_sources(tree)
