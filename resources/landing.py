"""Where lines and plans come from: the file that a state directory began with, files that arrived since, or the simulator."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.errors import ConfigurationError, DataError
from platform_assets.science.source import Source
from resources.artifacts import Artifacts
from resources.kept_files import ARRIVING_FOLDER, Accepted, KeptFiles
from resources.line_files import SUFFIXES, LineFile, check_end, manifest_digest, raw_lines, read_file
from resources.plan_files import is_plans, read_plans
from resources.prepared import Prepared, PreparedFile
from resources.refusals import rules_digest
from resources.simulated_history import simulated_history
from resources.source_folder import rulebook
from resources.table_ranges import Between

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.intake import Rulebook


@dataclass(frozen=True)
class LandedFile:
    """How many lines a file has, and how many of them no later file supersedes. The digest may be its first 16 digits."""

    name: str
    digest: str
    arrived_at: datetime | None
    rows: int
    landed: int


@dataclass(frozen=True)
class Landed:
    """Lines of all deliveries that count, and the files that they came in."""

    lines: "pl.DataFrame"
    files: tuple[LandedFile, ...]


@dataclass(frozen=True)
class Landing:
    """Files of one source. `data` is the history's file; without it the simulator is the source.

    `files` holds `landing/` (where files arrive), `accepted/` (those that became part of the source, in order of arrival) and
    `landed/` (their lines, read); it is `folder`, the state directory, where left out. `simulator` are the simulated world's
    values that differ from the source's.
    """

    folder: str
    data: str | None = None
    simulator: Mapping[str, Any] = field(default_factory=dict)
    files: Artifacts | None = None

    @cached_property
    def kept(self) -> KeptFiles:
        """Where files arrive and are kept."""
        return KeptFiles(self.files or Artifacts(self.folder))

    @property
    def arriving(self) -> str:
        """Folder in which new files are laid."""
        return self.kept.store.uri(ARRIVING_FOLDER)

    def has(self, digest: str, source: Source) -> bool:
        """Whether a file of this content is part of the source."""
        if any(file.digest == digest[:16] for file in self.kept.accepted()):
            return True
        return self.is_history(digest, source)

    def is_history(self, digest: str, source: Source) -> bool:
        """Whether this is the content of the history's file."""
        path = self.history_file(source)
        with _blaming(path):
            state = path.stat() if path.is_file() else None
            return _digest_of(path, state and state.st_mtime_ns) == digest

    def history_file(self, source: Source) -> Path:
        """The file of the history; a simulated one is made on first use.

        Raises: ConfigurationError where there is no file and the source cannot be simulated.
        """
        if self.data is not None:
            return Path(self.data)
        if not source.simulate:
            raise ConfigurationError(f"source {source.name} needs a file", hint="name it with DATA=path (--data)")
        return simulated_history({**source.simulate, **self.simulator}, Path(self.folder) / "simulated")

    def lines(
        self, source: Source, *, now: datetime, between: Between | None = None, without: frozenset[str] = frozenset()
    ) -> Landed:
        """Every line that counts, of the history and of all accepted files but `without` (digests), in order of day.

        With `between` of these periods alone, and the files that have any. A file that is read for the first time, or for
        the first time under these rules, is examined; later it is only looked up.
        Raises: DataError for the file that is refused, blaming it; nothing has been written then.
        """
        import polars as pl

        from platform_assets.science.landing import Delivery, resolve

        inside = pl.lit(value=True)
        if between is not None:
            inside = (pl.col("period_on") >= between[0]) & (pl.col("period_on") < between[1])
        deliveries = []
        for file in self._prepared(source, now):
            if file.digest[:16] not in without:
                rows = file.lines.filter(inside).collect()
                if rows.height or not deliveries:
                    deliveries.append(Delivery(file.name, file.digest, rows, file.arrived_at))
        lines = resolve(deliveries, source)
        counts: dict[str, int] = dict(lines.group_by("file_digest").len().iter_rows())
        files = tuple(
            LandedFile(one.name, one.digest, one.arrived_at, one.lines.height, counts.get(one.digest[:16], 0))
            for one in deliveries
        )
        return Landed(lines, files)

    def span(self, source: Source, *, now: datetime) -> tuple[date, date]:
        """First and last period of all files."""
        import polars as pl

        period = pl.col("period_on")
        ends = [
            file.lines.select(a=period.min(), b=period.max()).collect().row(0) for file in self._prepared(source, now)
        ]
        return min(first for first, _ in ends), max(last for _, last in ends)

    def accept(self, where: str | Path, source: Source, *, now: datetime, between: Between | None = None) -> str:
        """Examine an arrived file against its contract and all files before it, and make it part of the source.

        Returns: its digest; where the very same file is part of the source already, nothing else happens.
        Raises: DataError for the file that is refused, blaming it; ConfigurationError where it has periods that are not
        `between`, which would not be written.
        """
        from platform_assets.science.intake import examine

        with _blaming(where):
            file = self.kept.read(where)
        if self.has(file.digest, source):
            return file.digest
        if is_plans(file.name):
            with _blaming(where):
                read_plans(file, source)
        else:
            earlier = self._earlier(source, now)
            with _blaming(where):
                manifest = self.kept.manifest(where)
                check_end(file, manifest)
                delivery = examine(
                    raw_lines(file, source.delimiter),
                    rulebook(source),
                    file=file.name,
                    digest=file.digest,
                    is_text=file.is_text,
                    today=_today(now),
                    manifest=manifest,
                    arrived_at=now,
                    earlier=earlier,
                )
            _check_inside(delivery.lines, file.name, between)
            self._cache(source).lines(file.digest[:16], lambda: delivery.lines)
        self.kept.keep(file, now)
        return file.digest

    def plans(self, source: Source) -> "list[tuple[pl.DataFrame, datetime | None]]":
        """What the source announced, a frame for each file with its arrival (None beside the history), in order.

        It lies beside the history as `<history>.plans.parquet` or `.csv`, and in accepted files that are named so.
        Raises: SchemaError as for lines.
        """
        if not source.plans:
            return []
        history = self.history_file(source)
        beside = (history.with_name(f"{history.stem}.plans{suffix}") for suffix in SUFFIXES)
        first = [(str(path), None) for path in beside if path.is_file()][:1]
        later = [(file.where, file.arrived_at) for file in self.kept.accepted() if is_plans(file.name)]
        said: list[tuple[pl.DataFrame, datetime | None]] = []
        for where, arrived_at in [*first, *later]:
            with _blaming(where):
                said.append((read_plans(self.kept.read(where), source), arrived_at))
        return said

    # --- files, read

    def _prepared(self, source: Source, now: datetime) -> Iterator[PreparedFile]:
        """The history, then accepted files of lines in order of arrival."""
        cache, book, history = self._cache(source), rulebook(source), self.history_file(source)
        with _blaming(history):
            file, manifest = read_file(history), self.kept.manifest(history)
            # What a manifest vouches for is another verdict.
            name = file.digest[:16] if manifest is None else f"{file.digest[:16]}-{manifest_digest(manifest)}"
            lines = cache.lines(name, lambda: self._examined(file, book, now, manifest))
        yield PreparedFile(file.name, file.digest, None, lines)
        for kept in self.kept.accepted():
            if not is_plans(kept.name):
                with _blaming(kept.where):
                    lines = cache.lines(kept.digest, lambda kept=kept: self._accepted_lines(kept, book))
                yield PreparedFile(kept.name, kept.digest, kept.arrived_at, lines)

    def _examined(
        self, file: LineFile, book: "Rulebook", now: datetime, manifest: Mapping[str, Any] | None
    ) -> "pl.DataFrame":
        from platform_assets.science.intake import examine

        check_end(file, manifest)
        raw = raw_lines(file, book.source.delimiter)
        is_text, today = file.is_text, _today(now)
        return examine(
            raw, book, file=file.name, digest=file.digest, is_text=is_text, today=today, manifest=manifest
        ).lines

    def _accepted_lines(self, kept: Accepted, book: "Rulebook") -> "pl.DataFrame":
        from platform_assets.science.intake import accepted_before

        file = self.kept.read(kept.where)
        return accepted_before(
            raw_lines(file, book.source.delimiter),
            book,
            file=kept.name,
            digest=file.digest,
            is_text=file.is_text,
            arrived_at=kept.arrived_at,
        ).lines

    def _earlier(self, source: Source, now: datetime) -> "pl.DataFrame":
        """Lines that count before an arrival, with the columns that it is compared by."""
        import polars as pl

        measured = [source.columns[role] for role in ("units", "price") if role in source.columns]
        columns = list(dict.fromkeys([*source.series, *measured, "day_on", "period_on"]))
        standing: list[pl.DataFrame] = []
        replaced = pl.Series("day_on", [], dtype=pl.Date)
        for file in reversed(list(self._prepared(source, now))):
            rows = file.lines.select(columns).collect()
            standing.append(rows.filter(~pl.col("day_on").is_in(replaced.implode())) if len(replaced) else rows)
            replaced = pl.concat([replaced, rows["day_on"].unique()]).unique()
        return pl.concat(standing[::-1])

    def _cache(self, source: Source) -> Prepared:
        return Prepared(self.kept.store, rules_digest(source))


@contextmanager
def _blaming(where: str | Path) -> Iterator[None]:
    """Say where the file lies that an error is about, unless somebody nearer to it has."""
    try:
        yield
    except DataError as error:
        error.file = error.file or str(where)
        raise


def _check_inside(lines: "pl.DataFrame", name: str, between: Between | None) -> None:
    first, last = lines["period_on"].min(), lines["period_on"].max()
    if between is not None and not (between[0] <= first and last < between[1]):  # pyright: ignore[reportOperatorIssue]
        raise ConfigurationError(
            f"{name}: lines from {first} to {last}, this run writes {between[0]} to {between[1] - timedelta(days=1)} only",
            hint="materialize all months of the file in one run, as the arrival sensor asks for them",
        )


@lru_cache(maxsize=4)
def _digest_of(path: Path, _modified_ns: int | None) -> str:
    return read_file(path).digest


def _today(now: datetime) -> date:
    # A pinned clock may stand within a history that reaches further; a zone may be a day ahead.
    return (max(now, datetime.now(tz=UTC)) + timedelta(hours=14)).date()
