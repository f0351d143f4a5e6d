"""The panel of a source: each series at each open period, as it was known when the period's figures had come in.

A row (series, period D) of the panel, and of every feature computed from it, is *known at* the arrival of D: its end, or
the first report of a sale by anybody in D if that comes later (until then D looks closed). Where a series' own first
figures for D come later still, a second row is known at their time. A row reads exactly the revisions known at its
`known_at`. A correction that comes later changes no row that was known before it: rows after it see the corrected past,
rows before it keep what they saw. So a correction starts a new *vintage* of its series' history, and a period that is
delivered late one of every history; a source that does neither has one vintage. (A source whose series report at
different hours every day has one for each day: compute it month by month.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from platform_assets.names import EVENT_AT, KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS

# Live is what sold in the last 91 days. Rows are kept a week longer, so that the edge is inside.
LIVE_DAYS: Final = 91
TAIL_DAYS: Final = 98
_PIECE_ROWS: Final = 300_000  # 100 columns of them are 240 MB
_HALF_STEPS: Final = 2.0**20
_KEY: Final = [SERIES_ID, PERIOD_ON]
_VALUES: Final = ("price", "is_promoted", "stock", "lines")


@dataclass(frozen=True)
class Panel:
    """`rows` of histories to compute on and publish, and the `calendar` of open periods that they stand on.

    rows: history (one number per series and vintage), series_id, index (into the calendar), period_on, event_at,
    known_at, is_reported, born_on, sold_on, units, price, is_promoted, is_out, is_unknown, lines; sorted by (history, index).
    `units` is 0.0 where nothing sold and null where there was nothing to sell, or where it is unknown, as the period is
    under quarantine (`is_unknown`); `is_reported` marks the rows to publish, the others are there to be looked back on.
    """

    rows: pl.DataFrame
    calendar: pl.DataFrame

    def pieces(self) -> Iterator[pl.DataFrame]:
        """`rows` in pieces of whole histories, so that what is computed beside them stays small."""
        histories = self.rows["history"]
        begin = 0
        while begin < len(histories):
            end = min(begin + _PIECE_ROWS, len(histories))
            end = int(histories.search_sorted(histories[end - 1], side="right"))
            yield self.rows[begin:end]
            begin = end


def latest(sales: pl.LazyFrame, *, known_by: datetime | None = None) -> pl.LazyFrame:
    """The latest revision of each (series, period), of those known by `known_by`; one row per key."""
    if known_by is not None:
        sales = sales.filter(pl.col(KNOWN_AT) <= known_by)
    return sales.sort(KNOWN_AT, maintain_order=True).unique(_KEY, keep="last", maintain_order=True)


def periods(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Open periods in order: `period_on`, `event_at`, `arrived_at` (when its first sale was known), `index`, `is_late`.

    Open is a period for which some revision reports a sale; in the others the whole source was closed. Late is one that
    arrived after a period that follows it.
    """
    overtaken_at = pl.col("arrived_at").reverse().cum_min().reverse().shift(-1)
    return (
        sales.filter(pl.col(UNITS) > 0)
        .group_by(PERIOD_ON)
        .agg(
            pl.col(EVENT_AT).max(),
            pl.max_horizontal(pl.col(EVENT_AT).max(), pl.col(KNOWN_AT).min()).alias("arrived_at"),
        )
        .sort(PERIOD_ON)
        .with_row_index("index")
        .with_columns(overtaken_at.alias("overtaken_at"))
        .with_columns((pl.col("arrived_at") > pl.col("overtaken_at")).fill_null(value=False).alias("is_late"))
    )


def units_expr() -> pl.Expr:
    """Demand that a row of sales tells: null where there was nothing to sell (stock 0 and units 0), and where it is unknown."""
    return pl.when(pl.col("stock").eq_missing(0.0) & (pl.col(UNITS) == 0)).then(None).otherwise(pl.col(UNITS))


def dense(
    sales: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None, lookback_days: int = 0
) -> Panel:
    """The panel for rows of the periods in [start_on, end_on] that look back `lookback_days`; None is without bound."""
    revisions = sales.select(*_KEY, EVENT_AT, KNOWN_AT, UNITS, *_VALUES).collect()
    calendar = periods(revisions.lazy()).collect()
    if end_on is not None:
        calendar = calendar.filter(pl.col(PERIOD_ON) <= end_on)
    revisions = revisions.join(calendar.select(PERIOD_ON, "index"), on=PERIOD_ON).sort(KNOWN_AT, maintain_order=True)
    published = _published(revisions, calendar, start_on)
    histories, published = _histories(revisions, calendar, published)
    rows = _expand(histories, published, calendar, lookback_days)
    return Panel(_fill(rows, revisions, histories), calendar)


