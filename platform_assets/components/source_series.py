"""Which columns of a sample make a series, and how much each series has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_assets.components.source_dates import filled, is_timelike
from platform_assets.components.source_words import (
    INDEX,
    MEASURED,
    NOT_SERIES,
    REGIONS,
    SERIES,
    SORTS,
    THINGS,
    UNSURE,
    folded,
    is_counted,
    is_money,
    words,
)
from platform_assets.errors import SchemaError

if TYPE_CHECKING:
    import polars as pl

TELLING_ROWS = 20  # fewer lines do not tell what is nearly unique
LEAST_LINES = 2  # for each value of a column, on average, below which it tells lines apart and not series
SINGLE_SHARE = 0.8  # of the series; so many with a single line are no series
SAME = 1.05  # pairs for each value, up to which two columns say the same
SAME_VALUES = 8  # different values from which on names need not resemble each other
LEAST_PERIODS = 14
SHOWN = 4  # columns that a hint offers


@dataclass(frozen=True)
class Sizes:
    """How many series a choice makes and what the typical one has, medians."""

    series: int
    lines: float
    periods: float
    single: float  # share of the series with a single line
    rows: int
    is_repeated: bool  # more than a tenth of the lines share series and period with another

    @property
    def is_hopeless(self) -> bool:
        """Whether nearly every series has a single line."""
        return self.rows >= TELLING_ROWS and self.single >= SINGLE_SHARE

    def said(self) -> str:
        """As a sentence's object."""
        lines = "1 line" if self.lines <= 1 else f"about {self.lines:,.0f} lines"
        periods = "1 period" if self.periods <= 1 else f"{self.periods:,.0f} periods"
        counted = "1 series with" if self.series == 1 else f"{self.series:,} series, each with"
        return f"{counted} {lines}, in {periods}"


def series_columns(raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str]) -> list[str]:
    """The columns that make a series: those named like one, else what is sold and where, else text."""
    able = able_to_be_series(raw, kinds, free)
    named = [name for name in able if _is_which(name) and not _is_figure(name, kinds)]
    if named:
        return named
    varied = [name for name in able if filled(raw[name]).n_unique() > 1] or able
    text = [name for name in varied if kinds[name] == "text" and not words(name) & NOT_SERIES]
    things, regions, sorts = ([name for name in text if words(name) & group] for group in (THINGS, REGIONS, SORTS))
    rest = sorted(sorts[: 1 if regions else 2] + regions[:1], key=raw.columns.index)
    return things[:1] + regions[:1] if things else rest or text[:2]


def able_to_be_series(raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str]) -> list[str]:
    """Columns of text or whole numbers that neither are times nor tell nearly every line from all others."""
    return [
        name
        for name in free
        if kinds[name] in {"text", "integer"}
        and not is_timelike(raw[name])
        and not is_index(raw, name)
        and not _is_nearly_unique(raw[name])
    ]


def numbered_series(raw: "pl.DataFrame", kinds: Mapping[str, str], free: Sequence[str]) -> list[str]:
    """The whole number that tells series apart where nothing else does."""
    able = able_to_be_series(raw, kinds, free)
    return [name for name in able if kinds[name] == "integer" and not _is_figure(name, kinds)][:1]


def doubled(raw: "pl.DataFrame", series: Sequence[str]) -> dict[str, str]:
    """Column to the earlier one that it says the same as, such as a product's name to its number."""
    found: dict[str, str] = {}
    values = {name: raw[name].n_unique() for name in series}
    for place, name in enumerate(series):
        for other in series[:place]:
            few = min(values[name], values[other])
            is_alike = bool(words(name) & words(other)) or few >= SAME_VALUES
            if other in found or few < 2 or not is_alike:
                continue
            if raw.select(name, other).n_unique() <= SAME * few:
                found[name] = other
                break
    return found


def sizes(raw: "pl.DataFrame", series: Sequence[str], periods: "pl.Series") -> Sizes:
    """What each series has in the sample."""
    import polars as pl

    keys = [f"key {place}" for place in range(len(series))]  # a file may have a column of any name
    named = [raw[name].cast(pl.String).alias(key) for name, key in zip(series, keys, strict=True)]
    lines = pl.DataFrame([*named, periods.alias("period")])
    lines = lines.filter(pl.all_horizontal(pl.col(key).str.strip_chars().fill_null("") != "" for key in keys))
    each = lines.group_by(keys).agg(lines=pl.len(), periods=pl.col("period").drop_nulls().n_unique())
    distinct = lines.n_unique()
    median = each.select(pl.col("lines", "periods").median()).row(0) if each.height else (0.0, 0.0)
    single = float((each["lines"] == 1).sum()) / max(1, each.height)
    return Sizes(each.height, median[0], median[1], single, lines.height, is_repeated=distinct < 0.9 * lines.height)


def is_index(raw: "pl.DataFrame", name: str) -> bool:
    """Whether a column only counts the rows: by its name, or the first one by its values."""
    import polars as pl

    if folded(name) in INDEX or folded(name).startswith("unnamed"):
        return True
    cells = filled(raw[name])
    if name != raw.columns[0] or len(cells) != raw.height or raw.height < TELLING_ROWS:
        return False
    numbers = cells.cast(pl.Int64, strict=False)
    return not numbers.null_count() and bool((numbers.diff().drop_nulls() == 1).all())


def no_series(file: str, raw: "pl.DataFrame", free: Sequence[str], columns: str) -> SchemaError:
    """What to do where no column tells series apart."""
    unique = ", ".join(
        f"`{name}`" for name in free if not is_timelike(raw[name]) and _is_nearly_unique(raw[name]) and _is_which(name)
    )
    why = f" ({unique}: another in nearly every row)" if unique else ""
    return SchemaError(
        f"{file}: no column tells one series from another{why}; columns: {columns}",
        hint="say it with --series, or add one to the file, such as a product; for a single series the same word in every row; a wide "
        "file (one column for each product) must be unpivoted first",
    )


def ask_for_series(file: str, raw: "pl.DataFrame", series: list[str], counted: Sizes, able: list[str]) -> SchemaError:
    """The question, with the columns that come again."""
    offered = [
        f"`{name}` ({filled(raw[name]).n_unique():,} values)" for name in able if name not in series or len(series) > 1
    ]
    such = f", such as {', '.join(offered[:SHOWN])}" if offered else ""
    return SchemaError(
        f"{file}: `{', '.join(series)}` would be {counted.series:,} series of {counted.rows:,} lines, {counted.single:.0%} of them "
        "with a single line",
        hint=f"say with --series what comes again in every period{such}; a sample must cover more than one period",
    )


def _is_which(name: str) -> bool:
    """Whether a column is named like what tells one series from another."""
    return any(word in folded(name) for word in SERIES)


def _is_nearly_unique(cells: "pl.Series") -> bool:
    known = filled(cells)
    return len(known) >= TELLING_ROWS and known.n_unique() * LEAST_LINES > len(known)


def _is_figure(name: str, kinds: Mapping[str, str]) -> bool:
    """Whether a whole number says how much, when or whether, not which."""
    figures = (MEASURED - {"id", "code", "nr", "no", "number"}) | UNSURE | {"is", "has", "promo", "count"}
    return kinds[name] == "integer" and (is_counted(name) or is_money(name) or bool(words(name) & figures))
