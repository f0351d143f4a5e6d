"""A mistake in a defs.yaml is one message with file and line on the command line too, where it was a traceback of 90 lines."""

import itertools
from pathlib import Path

import pytest

from platform_assets.complaints import complaint
from platform_assets.errors import ConfigurationError, SchemaError

DAGSTER = """{file}:4 - attributes.features
     |
   3 | attributes:
   4 |   features: [zero_share_28, levl]
     |                             ^ ValueError: unknown features 'levl' (did you mean level?)
     |
"""
EXTRA = """1 validation error for TrainedModelModel
`attributes.rowz at {file}:12`
  Extra inputs are not permitted [type=extra_forbidden, input_value=120000, input_type=int]
"""


class ResolutionException(Exception):
    """Stands for Dagster's of this name."""


class ValidationError(Exception):
    """Stands for pydantic's, as Dagster raises it."""


def raised(*errors: Exception) -> Exception:
    """The first, caused by the second, and so on."""
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def test_a_misspelt_feature_is_told_with_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "models" / "dormant" / "defs.yaml"
    error = raised(RuntimeError("tree"), ResolutionException(DAGSTER.format(file=file)), ValueError("levl"))
    found = complaint(error)
    assert found is not None
    assert found.message == "models/dormant/defs.yaml:4: `features`: unknown features 'levl' (did you mean level?)"


def test_an_error_made_on_purpose_is_found_behind_others() -> None:
    inner = SchemaError("no column", hint="add it")
    assert complaint(raised(RuntimeError("a"), inner, KeyError("b"))) is inner


def test_an_error_made_on_purpose_is_told_with_the_line_that_dagster_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outer = ResolutionException(DAGSTER.format(file=tmp_path / "models" / "dormant" / "defs.yaml"))
    found = complaint(raised(RuntimeError("tree"), outer, ConfigurationError("retraining: unknown key `cooldown`")))
    assert isinstance(found, ConfigurationError)
    assert found.message == "models/dormant/defs.yaml:4: retraining: unknown key `cooldown`"
    named = ConfigurationError("models/dormant/defs.yaml: no such trainer", hint="write one")
    assert complaint(raised(RuntimeError("tree"), outer, named)) is named


def test_a_misspelt_key_is_told_with_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = ValidationError(EXTRA.format(file=tmp_path / "models" / "dormant" / "defs.yaml"))
    found = complaint(raised(RuntimeError("tree"), told))
    assert found is not None
    assert found.message == "models/dormant/defs.yaml:12: `rowz`: no such key"


def test_anything_else_keeps_its_traceback() -> None:
    assert complaint(raised(RuntimeError("a"), ValueError("b"))) is None
