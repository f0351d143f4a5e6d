"""What a Feast repository holds, as plain data that loads without importing Feast (5 s)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from platform_assets.errors import ConfigurationError

VERSION: Final = 2  # of the JSON
YAML: Final = "feature_store.yaml"
_SKIPPED: Final = {".git", ".venv", "__pycache__", ".ipynb_checkpoints", ".pytest_cache"}

# Kinds of views, as Feast calls them.
PLAIN: Final = "feature view"
BATCH: Final = "batch feature view"
STREAM: Final = "stream feature view"
ON_DEMAND: Final = "on-demand feature view"
LABEL: Final = "label view"


@dataclass(frozen=True)
class Column:
    """A feature or a key. `low`, `high` and `reads` are what its tags `min`, `max` and `reads` say."""

    name: str
    dtype: str
    about: str = ""
    low: float | None = None
    high: float | None = None
    reads: tuple[str, ...] = ()  # asset.column, of what the function reads that computes it


@dataclass(frozen=True)
class Source:
    """A data source. `first_event` is the day of its earliest row, where that could be read; `batch` names the table of a push source."""

    name: str
    kind: str
    path: str = ""
    about: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    time: str = ""
    created: str = ""
    batch: str = ""
    columns: tuple[Column, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    first_event: str | None = None


@dataclass(frozen=True)
class View:
    """A view of any kind. `inputs` are the views that it is made of, each with its features; `code` its own function."""

    name: str
    kind: str
    fingerprint: str
    about: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[Column, ...] = ()
    features: tuple[Column, ...] = ()
    entities: tuple[str, ...] = ()
    source: str = ""
    pushed_by: str = ""
    ttl_s: float | None = None
    is_online: bool = False
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requests: tuple[str, ...] = ()
    code: str = ""
    labeler: str = ""
    conflict_policy: str = ""


@dataclass(frozen=True)
class Service:
    """A feature service: its views with the features that it takes of each."""

    name: str
    fingerprint: str
    features: Mapping[str, tuple[str, ...]]
    about: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """A repository as it was when it was described. `files` are what it was read from, with their hashes."""

    project: str
    feast: str
    stores: Mapping[str, str]
    files: Mapping[str, str]
    sources: tuple[Source, ...] = ()
    views: tuple[View, ...] = ()
    services: tuple[Service, ...] = ()
    about: str = ""

    def source(self, name: str) -> Source | None:
        return next((source for source in self.sources if source.name == name), None)

    def view(self, name: str) -> View | None:
        return next((view for view in self.views if view.name == name), None)

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, sort_keys=True)


def from_json(text: str) -> Description:
    """The description that `to_json` wrote.

    Raises: ConfigurationError for the JSON of another version, or for none.
    """
    try:
        found: dict[str, Any] = json.loads(text)
        if found.pop("version") != VERSION:
            raise ValueError("another version")
        found["sources"] = tuple(Source(**{**s, "columns": _columns(s["columns"])}) for s in found["sources"])
        found["views"] = tuple(_view(view) for view in found["views"])
        found["services"] = tuple(Service(**{**s, "features": _tuples(s["features"])}) for s in found["services"])
        return Description(**found)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"the description of the Feast repository cannot be read: {error}") from error


def _view(said: dict[str, Any]) -> View:
    read = {name: tuple(said[name]) for name in ("entities", "requests")}
    columns = {name: _columns(said[name]) for name in ("keys", "features")}
    return View(**{**said, **read, **columns, "inputs": _tuples(said["inputs"])})


def _columns(said: list[dict[str, Any]]) -> tuple[Column, ...]:
    return tuple(Column(**{**column, "reads": tuple(column["reads"])}) for column in said)


def _tuples(said: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in said.items()}


def repository_files(repository: Path) -> dict[str, str]:
    """The repository's modules and settings, by path relative to it, with their SHA-256."""
    return {path.relative_to(repository).as_posix(): _digest(path) for path in _files(repository)}


def edited_files(description: Description, repository: Path) -> list[str]:
    """Files that were changed, added or removed since the description was written."""
    outside = {name: repository / name for name in description.files if name.startswith("..")}
    now = repository_files(repository) | {name: _digest(path) for name, path in outside.items() if path.is_file()}
    return sorted(name for name in {*now, *description.files} if now.get(name) != description.files.get(name))


def _files(repository: Path) -> Iterator[Path]:
    for path in sorted(repository.rglob("*.py")):
        if not _SKIPPED & set(path.relative_to(repository).parts):
            yield path
    for name in (YAML, ".feastignore"):
        if (repository / name).is_file():
            yield repository / name


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
