"""Parameters that a trainer declares, read without importing it."""

import importlib
from pathlib import Path

import pytest

from platform_assets.components.trainer_source import declared_parameters


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DEFAULTS = {'rounds': 3, 'leaves': 7}", {"rounds", "leaves"}),
        ("A: dict[str, int] = {'a': 1}\nDEFAULTS = {**A, 'b': 2}", {"a", "b"}),
        ("DEFAULTS = dict(a=1)", None),  # not to be read: nothing is refused
        ("from elsewhere import A\nDEFAULTS = {**A}", None),
        ("OTHER = {'a': 1}", None),
    ],
)
def test_the_keys_of_defaults(tmp_path: Path, text: str, found: set[str] | None) -> None:
    (tmp_path / "train.py").write_text(text)
    assert declared_parameters(tmp_path) == found


@pytest.mark.parametrize("name", ["demand", "dormant"])
def test_those_of_the_project_are_what_their_module_says(name: str) -> None:
    module = importlib.import_module(f"platform_assets.defs.models.{name}.train")
    assert declared_parameters(Path(module.__file__ or "").parent) == set(module.DEFAULTS)
