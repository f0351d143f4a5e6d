"""How a column of a sample reads as days or times, and which row keeps it from being read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform_assets.errors import SchemaError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.source import Kind

DAYS = (
    *("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d-%b-%Y", "%d %b %Y", "%d/%b/%Y", "%b %d, %Y", "%d-%B-%Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%m-%d-%y", "%d-%m-%y"),
)
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
STAMPED = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d-%b-%Y", "%m/%d/%y", "%d/%m/%y")
FORMATS = (*DAYS, *(f"{day} {clock}" for day in STAMPED for clock in CLOCKS))
YEARS = (1900, 2100)  # outside, a number was taken for a year
TIME_OF_DAY = r"(?i)^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?$"
MOSTLY = 0.6  # of the cells; a column that reads so far is one of times, whatever spoils it
PARTLY = 0.3  # of the cells; so far a column reads that was put together from two
PROBED = 200  # cells that tell which formats are worth a look at all of them


@dataclass(frozen=True)
class Misfit:
    """The first cell that keeps a column from being read as what it mostly is."""

    column: str
    shape: str
    read: int
    rows: int
    row: int
    value: Any

    def __str__(self) -> str:
        header = ", the header line once more?" if self.value == self.column else ""
        return (
            f"column `{self.column}` reads as {self.shape} in {self.read} of {self.rows} rows, not in row {self.row}: "
            f"{self.value!r}{header}"
        )


def filled(cells: "pl.Series") -> "pl.Series":
    """The cells that are not empty."""
    import polars as pl

    cells = cells.drop_nulls()
    return cells.filter(cells.str.strip_chars() != "") if cells.dtype == pl.String else cells


def date_formats(cells: "pl.Series", *, is_text: bool) -> list[str]:
    """The formats that read every cell of text, one for each reading; none where the column needs none.

    Two formats that read the same days are one; day-first and month-first are two where no cell has a day beyond the twelfth.
    """
    import polars as pl

    if cells.dtype != pl.String:
        return []
    texts = filled(cells).unique(maintain_order=True)
    if not len(texts) or (is_text and not days(texts, None).null_count()):
        return []
    readings: list[tuple[str, pl.Series]] = []
    for text in _worth_a_look(texts):
        read = days(texts, text)
        if not read.null_count() and not any(read.equals(other) for _, other in readings):
            readings.append((text, read))
    return [text for text, _ in readings]


def days(cells: "pl.Series", date_format: str | None) -> "pl.Series":
    """Text read as days, as an arriving file is; null where it cannot be, and where the year is none of ours."""
    import polars as pl

    from platform_assets.science.kinds import parse

    read = parse(cells, "date", date_format).alias("day")
    return read.to_frame().select(pl.when(pl.col("day").dt.year().is_between(*YEARS)).then("day"))["day"]


def misfit_of_time(cells: "pl.Series", date_format: str | None = None) -> Misfit | None:
    """What keeps a column that mostly holds days or times from being read; None where it mostly holds something else.

    With `date_format`, what keeps it from being read by that one, however few cells it reads.
    """
    import polars as pl

    from platform_assets.science.kinds import parse

    if cells.dtype != pl.String:
        return None
    known = [date_format] if date_format else [None, *_worth_a_look(filled(cells), PARTLY)]
    readings = [(text or "dates (YYYY-MM-DD)", days(cells, text)) for text in known]
    if date_format is None:
        kinds: tuple[Kind, ...] = ("instant", "local_time")
        readings += [("times", parse(cells, kind, None)) for kind in kinds]
    shape, read = max(readings, key=lambda reading: len(reading[1]) - reading[1].null_count())
    shape = shape if shape in {"dates (YYYY-MM-DD)", "times"} else f"dates ({shape})"
    return _misfit(cells, read, shape, 0.0 if date_format else PARTLY)


def misfit_of_number(cells: "pl.Series", least: float) -> Misfit | None:
    """What keeps a column from being read as numbers, where at least this share of it is."""
    import polars as pl

    from platform_assets.science.kinds import parse

    return _misfit(cells, parse(cells, "number", None), "numbers", least) if cells.dtype == pl.String else None


def is_timelike(cells: "pl.Series") -> bool:
    """Whether a column of text mostly holds days, times or times of day, in whatever shape."""
    import polars as pl

    if cells.dtype != pl.String:
        return cells.dtype.is_temporal()
    texts = filled(cells)
    probe = texts.gather_every(max(1, len(texts) // PROBED))
    clocks = probe.str.strip_chars().str.contains(TIME_OF_DAY).sum()
    return len(probe) > 0 and (clocks > MOSTLY * len(probe) or bool(_worth_a_look(probe)) or _is_stamped(probe))


def is_weekly(read: "pl.Series") -> bool:
    """Whether all days are the same day of a week, and there are more than two."""
    different = read.drop_nulls().unique()
    return len(different) > 2 and different.dt.weekday().n_unique() == 1


def one_format(file: str, raw: "pl.DataFrame", day: str | None, formats: Mapping[str, list[str]]) -> str | None:
    """The format of the day's column, None where it needs none.

    Raises: SchemaError where it reads in several ways.
    """
    if day is None or day not in formats:
        return None
    if len(formats[day]) > 1:
        cell = filled(raw[day])
        told = [f"{days(cell[:1], text)[0]} ({text})" for text in formats[day]]
        raise SchemaError(
            f"{file}: dates of column `{day}` read in {len(told)} ways: {cell[0]!r} is {' or '.join(told)}",
            hint=f"say it with --date-format, such as --date-format {json.dumps(formats[day][-1])}",
        )
    return formats[day][0]


def no_day(
    file: str, raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str], said: str | None
) -> SchemaError:
    """Why no column is a day: the row that spoils the likeliest one, where there is one."""
    text = [raw[name] for name in free if kinds[name] == "text"]
    spoilt = [found for cells in text if (found := misfit_of_time(cells, said)) is not None and found.read]
    hint = how_to_date(has_format=said is not None)
    if spoilt:
        return SchemaError(f"{file}: {max(spoilt, key=lambda found: found.read / found.rows)}", hint=hint)
    how = f" that {said} reads" if said else ""
    return SchemaError(f"{file}: no column is a date or a time{how}; columns: {shown(raw, kinds)}", hint=hint)


def how_to_date(*, has_format: bool) -> str:
    """What makes a column a date."""
    if has_format:
        return '--date-format is a pattern such as %d.%m.%Y or "%m/%d/%Y %H:%M", one for the whole column'
    return (
        "write days in one format for the whole column, such as 2024-12-31, and a week as the date of its first day; delete rows "
        "that are none; --date-format, such as --date-format %d.%m.%Y, says how they are written"
    )


def first(cells: "pl.Series") -> str:
    """The first cell that is not empty, as Python writes it."""
    known = filled(cells)
    return repr(known[0]) if len(known) else "nothing"


def shown(raw: "pl.DataFrame", kinds: Mapping[str, str]) -> str:
    """All columns with kind and first value, for a message."""
    return ", ".join(f"`{name}` ({kinds[name]}, such as {first(raw[name])})" for name in raw.columns)


def _is_stamped(probe: "pl.Series") -> bool:
    from platform_assets.science.kinds import parse

    kinds: tuple[Kind, ...] = ("date", "instant", "local_time")
    return any(len(probe) - parse(probe, kind, None).null_count() > MOSTLY * len(probe) for kind in kinds)


def _worth_a_look(texts: "pl.Series", least: float = MOSTLY) -> list[str]:
    """Formats that read more than such a share of some cells."""
    probe = texts.gather_every(max(1, len(texts) // PROBED))
    if probe.str.contains(r"\d").sum() <= least * len(probe):
        return []
    return [text for text in FORMATS if len(probe) - days(probe, text).null_count() > least * len(probe)]


def _misfit(cells: "pl.Series", read: "pl.Series", shape: str, least: float) -> Misfit | None:
    blank = cells.is_null() | (cells.str.strip_chars() == "")
    wrong = (read.is_null() & ~blank).arg_true()
    rows = int((~blank).sum())
    if not len(wrong) or rows - len(wrong) < least * rows:
        return None
    first = int(wrong[0])
    return Misfit(cells.name, shape, rows - len(wrong), rows, first + 1, cells[first])
