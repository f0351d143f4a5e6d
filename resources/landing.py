"""Where lines come from: the file that a state directory began with, files that arrived since, or the simulator."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from platform_assets.errors import ConfigurationError, ContractError, DataError, PerennialError
from platform_assets.science.source import Source
from resources.line_files import LineFile, manifest_of, raw_lines, read_file
from resources.source_folder import rulebook

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.intake import Rulebook
    from platform_assets.science.landing import Delivery
    from platform_assets.science.simulate import SimulatorConfig

ACCEPTED_FOLDER = "accepted"
ACCEPTED = re.compile(r"^(?P<at>\d{8}T\d{12}Z)_(?P<digest>[0-9a-f]{16})_(?P<name>.+)$")
STAMP = "%Y%m%dT%H%M%S%fZ"
SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Landed:
    """Lines of all deliveries that count, and how many each file gave."""

    lines: "pl.DataFrame"
    files: Mapping[str, Mapping[str, Any]]


class Landing(dg.ConfigurableResource):
    """Files of one source. `data` is the history's file; without it the simulator is the source.

    `folder` holds `landing/` (where files arrive), `accepted/` (those that became part of the source, in order of arrival) and
    `simulated/`.
    """

    data: str | None = Field(default=None, description="Parquet or CSV file of the history; simulated where left out")
    folder: str = Field(description="state directory")
    simulator: dict[str, Any] = Field(
        default_factory=dict, description="stores, skus, days, starts_on, seed, timezone, scenarios"
    )

    @property
    def arriving(self) -> Path:
        """Folder in which new files are laid."""
        return Path(self.folder) / "landing"

    @property
    def accepted(self) -> Path:
        """Folder of the files that were taken from it, never changed."""
        return Path(self.folder) / ACCEPTED_FOLDER

    def waiting(self) -> list[Path]:
        """Files in the landing folder, oldest first; hidden ones and manifests are not among them."""
        if not self.arriving.is_dir():
            return []
        files = [path for path in self.arriving.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
        return sorted((path for path in files if path.is_file()), key=lambda path: (path.stat().st_mtime_ns, path.name))

    def has(self, digest: str, source: Source) -> bool:
        """Whether a file of this content is part of the source."""
        if any(found["digest"] == digest[:16] for found in map(ACCEPTED.match, self._names()) if found):
            return True
        return read_file(self.history_file(source)).digest == digest

    def history_file(self, source: Source) -> Path:
        """The file of the history; a simulated one is made on first use.

        Raises: ConfigurationError where there is no file and the source cannot be simulated.
        """
        if self.data is not None:
            return Path(self.data)
        if not source.simulate:
            raise ConfigurationError(f"source {source.name} needs a file", hint="name it with DATA=path (--data)")
        return self._simulated(source)

    def lines(self, source: Source, *, now: datetime) -> Landed:
        """Every line that counts, of the history and of all accepted files, in order of day.

        Raises: DataError naming the file that is refused; nothing has been written then.
        """
        from platform_assets.science.landing import resolve

        book, deliveries = rulebook(source), []
        for path, arrived_at in self._files(source):
            deliveries.append(self._delivery(path, arrived_at, book, now))
        lines = resolve(deliveries, source)
        counts: dict[str, int] = dict(lines.group_by("file_digest").len().iter_rows())
        files = {
            delivery.name: {
                "rows": delivery.lines.height,
                "landed": counts.get(delivery.digest[:16], 0),
                "superseded": delivery.lines.height - counts.get(delivery.digest[:16], 0),
                "sha256": delivery.digest,
            }
            for delivery in deliveries
        }
        return Landed(lines, files)

    def accept(self, path: Path, source: Source, *, now: datetime) -> str:
        """Examine an arrived file against its contract and all files before it, and make it part of the source.

        Returns: its digest; where the very same file is part of the source already, nothing else happens.
        Raises: DataError naming the file that is refused.
        """
        from platform_assets.science.intake import examine

        file = read_file(path)
        if self.has(file.digest, source):
            return file.digest
        earlier = self.lines(source, now=now).lines
        examine(
            _raw(file, source),
            rulebook(source),
            file=file.name,
            digest=file.digest,
            is_text=file.is_text,
            today=_today(now),
            manifest=manifest_of(path),
            arrived_at=now,
            earlier=earlier,
        )
        self.accepted.mkdir(parents=True, exist_ok=True)
        stamps = [found["at"] for found in map(ACCEPTED.match, self._names()) if found]
        if (
            stamps and now.astimezone(UTC).strftime(STAMP) <= stamps[-1]
        ):  # a pinned clock stands still, the order must not
            now = datetime.strptime(stamps[-1], STAMP).replace(tzinfo=UTC) + timedelta(microseconds=1)
        kept = self.accepted / f"{now.astimezone(UTC).strftime(STAMP)}_{file.digest[:16]}_{file.name}"
        _keep(file, kept)
        return file.digest

    def plans(self, source: Source) -> "pl.DataFrame | None":
        """What the source announced: `<history>.plans.parquet` or `.csv` beside the history; None where there is nothing.

        Raises: SchemaError as for lines.
        """
        from platform_assets.science.contract import check_names
        from platform_assets.science.kinds import Column, typed

        if not source.plans:
            return None
        history = self.history_file(source)
        path = next(
            (p for suffix in SUFFIXES if (p := history.with_name(f"{history.stem}.plans{suffix}")).is_file()), None
        )
        if path is None:
            return None
        kinds: dict[str, Any] = dict.fromkeys(source.series, "key")
        role_kinds = {
            "target_on": "date",
            "announced_on": "date",
            "planned_price": "number",
            "is_planned_promotion": "boolean",
        }
        kinds |= {column: role_kinds[role] for role, column in source.plans.items()}
        columns = [Column(name, kind) for name, kind in kinds.items()]
        file = read_file(path)
        raw = _raw(file, source)
        check_names(file.name, raw.columns, columns)
        announced = typed(raw, columns, file.name, is_text=file.is_text, date_format=source.date_format)
        for name in (*source.series, source.plans["target_on"], source.plans["announced_on"]):
            if announced[name].null_count():
                row = int(announced[name].is_null().arg_max() or 0) + 1
                raise ContractError(f"{file.name}: column `{name}` is missing in row {row}: found nothing")
        return announced

    def _delivery(self, path: Path, arrived_at: datetime | None, book: "Rulebook", now: datetime) -> "Delivery":
        from platform_assets.science.intake import accepted_before, examine

        file = read_file(path)
        raw = _raw(file, book.source)
        if arrived_at is not None:
            return accepted_before(
                raw,
                book,
                file=path.name.split("_", 2)[2],
                digest=file.digest,
                is_text=file.is_text,
                arrived_at=arrived_at,
            )
        return examine(
            raw,
            book,
            file=file.name,
            digest=file.digest,
            is_text=file.is_text,
            today=_today(now),
            manifest=manifest_of(path),
        )

    def _files(self, source: Source) -> list[tuple[Path, datetime | None]]:
        """The history, then accepted files in order of arrival."""
        files: list[tuple[Path, datetime | None]] = [(self.history_file(source), None)]
        for name in self._names():
            found = ACCEPTED.match(name)
            if found is not None:
                files.append((self.accepted / name, datetime.strptime(found["at"], STAMP).replace(tzinfo=UTC)))
        return files

    def _names(self) -> list[str]:
        return sorted(os.listdir(self.accepted)) if self.accepted.is_dir() else []

    def _simulated(self, source: Source) -> Path:
        import hashlib

        from platform_assets.science.simulate import simulate

        config = simulator_config({**source.simulate, **self.simulator})
        folder = Path(self.folder) / "simulated"
        path = folder / f"world-{hashlib.sha256(repr(config).encode()).hexdigest()[:12]}.parquet"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            world = simulate(config)
            for frame, target in ((world.plans, path.with_name(f"{path.stem}.plans.parquet")), (world.lines, path)):
                temporary = target.with_name(f".{target.name}.{os.getpid()}")
                frame.write_parquet(temporary)
                _settle(temporary, target)
        return path


def simulator_config(stated: Mapping[str, Any]) -> "SimulatorConfig":
    """The simulated world, from plain values such as defs.yaml has.

    Raises: ConfigurationError for an unknown name.
    """
    from platform_assets.science.simulate import Scenario, SimulatorConfig

    values, days = dict(stated), ("onset_on", "ends_on")
    if "starts_on" in values:
        values["starts_on"] = date.fromisoformat(str(values["starts_on"]))
    try:
        values["scenarios"] = tuple(
            Scenario(one["name"], *(date.fromisoformat(str(one[key])) for key in days if one.get(key)))
            for one in values.get("scenarios", ())
        )
        return SimulatorConfig(**values)
    except TypeError as error:
        raise ConfigurationError(
            f"simulator: {error}", hint=f"known: {sorted(SimulatorConfig.__dataclass_fields__)}"
        ) from error


def record_refusal(ledger: Any, source: Source, path: str | Path, error: PerennialError, *, now: datetime) -> None:
    """Keep in the ledger that a file was refused, and why; once for the same file and reason."""
    try:
        digest = read_file(Path(path)).digest
    except DataError:
        digest = ""  # there is nothing to hash
    name = Path(path).name
    if not any((r.file, r.sha256, r.reason) == (name, digest, str(error)) for r in ledger.refusals(source.name)):
        ledger.record_refusal(source.name, name, sha256=digest, reason=str(error), at=now)


def _raw(file: LineFile, source: Source) -> "pl.DataFrame":
    return raw_lines(file, source.delimiter)


def _today(now: datetime) -> date:
    # A pinned clock may stand within a history that reaches further; a zone may be a day ahead.
    return (max(now, datetime.now(tz=UTC)) + timedelta(hours=14)).date()


def _keep(file: LineFile, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(file.content)
    _settle(temporary, target)


def _settle(temporary: Path, target: Path) -> None:
    """Rename after the bytes are on the disk: after a kill there is the whole file, or none of that name."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, target)
