"""The code behind the feature views, copied so that a test may edit it as a user would."""

import shutil
from pathlib import Path

import pytest

from resources import source_digest

ROOT = Path(__file__).parents[2]


def copied_code(to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `feature_repo/` and `platform_assets/science/`, of which versions are taken from now on."""
    for part in ("feature_repo", "platform_assets/science"):
        shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source_digest, "ROOT", to)
    return to


def edit(path: Path, old: str, new: str) -> None:
    """As a user writes it."""
    text = path.read_text()
    assert text.count(old) == 1, (path, old, text.count(old))
    path.write_text(text.replace(old, new))
