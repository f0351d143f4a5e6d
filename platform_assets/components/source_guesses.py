"""What the columns of a sample file seem to be, from their names and values."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from platform_assets.components.source_dates import (
    date_formats,
    days,
    filled,
    first,
    how_to_date,
    is_timelike,
    is_weekly,
    misfit_of_time,
    no_day,
    one_format,
    shown,
)
from platform_assets.components.source_series import (
    LEAST_PERIODS,
    Sizes,
    able_to_be_series,
    ask_for_series,
    doubled,
    no_series,
    numbered_series,
    series_columns,
    sizes,
)
from platform_assets.components.source_units import ask_for_units, units_by_name, units_by_values
from platform_assets.components.source_words import ENDS, GUESSES, UNSURE, folded, is_counted, words
from platform_assets.errors import SchemaError

if TYPE_CHECKING:
    import polars as pl

FITTING: Mapping[str, set[str]] = {
    "units": {"integer", "number"},
    "price": {"integer", "number"},
    "stock": {"integer", "number"},
    "sold_on": {"date"},
    "sold_at": {"instant", "local_time"},
    "is_promoted": {"boolean", "integer"},
    "ticket": {"text", "integer"},
}
TIMES = ("sold_on", "sold_at")


class Named(BaseModel):
    """What the user has said: columns of roles, and how dates are written."""

    units: str | None = None
    date: str | None = None
    series: list[str] = []
    date_format: str | None = None


class Guess(BaseModel):
    """What a sample file's columns seem to be."""

    columns: dict[str, str] = {}
    series: list[str] = []
    extra: dict[str, str] = {}
    is_weekly: bool = False
    is_one_line_per_period: bool = False
    has_naive_times: bool = False
    date_format: str | None = None
    delimiter: str = ","
    sizes: str = ""
    notes: list[str] = []

    @property
    def dated(self) -> str:
        """What the date of a weekly sum is: the week's last day where its name says so, else the first."""
        return "end" if words(self.columns.get("sold_on", "")) & ENDS else "start"

    def told(self) -> list[str]:
        """What was taken for what, one line each."""
        shape = {"sold_on": f" ({self.date_format})" if self.date_format else ""}
        lines = [f"  {role:<9} {column}{shape.get(role, '')}" for role, column in self.columns.items()]
        lines += [f"  {'series':<9} {', '.join(self.series)}: {self.sizes}"]
        if self.is_weekly:
            day, other, say = ("first", "last", "end") if self.dated == "start" else ("last", "first", "start")
            said = f"weeks, each named by its {day} day; where the date is the {other} one, say `dated: {say}` in defs.yaml"
            lines += [f"  {'periods':<9} {said}"]
        else:
            lines += [f"  {'periods':<9} days"]
        lines += [f"  {'the rest':<9} {', '.join(self.extra)}: not read as sales"] if self.extra else []
        return lines + [f"  {'note':<9} {note}" for note in self.notes]


def guess(sample: Path, named: Named | None = None) -> Guess:
    """Roles, series and kinds of a sample's columns, as named, else from names and values; a person must look.

    Raises: SchemaError where the file cannot be opened, has no column of a name, or where no column can be a day or a
    series, or none or several can be units, or where dates read in two ways: what cannot be told is asked for, since a
    source that lacks a role would keep all others from loading, and a wrong one would be forecast.
    """
    named = named or Named()
    from resources.line_files import raw_lines, read_file, sniff_delimiter

    file = read_file(sample)
    delimiter = sniff_delimiter(file)
    raw = raw_lines(file, delimiter)
    formats = {name: found for name in raw.columns if (found := _formats(raw[name], named, is_text=file.is_text))}
    kinds = {name: "date" if name in formats else _kind(raw[name]) for name in raw.columns}
    roles = _roles(file.name, raw, kinds, named)
    day = roles.get("sold_on")
    date_format = one_format(file.name, raw, day, formats)
    if named.date_format not in {None, date_format}:
        found = misfit_of_time(raw[day or roles["sold_at"]], named.date_format)
        said = (
            found
            or f"column `{day or roles['sold_at']}` holds days or times, not text: --date-format says nothing of it"
        )
        raise SchemaError(f"{file.name}: {said}", hint=how_to_date(has_format=True))

    free = [name for name in raw.columns if name not in roles.values()]
    chosen = named.series or series_columns(raw, kinds, free)
    if "units" not in roles and (units := units_by_values(raw, kinds, [n for n in free if n not in chosen])):
        roles["units"] = units
        free.remove(units)
    chosen = chosen or numbered_series(raw, kinds, free)
    same = {} if named.series else doubled(raw, chosen)
    series = [name for name in chosen if name not in same]
    if not series:
        raise no_series(file.name, raw, free, shown(raw, kinds))
    if "units" not in roles:
        raise ask_for_units(file.name, raw, kinds, series, shown(raw, kinds))
    periods = days(raw[day].cast(_text()), date_format) if day else _local_days(raw[roles["sold_at"]])
    counted = sizes(raw, series, periods)
    if counted.is_hopeless and not named.series:
        raise ask_for_series(file.name, raw, series, counted, able_to_be_series(raw, kinds, free))
    weekly = day is not None and is_weekly(periods)
    return Guess(
        columns={role: roles[role] for role in ("units", *GUESSES) if role in roles},
        series=series,
        extra={name: _extra_kind(raw[name], kinds, formats, date_format) for name in free if name not in series},
        is_weekly=weekly,
        is_one_line_per_period=weekly and not counted.is_repeated,
        has_naive_times=kinds.get(roles.get("sold_at", "")) == "local_time",
        date_format=date_format,
        delimiter=delimiter,
        sizes=counted.said(),
        notes=_notes(same, counted, roles["units"], date_format, is_weekly=weekly),
    )


