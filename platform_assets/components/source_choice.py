"""Which source a file belongs to, and the days that it spans; asked before definitions load."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.components.source_window import SourceWindow
from platform_assets.errors import ConfigurationError, ContractError, DataError, EmptyFrameError, SchemaError
from platform_assets.science.source import Source

if TYPE_CHECKING:
    from resources.line_files import LineFile

ALIKE = 0.7  # of the columns of a file and a source together stand in both


def source_facts(folder: Path) -> Source:
    """The source of a folder of defs/data, read from its defs.yaml.

    Raises: ConfigurationError naming the file.
    """
    import yaml
    from pydantic import ValidationError

    from platform_assets.components.sales_source import SalesSource

    file = folder / "defs.yaml"
    try:
        stated: Any = yaml.safe_load(file.read_text())
        return SalesSource.model_validate(stated["attributes"]).source(folder.name, folder)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise ConfigurationError(f"{file}: {error}", hint="`dg check defs` names the line") from error


def recognise(data: Path, known: Mapping[str, Path]) -> str:
    """Name of the one source whose columns the file has; `known` maps names to folders.

    A file that has nearly a source's columns is that source's too, so that it is refused there, column by column.

    Raises: SchemaError where no source has them, with what the closest would miss, or where several have.
    """
    from resources.line_files import column_names, read_file, sniff_delimiter
    from resources.source_folder import rulebook

    file, fits, unread, alike = read_file(data), [], [], dict[str, float]()
    apart: dict[str, tuple[list[str], list[str]]] = {}  # source to the columns that the file lacks and has more
    for name, folder in known.items():
        try:
            source = source_facts(folder)
            declared = {column.name: column.is_required for column in rulebook(source).columns}
            found = column_names(file, source.delimiter)
        except ConfigurationError as error:  # of this source
            unread.append(f"\n  {name} cannot be read: {error.message}")
            continue
        except SchemaError:  # in its delimiter
            continue
        missing = [column for column, is_required in declared.items() if is_required and column not in found]
        unknown = [column for column in found if column not in declared]
        if not missing and not unknown:
            fits.append(name)
        alike[name] = len(set(found) & set(declared)) / len(set(found) | set(declared))
        apart[name] = missing, unknown
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise SchemaError(
            f"{data}: columns fit several sources: {', '.join(fits)}", hint="name one with SOURCE= (--source)"
        )
    if alike and (best := max(alike, key=lambda name: alike[name])) and alike[best] >= ALIKE:
        return best
    has = column_names(file, sniff_delimiter(file))
    raise SchemaError(
        f"{data}: its columns fit no source{_closest(has, apart, [name for name in known if name not in apart])}{''.join(unread)}",
        hint="scaffold a source for it (README, Your own sales), or name one with SOURCE= (--source)",
    )


def _closest(has: list[str], apart: Mapping[str, tuple[list[str], list[str]]], others: list[str]) -> str:
    """The source that differs in the fewest columns, in a few lines; the others by their names."""
    ranked = sorted(apart, key=lambda name: sum(map(len, apart[name])))
    lines = [f"  it has:        {', '.join(has)}"]
    if ranked:
        missing, unknown = apart[ranked[0]]
        lines += [f"  that lacks:    {', '.join(missing)}"] if missing else []
        lines += [f"  and has more:  {', '.join(unknown)}"] if unknown else []
    if far := sorted([*ranked[1:], *others]):
        lines.append(f"  {len(far)} other source{'s are' if len(far) > 1 else ' is'} further away: {', '.join(far)}")
    return "\n".join([f"; the closest is {ranked[0]}" if ranked else "", *lines])


def date_range(data: Path | None, source: Source, *, state: Path | None = None) -> tuple[date, date]:
    """First and last local day of a file's lines, or of the simulated world where there is no file.

    With `state`, of the files that arrived in that state directory too.
    Raises: DataError where the file cannot be read as this source's, naming column, row and value.
    """
    from resources.kept_files import ACCEPTED_FOLDER
    from resources.line_files import check_end, manifest_of, read_file
    from resources.plan_files import is_plans
    from resources.simulated_history import simulator_config

    accepted = [] if state is None else sorted((state / ACCEPTED_FOLDER).glob("[!.]*"))
    if arrived := [path for path in accepted if not is_plans(path.name)]:
        ranges = [date_range(data, source), *(dates_of(read_file(path), source) for path in arrived)]
        return min(first for first, _ in ranges), max(last for _, last in ranges)
    if data is None:
        if not source.simulate:
            raise ConfigurationError(f"source {source.name} needs a file", hint="name it with DATA=path (--data)")
        config = simulator_config(source.simulate)
        return config.starts_on, config.ends_on - timedelta(days=1)
    file = read_file(data)
    check_end(file, manifest_of(data))
    return dates_of(file, source)


def dates_of(file: "LineFile", source: Source) -> tuple[date, date]:
    """First and last local day of a file's lines.

    Raises: DataError as `date_range`.
    """
    from platform_assets.science.contract import check_names
    from platform_assets.science.kinds import typed
    from platform_assets.science.landing import check_dates, place
    from resources.line_files import raw_lines
    from resources.source_folder import rulebook

    book = rulebook(source)
    raw = raw_lines(file, source.delimiter)
    check_names(file.name, raw.columns, book.columns)
    if raw.is_empty():
        raise SchemaError(f"{file.name}: a header and no rows", hint="was the export cut off?")
    when = [column for column in book.columns if column.name == source.when]
    lines = place(
        typed(raw.select(source.when), when, file.name, is_text=file.is_text, date_format=source.date_format),
        source,
        book.instant,
    )
    check_dates(lines, source, file.name, today=(datetime.now(tz=UTC) + timedelta(hours=14)).date())
    days = lines["period_on"]
    first, last = days.min(), days.max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    return first, last + timedelta(days=source.period_days - 1)


def arriving_months(file: "LineFile", source: Source, window: SourceWindow) -> tuple[list[str], tuple[date, date]]:
    """Keys of the months that a file of lines or plans changes, and its first and last day; of plans those of announcements.

    With weeks added up from days, the month of the week before them changes too.
    Raises: DataError as `date_range`, and for lines before the source's first month; ConfigurationError where the graph has
    no such month yet.
    """
    from resources.plan_files import is_plans, read_plans

    keys = window.partitions.get_partition_keys()
    if is_plans(file.name):
        said = read_plans(file, source)[source.plans["announced_on"]]
        if said.is_empty():
            raise EmptyFrameError(f"{file.name}: a header and no rows", hint="was the export cut off?")
        first, last = (max(day, window.starts_on) for day in (said.min(), said.max()))  # pyright: ignore[reportArgumentType]
        days = first, last
    else:
        first, last = days = dates_of(file, source)
        if source.dated == "day" and source.frequency == "week":
            first -= timedelta(days=7)
        last -= timedelta(days=source.period_days - 1)
        if f"{days[0]:%Y-%m}" < keys[0][:7]:
            raise ContractError(
                f"{file.name}: lines from {days[0]} on, the source begins in {keys[0][:7]}: no day before its first month",
                hint="give the longer history a state directory of its own",
            )
    wanted = [key for key in keys if f"{first:%Y-%m}" <= key[:7] <= f"{last:%Y-%m}"]
    if not wanted or wanted[-1][:7] != f"{last:%Y-%m}":
        raise ConfigurationError(
            f"{file.name}: {first} to {last}, the graph has the months {keys[0]} to {keys[-1]}",
            hint="a source whose defs.yaml says `ended: true` takes no later days; a pinned clock (PERENNIAL_NOW) must move on first",
        )
    return wanted, days


def recorded_date_range(data: Path | None, source: Source, *, state: Path) -> tuple[date, date]:
    """`date_range`; a file that is refused here stands in the ledger of the state directory, which is made if need be.

    Raises: DataError as `date_range`.
    """
    from resources.ledger import Ledger
    from resources.refusals import record_refusal

    try:
        return date_range(data, source, state=state)
    except DataError as error:
        if data is not None:
            state.mkdir(parents=True, exist_ok=True)
            ledger = Ledger(f"sqlite:///{state / 'ledger.db'}")
            record_refusal(ledger, source, data, error, now=datetime.now(tz=UTC))
            ledger.close()
        raise
