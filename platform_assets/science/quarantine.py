"""Which landed lines are no demand, and why: one reason each, the first that applies."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from platform_assets.errors import ContractError
from platform_assets.science.source import Source

BROKEN = "broken"  # a value that breaks the contract; `detail` says which
MIN_LINES = 10  # of a series, before any of its lines can be extreme


def normalised(column: str, source: Source) -> pl.Expr:
    """The value by which a column names a series: trimmed and upper-cased where the source says so."""
    cell = pl.col(column)
    return cell.str.strip_chars().str.to_uppercase() if column in source.rules.normalise else cell.str.strip_chars()


def series_id(source: Source) -> pl.Expr:
    """The series of a line: its columns joined by "/"; a "/" within a value is written %2F, a "%" %25."""
    parts = [
        normalised(column, source).str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
        for column in source.series
    ]
    return pl.concat_str(parts, separator="/")


def typical_units(lines: pl.LazyFrame, source: Source) -> pl.LazyFrame:
    """Per series and period: number of lines with units and the sum of their logarithms, for `extreme` later on."""
    units = pl.col(source.columns["units"])
    return (
        lines.filter(pl.col("finding").is_null(), units > 0)
        .group_by(series_id=series_id(source), period_on="period_on")
        .agg(n=pl.len().cast(pl.Int64), log_units=units.cast(pl.Float64).log().sum())
    )


SetAside = Callable[[pl.LazyFrame], pl.LazyFrame]


def nothing_aside(lines: pl.LazyFrame) -> pl.LazyFrame:
    """What a source without an adapter sets aside."""
    return lines.select("line", reason=pl.lit(None, dtype=pl.String)).clear()


def classify(
    lines: pl.DataFrame, source: Source, set_aside: SetAside = nothing_aside, history: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The same lines with `series_id`, `reason` (null where accepted) and `detail`.

    `lines` are whole local days in order. `set_aside` is the adapter's: of lines with `line` (a number) and `series_id` it
    gives `line` and `reason`; it may look at other lines of the same local day (`day_on`), never at later days.
    `history` is `typical_units` of the periods before.
    """
    units = pl.col(source.columns["units"])
    sums = pl.concat([typical_units(lines.lazy(), source).collect(), *([] if history is None else [history])])
    before = (
        sums.lazy()
        .group_by("series_id", "period_on")
        .agg(pl.col("n").sum(), pl.col("log_units").sum())
        .sort("series_id", "period_on")
        .select(
            "series_id",
            "period_on",
            n_before=pl.col("n").cum_sum().over("series_id") - pl.col("n"),
            log_before=pl.col("log_units").cum_sum().over("series_id") - pl.col("log_units"),
        )
    )
    rules = source.rules
    typical = (pl.col("log_before") / pl.col("n_before")).exp()
    is_extreme = (
        (pl.col("n_before") >= MIN_LINES) & (units >= rules.extreme_at_least) & (units > rules.extreme_times * typical)
    )
    reasons: dict[str, pl.Expr] = {BROKEN: pl.col("finding").is_not_null()}
    for column, pattern in rules.goods.items():
        reasons["not_goods"] = reasons.get("not_goods", pl.lit(False)) | ~normalised(column, source).str.contains(
            pattern
        )
    reasons["adapter"] = pl.col("aside").is_not_null()
    reasons["negative_units"] = units < 0
    if "price" in source.columns:
        price = pl.col(source.columns["price"])
        reasons["price_not_positive"] = (price < 0) | (
            price == 0 if rules.zero_prices == "set_aside" else pl.lit(False)
        )
    own = [
        name for name in lines.columns if name not in {"file_name", "file_row", "file_digest", "finding", "known_at"}
    ]
    if rules.duplicates != "keep":
        reasons["duplicate"] = pl.col("is_repeated")
    numbered = lines.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("line"),
        series_id=series_id(source),
        is_repeated=repeated(lines.select(own)),
    ).lazy()
    aside = set_aside(numbered.drop("is_repeated")).select("line", aside="reason").drop_nulls()
    kept = (
        numbered.join(
            aside.unique("line", keep="first", maintain_order=True), on="line", how="left", maintain_order="left"
        )
        .join(before, on=["series_id", "period_on"], how="left", maintain_order="left")
        .with_columns(reason=_first(reasons))
        .with_columns(reason=pl.when(pl.col("reason") == "adapter").then("aside").otherwise("reason"))
    )
    late: dict[str, pl.Expr] = {"extreme_units": is_extreme}
    if rules.is_one_line_per_period:
        clash = pl.col("reason").is_null().sum().over("series_id", "period_on") > 1
        late = {"contradiction": clash} | late
    return (
        kept.with_columns(reason=pl.coalesce("reason", _first(late)))
        .with_columns(detail=pl.when(pl.col("reason") == BROKEN).then("finding"))
        .drop("n_before", "log_before", "line", "aside", "is_repeated")
        .collect()
    )


def repeated(rows: pl.DataFrame) -> pl.Series:
    """Whether a row equals one before it in every column."""
    # A struct of all rows costs seconds for a million; only rows whose hash occurs twice can be equal.
    suspects = rows.with_row_index("__row").filter(rows.hash_rows().is_duplicated())
    again = suspects.filter(~pl.struct(rows.columns).is_first_distinct())["__row"]
    mask = pl.Series("is_repeated", [False]).new_from_index(0, rows.height)
    return mask.scatter(again, True) if len(again) else mask


def _first(reasons: Mapping[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce(
        [pl.when(holds.fill_null(False)).then(pl.lit(reason)) for reason, holds in reasons.items()]
        + [pl.lit(None, dtype=pl.String)]
    )


@dataclass(frozen=True)
class Accounting:
    """Where each landed line went."""

    landed: int
    accepted: int
    by_reason: Mapping[str, int]

    @property
    def quarantined(self) -> int:
        return sum(self.by_reason.values())

    @property
    def is_balanced(self) -> bool:
        return self.landed == self.accepted + self.quarantined


def total(parts: Sequence[Accounting]) -> Accounting:
    """The accounting of several ranges together."""
    reasons = Counter[str]()
    for part in parts:
        reasons.update(part.by_reason)
    return Accounting(
        sum(part.landed for part in parts), sum(part.accepted for part in parts), dict(reasons.most_common())
    )


def account(lines: pl.DataFrame, classified: pl.DataFrame, sales_lines: int | None = None) -> Accounting:
    """Lines in against lines accepted and set aside, by reason.

    Raises: ContractError where they differ, as when an adapter drops or repeats lines.
    """
    counts = classified.group_by("reason").len().sort("len", descending=True)
    by_reason = {str(reason): int(n) for reason, n in counts.drop_nulls("reason").iter_rows()}
    found = Accounting(lines.height, int(classified["reason"].null_count()), by_reason)
    if not found.is_balanced or (sales_lines is not None and sales_lines != found.accepted):
        raise ContractError(
            f"{lines.height} lines landed, {found.accepted} accepted and {found.quarantined} set aside; "
            f"{sales_lines if sales_lines is not None else found.accepted} stand behind the sales",
            hint="an adapter's reasons must neither drop nor repeat lines",
        )
    return found
