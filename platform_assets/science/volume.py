"""Is a file whole, and in the units of the files before it? What a type cannot show."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from platform_assets.errors import ContractError
from platform_assets.science.quarantine import repeated
from platform_assets.science.source import Source

TAIL_PERIODS = 28  # open periods that the last one is compared with
TAIL_NEEDED = 14  # fewer than these say nothing
TAIL_SHARE = 0.75  # of the smallest of them; an even source, such as daily sums of every product
TAIL_SPREADS = 5.0  # standard deviations of the logarithm below the median; 3 alarms in 590 days of a gift wholesaler
REPLACED_SHARE = 0.5  # of a day's landed lines, that a delivery which replaces them has at least
REPLACED_LINES = 5  # lines lost, below which a small shop's correction is no torso
UNIT_RATIO = 15.0  # cents for units are 100, grams for kilos 1,000; a sale halves a price
UNIT_SERIES = 5  # series that must agree
UNIT_SHARE = 0.6  # of a period's usual series, below which it is half closed and says nothing of units
UNIT_KNOWN = 0.02  # of all series that can be compared, or of the period's, that are there: strays are few, and swing
UNIT_USUAL = 13  # periods of the same weekday, whose mean number of series is usual: a quarter, Sundays by themselves
UNIT_PERIODS = 7  # of a series before it, without which it says nothing: a shop's first days are small
UNITS_CHECKED = "units_checked"  # key of a manifest: somebody has looked, and figures that jump are right
MANY_DUPLICATES = 0.02  # of a file's lines; tills repeat a line now and then, sales of one unit each are alike all day


def smallest_tail(counts: Sequence[int]) -> int | None:
    """Lines that a source's last period must have, given those of the open periods before it; None where they are too few."""
    recent = list(counts)[-TAIL_PERIODS:]
    if len(recent) < TAIL_NEEDED:
        return None
    logs = sorted(math.log(count) for count in recent)
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((value - mean) ** 2 for value in logs) / (len(logs) - 1))
    return math.ceil(min(TAIL_SHARE * min(recent), math.exp(logs[len(logs) // 2] - TAIL_SPREADS * spread)))


def check_tail(lines: pl.DataFrame, source: Source, file: str) -> dict[str, Any]:
    """Refuse a file whose last period looks cut off.

    Returns: the last period, its lines and the fewest expected.
    Raises: ContractError.
    """
    counts = lines.drop_nulls("period_on").group_by("period_on").len().sort("period_on")
    last_on, last = counts.row(-1)
    needed = smallest_tail(counts["len"][:-1].to_list())
    if needed is not None and last < needed:
        raise ContractError(
            f"{file}: column `{source.when}`: the last period, {last_on}, has {last} lines (rows to {lines.height}), expected at least "
            f"{needed} after the {min(TAIL_PERIODS, counts.height - 1)} periods before it: is the file cut off?",
            hint=f"deliver it when the period is complete, or lay {file}.manifest.json beside it that states its `rows`",
        )
    return {"last_period_on": last_on, "lines": last, "fewest_expected": needed}


def check_replaced(lines: pl.DataFrame, earlier: pl.DataFrame, source: Source, file: str) -> None:
    """Refuse a file in which a day has lost most of the lines that it replaces, wherever in the file that day lies.

    Raises: ContractError naming the first such day, and how many there are.
    """
    both = (
        lines.lazy()
        .group_by("day_on")
        .agg(new=pl.len())
        .join(earlier.lazy().group_by("day_on").agg(old=pl.len()), on="day_on")
        .with_columns(pl.col("new", "old").cast(pl.Int64))
        .filter(pl.col("new") < REPLACED_SHARE * pl.col("old"), pl.col("old") - pl.col("new") >= REPLACED_LINES)
        .sort("day_on")
        .collect()
    )
    if both.height:
        day_on, new, old = both.row(0)
        others = f", and so it is on {both.height - 1} more days" if both.height > 1 else ""
        raise ContractError(
            f"{file}: column `{source.when}`: {day_on} has {new} lines (of {lines.height} rows), and replaces {old} that landed before"
            f"{others}: is the day cut off?",
            hint=f"deliver the whole day, or lay {file}.manifest.json beside it that states its `rows`",
        )


def states_whole(manifest: Mapping[str, Any] | None) -> bool:
    """Whether a manifest vouches that its file is whole."""
    return manifest is not None and not {"rows", "sha256"}.isdisjoint(manifest)


def states_units(manifest: Mapping[str, Any] | None) -> bool:
    """Whether a manifest vouches for figures that jump."""
    return manifest is not None and manifest.get(UNITS_CHECKED) is True


def check_manifest(manifest: Mapping[str, Any], *, file: str, rows: int, digest: str) -> None:
    """Refuse a file that is not what its manifest states: `rows`, `sha256`, `units_checked`, or several.

    Raises: ContractError.
    """
    if not states_whole(manifest) and UNITS_CHECKED not in manifest:
        raise ContractError(
            f"{file}.manifest.json states neither `rows` nor `sha256` nor `{UNITS_CHECKED}`; found {sorted(manifest)}"
        )
    if not isinstance(manifest.get(UNITS_CHECKED, True), bool):
        raise ContractError(f"{file}.manifest.json: `{UNITS_CHECKED}` is {manifest[UNITS_CHECKED]!r}, expected true")
    if "rows" in manifest and manifest["rows"] != rows:
        raise ContractError(
            f"{file}: {rows} rows, its manifest states {manifest['rows']}: the file is cut off or grown"
        )
    if "sha256" in manifest and str(manifest["sha256"]).lower() != digest:
        raise ContractError(f"{file}: sha256 {digest}, its manifest states {manifest['sha256']}")


def check_plausible(lines: pl.DataFrame, source: Source, file: str) -> None:
    """Refuse a file in which the median of a column lies outside the bounds that the source states.

    A file in which nothing was sold is refused too: an empty day needs no file, and zeros are what a broken join leaves.
    Raises: ContractError naming the column and, as an example, the first row outside.
    """
    units = source.columns["units"]
    if not (lines[units].cast(pl.Float64) > 0).any():
        raise ContractError(
            f"{file}: column `{units}` is above 0 in none of {lines.height} rows (row 1: {lines[units][0]}): nothing was sold?",
            hint="was the export joined on the wrong key, or the file cut off?",
        )
    for name, (low, high) in source.rules.plausible.items():
        cells = lines.select(pl.col(name).cast(pl.Float64).fill_nan(None)).to_series()
        median = cells.filter(cells != 0).median()
        if isinstance(median, float) and not low <= median <= high:
            row = int(((cells < low) | (cells > high)).fill_null(False).arg_max() or 0)
            raise ContractError(
                f"{file}: column `{name}` has median {median:g}, expected {low:g} to {high:g} (row {row + 1}: {cells[row]:g}): "
                "another unit, or another column under its name?",
                hint="deliver it in the unit of the source, or widen `rules.plausible` in its defs.yaml",
            )


def check_duplicates(typed: pl.DataFrame, source: Source, file: str) -> None:
    """Refuse a file with many equal lines where the source has not said what they are.

    Raises: ContractError naming the first row that repeats one before it.
    """
    if source.rules.duplicates != "ask":
        return
    again = repeated(typed)
    if again.sum() > MANY_DUPLICATES * typed.height:
        row = int(again.arg_max() or 0)
        raise ContractError(
            f"{file}: {again.sum()} of {typed.height} lines equal one before them in every column (row {row + 1}: {typed.row(row)})",
            hint="say in defs.yaml `rules: {duplicates: keep}` where they are sales of their own, `set_aside` where they came twice",
        )


def check_units(lines: pl.DataFrame, source: Source, file: str) -> None:
    """Refuse a file in which prices, or units of a line, jump by more than 15 times for the series of a whole period.

    Each period is compared with the same series' typical (geometric mean) value in all periods before it; at least five
    series, and a fiftieth of those that have a history, must be there to say so. A period in which fewer than six tenths of the
    usual number of series sold anything says nothing: few shops are open on a holiday, and sell little. `lines` need
    `period_on` and `file_row`, which is null for lines of earlier files: of these periods nothing is said.
    Raises: ContractError naming column, period, and the first row of the jump.
    """
    measured = [source.columns[role] for role in ("price", "units") if role in source.columns]
    own = lines.filter(pl.col("file_row").is_not_null())
    judged, series = own["period_on"].unique(), list(source.series)
    attended = _attended(lines, source).filter(pl.col("period_on").is_in(judged.implode()))
    is_first = own.height == lines.height
    if not is_first:  # of a long history the series that the file has
        lines = lines.join(own.select(series).unique(), on=series, how="semi")
    for name, (period_on, ratio, count, others) in _jumps(lines, series, measured, attended).items():
        rows = own.filter(pl.col("period_on") == period_on, pl.col(name) > 0)
        more = f", and so on {others} more periods" if others else ""
        raise ContractError(
            f"{file}: column `{name}` is {ratio:.3g} times what it was before, for {count} series of {period_on} "
            f"(row {rows['file_row'][0]}: {rows[name][0]:g}){more}: another unit?",
            hint=f"deliver {'all of it in one unit' if is_first else 'the file in the unit of the files before it'}; where the "
            f'figures are right, say so: {{"{UNITS_CHECKED}": true}} in {file}.manifest.json beside it',
        )


def _attended(lines: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Periods in which nearly as many series sold something as usual: `period_on`, and how many must agree as `needed`."""
    sold = (
        lines.lazy().filter(pl.col(source.columns["units"]) > 0).select(*source.series, "period_on").unique().collect()
    )
    known_from = sold.group_by(source.series).agg(pl.col("period_on").sort().get(UNIT_PERIODS - 1, null_on_oob=True))
    known = known_from["period_on"].drop_nulls().sort()
    usual = pl.col("all").cast(pl.Float64).rolling_mean(UNIT_USUAL, min_samples=1).shift(1)
    attended = (
        sold.group_by("period_on")
        .agg(all=pl.len().cast(pl.Int64))
        .sort("period_on")
        .with_columns(usual=usual.over(pl.col("period_on").dt.weekday()))
    )
    known_then = pl.Series("known", known.search_sorted(attended["period_on"], side="left"))
    most = pl.max_horizontal("all", known_then.cast(pl.Int64))
    needed = pl.max_horizontal(pl.lit(float(UNIT_SERIES)), UNIT_KNOWN * most)
    return (
        attended.with_columns(needed=needed)
        .filter(pl.col("all") >= UNIT_SHARE * pl.col("usual").fill_null(0))
        .select("period_on", "needed")
    )


def _jumps(
    lines: pl.DataFrame, series: list[str], measured: list[str], attended: pl.DataFrame
) -> dict[str, tuple[Any, float, int, int]]:
    """Column to the first of the attended periods that jumps, by how much, of how many series, and how many more do."""
    logs = {
        name: pl.when(pl.col(name) > 0, pl.col(name) < math.inf).then(pl.col(name)).cast(pl.Float64).log()
        for name in measured
    }
    sums = (
        lines.lazy()
        .group_by(*series, "period_on")
        .agg(
            *(log.sum().alias(f"{name}__log") for name, log in logs.items()),
            *(log.count().cast(pl.Int64).alias(f"{name}__n") for name, log in logs.items()),
        )
        .sort(*series, "period_on")
        .collect()
    )
    found = {}
    for name in measured:
        n, log = pl.col(f"{name}__n"), pl.col(f"{name}__log")
        periods = (n > 0).cum_sum().over(series) - (n > 0)
        before_n, before = n.cum_sum().over(series) - n, log.cum_sum().over(series) - log
        jump = (
            sums.lazy()
            .with_columns(shift=log / n - before / before_n, is_known=(n > 0) & (periods >= UNIT_PERIODS))
            .filter("is_known")
            .join(attended.lazy(), on="period_on")
            .group_by("period_on")
            .agg(pl.col("shift").median(), pl.col("needed").first(), series=pl.len())
            .filter(pl.col("series") >= pl.col("needed"), pl.col("shift").abs() > math.log(UNIT_RATIO))
            .sort("period_on")
            .collect()
        )
        if jump.height:
            first = jump.row(0, named=True)
            found[name] = (first["period_on"], math.exp(first["shift"]), first["series"], jump.height - 1)
    return found
