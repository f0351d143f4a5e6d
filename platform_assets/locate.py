"""Which state directory, source and file a command means."""

import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from platform_assets.definitions import PROJECT, component_tree
from platform_assets.errors import ConfigurationError
from resources.deployment import Settings
from resources.kept_files import ARRIVING_FOLDER

STATES = PROJECT / ".state"
SIMULATOR = "simulator"


@dataclass(frozen=True)
class Pin:
    """`source.json` of a state directory: one source and one file per state, and the days that it spans."""

    source: str
    data: str | None
    starts_on: date
    ends_on: date

    def to_json(self) -> str:
        return json.dumps(
            {**self.__dict__, "starts_on": self.starts_on.isoformat(), "ends_on": self.ends_on.isoformat()}, indent=1
        )

    @classmethod
    def read(cls, state: Path) -> "Pin | None":
        file = state / "source.json"
        if not file.exists():
            return None
        found: dict[str, Any] = json.loads(file.read_text())
        return cls(
            found["source"], found["data"], date.fromisoformat(found["starts_on"]), date.fromisoformat(found["ends_on"])
        )


def choose(*, data: Path | None, source: str | None, state: Path | None) -> Settings:
    """Settings for a demo on this file; pins the state directory to its source.

    Raises: ConfigurationError where the state belongs to another source or file.
    """
    from platform_assets.components.source_choice import recorded_date_range, source_facts

    source, folder = _folder(data, source, state)
    wanted = str(data.resolve()) if data is not None else None
    _refuse_other(Pin.read(folder), folder, source, wanted)
    starts_on, ends_on = recorded_date_range(data, source_facts(_sources()[source]), state=folder)
    pin = Pin(source, wanted, starts_on, ends_on)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "source.json", pin.to_json())
    STATES.mkdir(exist_ok=True)
    _write(STATES / "current", str(folder.resolve()))
    return Settings.local(folder.resolve(), source, Path(wanted) if wanted else None, window=(starts_on, ends_on))


def made(*, data: Path | None, source: str | None, state: Path | None) -> Path | None:
    """The state directory that a demo on this file has made, None where none has; writes nothing.

    Raises: ConfigurationError where the state named belongs to another source or file than those named.
    """
    if state is not None and data is None and source is None:
        return state if Pin.read(state) else None
    source, folder = _folder(data, source, state)
    pin = Pin.read(folder)
    _refuse_other(pin, folder, source, str(data.resolve()) if data is not None else None)
    return folder if pin else None


def _sources() -> dict[str, Path]:
    folders = (component_tree().defs_module_path / "data").glob("*/defs.yaml")
    return {path.parent.name: path.parent for path in sorted(folders)}


def _folder(data: Path | None, source: str | None, state: Path | None) -> tuple[str, Path]:
    """Source and state directory that these name; the source told from the file where it is not named."""
    from platform_assets.components.source_choice import recognise

    known = _sources()
    if source is not None and source not in known:
        raise ConfigurationError(f"no source {source!r} in platform_assets/defs/data; known: {', '.join(known)}")
    if data is not None and not data.exists():
        raise ConfigurationError(f"{data}: no such file", hint="DATA= takes a path relative to the current directory")
    if source is None:
        source = SIMULATOR if data is None else recognise(data, known)
    return source, state or STATES / (source if data is None else f"{source}-{data.resolve().stem}")


def _refuse_other(pin: Pin | None, folder: Path, source: str, wanted: str | None) -> None:
    if pin is not None and (pin.source, pin.data) != (source, wanted):
        raise ConfigurationError(
            f"{folder} belongs to source {pin.source} ({pin.data or 'simulated'}), not to {source} ({wanted or 'simulated'})",
            hint=_apart(pin, folder, source, wanted),
        )


def _apart(pin: Pin, folder: Path, source: str, wanted: str | None) -> str:
    own = "give this data a state directory of its own with STATE=path (--state)"
    if pin.source != source or pin.data is None or wanted is None:
        return own
    return f"newer lines, a grown file too, belong into {folder / ARRIVING_FOLDER}, which `make dev` watches; for another history {own}"


def current(state: Path | None) -> Settings:
    """Settings of a state directory that exists: the one named, or the last demo's."""
    pointer = STATES / "current"
    if state is None and not pointer.exists():
        raise ConfigurationError("no state directory yet", hint="run `make demo`, or name one with --state")
    folder = (state or Path(pointer.read_text())).resolve()
    pin = Pin.read(folder)
    if pin is None:
        raise ConfigurationError(
            f"{folder} is no state directory: it has no source.json", hint="run `make demo`, or name one with --state"
        )
    return Settings.local(folder, pin.source, Path(pin.data) if pin.data else None, window=(pin.starts_on, pin.ends_on))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)