def _roles(file: str, raw: "pl.DataFrame", kinds: Mapping[str, str], named: Named) -> dict[str, str]:
    """Role to column: what the user says, else by name, and the day by its values too.

    Raises: SchemaError where no column can be the day, or where a named column cannot be what it is named for.
    """
    roles = _said_roles(file, raw, named, kinds)
    low = {folded(name): name for name in reversed(raw.columns)}
    by_name = {**GUESSES, "sold_on": (*GUESSES["sold_on"], *GUESSES["sold_at"])}
    for role, spellings in by_name.items():
        if role in roles or (role in TIMES and set(TIMES) & set(roles) and named.date):
            continue
        free = [name for name in raw.columns if name not in {*roles.values(), *named.series}]
        names = (low[spelling] for spelling in spellings if spelling in low)
        fitting = (name for name in names if name in free and kinds[name] in FITTING[role])
        found = units_by_name(raw, kinds, free) if role == "units" else next(fitting, None)
        roles |= {} if found is None else {role: found}
    free = [name for name in raw.columns if name not in {*roles.values(), *named.series}]
    if not set(TIMES) & set(roles):
        roles |= dict([(role, name) for role in TIMES for name in free if kinds[name] in FITTING[role]][:1])
    if not set(TIMES) & set(roles):
        raise no_day(file, raw, kinds, free, named.date_format)
    if set(TIMES) <= set(roles):
        del roles["sold_at"]
    return roles


def _said_roles(file: str, raw: "pl.DataFrame", named: Named, kinds: Mapping[str, str]) -> dict[str, str]:
    """Roles of the columns that the user names.

    Raises: SchemaError where the file has no such column, or one of another kind.
    """
    roles: dict[str, str] = {}
    for name in [named.units, named.date, *named.series]:
        if name is not None and name not in kinds:
            near = difflib.get_close_matches(name, kinds, 1)
            hint = f"did you mean {json.dumps(near[0])}?" if near else None
            raise SchemaError(f"{file}: no column `{name}`; columns: {', '.join(kinds)}", hint=hint)
    if wrong := next((name for name in named.series if is_timelike(raw[name]) or kinds[name] == "date"), None):
        raise SchemaError(
            f"{file}: column `{wrong}` holds days or times, such as {first(raw[wrong])}, and cannot make a series",
            hint="name columns that come again in every period, such as a product and a store",
        )
    for name, choices in ((named.units, ("units",)), (named.date, TIMES)):
        if name is None:
            continue
        role = next((role for role in choices if kinds[name] in FITTING[role]), None)
        if role is None:
            if name == named.date and (found := misfit_of_time(raw[name], named.date_format)):
                raise SchemaError(f"{file}: {found}", hint=how_to_date(has_format=named.date_format is not None))
            fitting = sorted(set().union(*(FITTING[role] for role in choices)))
            raise SchemaError(f"{file}: column `{name}` is {kinds[name]}, expected {' or '.join(fitting)}")
        roles[role] = name
    if twice := next((name for name in named.series if name in roles.values()), None):
        raise SchemaError(f"{file}: column `{twice}` cannot both make a series and play another role")
    return roles


def _formats(cells: "pl.Series", named: Named, *, is_text: bool) -> list[str]:
    """The format that the user says, where it reads the whole column, else those that do."""
    said = named.date_format
    if said is None or cells.dtype != _text() or named.date not in {None, cells.name}:
        return date_formats(cells, is_text=is_text)
    known = filled(cells)
    return [said] if len(known) and not days(known, said).null_count() else []


def _extra_kind(
    cells: "pl.Series", kinds: Mapping[str, str], formats: Mapping[str, list[str]], date_format: str | None
) -> str:
    """Kind of a column that only lands; a date in another shape than the source's stays text."""
    kind = kinds[cells.name]
    if kind != "date" or cells.dtype != _text():
        return kind
    return "date" if date_format in formats.get(cells.name, [None]) else "text"


def _notes(
    same: Mapping[str, str], counted: Sizes, units: str, date_format: str | None, *, is_weekly: bool
) -> list[str]:
    from platform_assets.science.kinds import has_clock

    notes = [f"`{name}` says the same as `{other}`: one of the two is enough" for name, other in same.items()]
    if words(units) & UNSURE and not is_counted(units):
        notes += [f"`{units}` is taken as a number of units; where it is money, what is forecast is money"]
    if has_clock(date_format):
        notes += ["the time of day is not kept; where equal lines are sales of their own, say `duplicates: keep`"]
    if counted.is_hopeless:
        notes += ["nearly every series has a single line: nothing can be learned from those"]
    elif counted.rows > LEAST_PERIODS and counted.periods < LEAST_PERIODS:
        notes += [
            f"most series have lines in fewer than {LEAST_PERIODS} periods; fewer columns in --series make longer ones"
        ]
    if is_weekly and counted.is_repeated:
        notes += ["a series has several lines in a week: they are added up"]
    return notes


def _local_days(cells: "pl.Series") -> "pl.Series":
    return days(cells.cast(_text()).str.strip_chars().str.slice(0, 10), None)


def _text() -> "type[pl.String]":
    import polars as pl

    return pl.String


def _kind(cells: "pl.Series") -> str:
    import polars as pl

    from platform_assets.science.kinds import DTYPES, parse, widen
    from platform_assets.science.source import Kind

    known = filled(cells)
    order: tuple[Kind, ...] = ("integer", "number", "boolean", "date", "instant", "local_time")
    for kind in order:
        read = parse(known, kind, None) if known.dtype == pl.String else widen(known, kind)
        if read is not None and read.dtype == DTYPES[kind] and len(known) and not read.null_count():
            return kind
    return "text"