def half(units: pl.Expr) -> pl.Expr:
    """Root of `units`, rounded to a multiple of 2^-20: sums of such numbers are exact, whatever their order."""
    return (units.sqrt() * _HALF_STEPS).round() / _HALF_STEPS


def _published(revisions: pl.DataFrame, calendar: pl.DataFrame, start_on: date | None) -> pl.DataFrame:
    """Each (series, period) of the window from its first sale to `TAIL_DAYS` after its last, with its known-at times."""
    dates = calendar[PERIOD_ON]
    begin = 0 if start_on is None else dates.search_sorted(start_on)
    spans = (
        revisions.filter(pl.col(UNITS) > 0)
        .group_by(SERIES_ID)
        .agg(first=pl.col("index").min(), last_on=pl.col(PERIOD_ON).max() + timedelta(days=TAIL_DAYS))
        .sort(SERIES_ID)
    )
    until = pl.Series("until", dates.search_sorted(spans["last_on"]), dtype=pl.Int64)
    arrivals = (
        spans.with_columns(until)
        .select(SERIES_ID, index=pl.int_ranges(pl.col("first").cast(pl.Int64).clip(begin), "until", dtype=pl.UInt32))
        .filter(pl.col("index").list.len() > 0)
        .explode("index")
        .join(calendar.select("index", pl.col("arrived_at").alias(KNOWN_AT)), on="index", maintain_order="left")
    )
    # Unknown figures are none: a period that was under quarantine before it had any, and is lifted from it, is late then.
    late = (
        revisions.filter(pl.col(UNITS).is_not_null())
        .group_by(SERIES_ID, "index", maintain_order=True)
        .agg(pl.col(KNOWN_AT).first())
        .join(arrivals, on=[SERIES_ID, "index"], suffix="_arrived")
        .filter(pl.col(KNOWN_AT) > pl.col(f"{KNOWN_AT}_arrived"))
        .select(SERIES_ID, "index", KNOWN_AT)
    )
    return pl.concat([arrivals, late])


