"""Which lines of a model's defs.yaml make its versions, and which are about them: an edit of these trains nothing."""

import json
from pathlib import Path
from typing import Any, Final

import yaml

# Whom it belongs to, when it is trained, what a candidate must show, what inputs are compared with, how it is replayed.
BESIDE: Final = ("description", "owners", "kind", "retraining", "gate", "monitoring", "backtest")


def made_by(file: Path) -> str:
    """All settings but those, in one form whatever their order, comments and blanks; empty where there is no file."""
    document = _document(file)
    attributes = document.get("attributes")
    if isinstance(attributes, dict):
        document["attributes"] = {key: value for key, value in attributes.items() if key not in BESIDE}
    return _told(document)


def judged_by(file: Path) -> str:
    """The gate's settings: an edit decides again on what has been evaluated."""
    return _told((_document(file).get("attributes") or {}).get("gate") or {})


def _document(file: Path) -> dict[str, Any]:
    found = yaml.safe_load(file.read_text()) if file.is_file() else {}
    return found if isinstance(found, dict) else {"": found}


def _told(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True, default=str)