def _histories(
    revisions: pl.DataFrame, calendar: pl.DataFrame, published: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Histories (series, vintage) with what they may read (`until_at`, exclusive), and `published` with its history."""
    is_first = pl.int_range(pl.len()).over(SERIES_ID, "index") == 0
    corrections = (
        revisions.join(calendar.select("index", "arrived_at"), on="index", maintain_order="left")
        .filter(~is_first | (pl.col(KNOWN_AT) > pl.col("arrived_at")))
        .select(SERIES_ID, pl.col(KNOWN_AT).alias("from_at"))
    )
    first = published.select(SERIES_ID, pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("from_at")).unique()
    late = calendar.filter("is_late").select(pl.col("arrived_at").alias("from_at"))
    late = first.select(SERIES_ID).join(late, how="cross")
    corrections = pl.concat([corrections.join(first, on=SERIES_ID, how="semi"), late]).unique()
    histories = (
        pl.concat([first, corrections])
        .sort(SERIES_ID, "from_at", nulls_last=False)
        .with_columns(pl.col("from_at").shift(-1).over(SERIES_ID).alias("until_at"))
        .with_row_index("history")
    )
    of_series = histories.group_by(SERIES_ID, maintain_order=True).agg(pl.col("history").first(), pl.len().alias("n"))
    published = published.join(of_series, on=SERIES_ID, maintain_order="left")
    if corrections.is_empty():
        return histories, published.drop("n")
    corrected = (
        published.filter(pl.col("n") > 1)
        .drop("history")
        .sort(KNOWN_AT)
        .join_asof(
            histories.filter(pl.col("from_at").is_not_null()).select(SERIES_ID, "from_at", "history").sort("from_at"),
            left_on=KNOWN_AT,
            right_on="from_at",
            by=SERIES_ID,
            check_sortedness=False,
        )
        .join(of_series.select(SERIES_ID, pl.col("history").alias("oldest")), on=SERIES_ID, how="left")
        .with_columns(pl.coalesce("history", "oldest").alias("history"))
    )
    columns = [SERIES_ID, "index", KNOWN_AT, "history"]
    return histories, pl.concat([published.filter(pl.col("n") == 1).select(columns), corrected.select(columns)])


def _expand(
    histories: pl.DataFrame, published: pl.DataFrame, calendar: pl.DataFrame, lookback_days: int
) -> pl.DataFrame:
    """Rows (history, index) that the published ones need, with `is_reported` and, where published, `known_at`."""
    dates = calendar[PERIOD_ON]
    needs = published.group_by("history").agg(first=pl.col("index").min(), last=pl.col("index").max()).sort("history")
    reach = (dates.gather(needs["first"]) - timedelta(days=lookback_days)).alias("reach")
    begin = pl.Series("begin", dates.search_sorted(reach), dtype=pl.Int64)
    return (
        needs.with_columns(begin)
        .select(
            "history",
            index=pl.int_ranges("begin", pl.col("last").cast(pl.Int64) + 1, dtype=pl.UInt32),
        )
        .explode("index")
        .join(histories.select("history", SERIES_ID, "until_at"), on="history", maintain_order="left")
        .join(calendar.select("index", PERIOD_ON, EVENT_AT, "arrived_at"), on="index", maintain_order="left")
        # Until it arrives, a late period looks closed.
        .filter(pl.col("until_at").is_null() | (pl.col("arrived_at") < pl.col("until_at")))
        .drop("until_at", "arrived_at")
        .join(
            published.select("history", "index", KNOWN_AT), on=["history", "index"], how="left", maintain_order="left"
        )
        .with_columns(pl.col(KNOWN_AT).is_not_null().alias("is_reported"))
    )


def _fill(rows: pl.DataFrame, revisions: pl.DataFrame, histories: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the figures that their history reads, from the first sale on; `is_reported` narrowed to recent ones."""
    has_lines = revisions["lines"].is_not_null().any()
    born = (
        revisions.filter(pl.col(UNITS) > 0)
        .select(SERIES_ID, KNOWN_AT, pl.col(PERIOD_ON).cum_min().over(SERIES_ID).alias("born_on"))
        .join(histories.select(SERIES_ID, "history", "until_at"), on=SERIES_ID)
        .filter(pl.col("until_at").is_null() | (pl.col(KNOWN_AT) < pl.col("until_at")))
        .group_by("history")
        .agg(pl.col("born_on").min())
    )
    reach = rows.group_by("history").agg(low=pl.col("index").min(), high=pl.col("index").max())
    figures = (
        revisions.lazy()
        .join(histories.join(reach, on="history").lazy(), on=SERIES_ID)
        .filter(pl.col("until_at").is_null() | (pl.col(KNOWN_AT) < pl.col("until_at")))
        .filter(pl.col("index").is_between(pl.col("low"), pl.col("high")))
        .sort(KNOWN_AT, maintain_order=True)
        .unique(["history", "index"], keep="last", maintain_order=True)
        .select(
            "history",
            "index",
            units_expr().alias(UNITS),
            *_VALUES,
            pl.lit(value=True).alias("has_figures"),
            pl.col(UNITS).is_null().alias("is_unknown"),
        )
        .collect()
    )
    has_figures = pl.col("has_figures").is_not_null()
    lines = pl.when(has_figures).then(pl.col("lines")).otherwise(0) if has_lines else pl.lit(None)
    is_recent = (pl.col(PERIOD_ON) - pl.col("sold_on")).dt.total_days() < TAIL_DAYS
    return (
        rows.join(born, on="history", maintain_order="left")
        .filter(pl.col(PERIOD_ON) >= pl.col("born_on"))
        .join(figures, on=["history", "index"], how="left", maintain_order="left")
        .with_columns(
            pl.when(has_figures).then(pl.col(UNITS)).otherwise(0.0).alias(UNITS),
            pl.when(pl.col(UNITS) > 0).then(pl.col("price")).alias("price"),
            (pl.col("stock") == 0).alias("is_out"),
            pl.col("is_unknown").fill_null(value=False),
            lines.cast(pl.Float64).alias("lines"),
            pl.when(pl.col(UNITS) > 0).then(pl.col(PERIOD_ON)).forward_fill().over("history").alias("sold_on"),
        )
        .with_columns(pl.col("is_reported") & is_recent.fill_null(value=False))
        .drop("stock", "has_figures")
    )
