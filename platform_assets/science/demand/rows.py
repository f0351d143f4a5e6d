"""The columns of a row that need no store: the calendar of its target day, and what two views say together."""

from typing import Final

import polars as pl

from platform_assets.errors import SchemaError
from platform_assets.names import TARGET_ON
from platform_assets.science.demand import columns
from platform_assets.science.demand.calendar import add_calendar

# A series' own season is shrunk towards "as before" as if a week of sales at its level had been seen on both sides.
_SHRINK_PERIODS: Final = 6.0
_WIDE_PERIODS: Final = 24.0


def derive(
    joined: pl.DataFrame, *, country: str | None, period_days: int = 1, features: tuple[str, ...] | None = None
) -> pl.DataFrame:
    """`joined` (rows with the views' columns) in order, with `columns.CALENDAR` and `columns.DERIVED`.

    `features` limits what is derived to these columns; a derived one whose inputs were not joined raises SchemaError.
    """
    wanted = set(columns.DERIVED if features is None else features)
    rows = add_calendar(joined, country=country, period_days=period_days)
    derived = {name: expr for name, expr in _derived().items() if name in wanted}
    for name, expr in derived.items():
        missing = sorted(set(expr.meta.root_names()) - set(rows.columns))
        if missing:
            raise SchemaError(
                f"derived feature {name} needs {', '.join(missing)}; columns: {', '.join(joined.columns)}",
                hint=f"add {', '.join(missing)} to the model's views, or leave {name} out",
            )
    return rows.with_columns(expr.alias(name) for name, expr in derived.items())


def _derived() -> dict[str, pl.Expr]:
    weekday = pl.col(TARGET_ON).dt.weekday()
    of_weekday = pl.coalesce(
        pl.when(weekday == number).then(pl.col(f"weekday_mean_{name}"))
        for number, name in enumerate(columns.WEEKDAYS, start=1)
    )
    prior = pl.col("level") * _SHRINK_PERIODS / _WIDE_PERIODS
    return {
        "weekday_mean_target": of_weekday,
        "season_ratio": (pl.col("season_mean_29") + prior) / (pl.col("year_ago_mean_28") + prior),
        "season_half_ratio": (pl.col("season_half_29") + prior) / (pl.col("year_ago_half_28") + prior),
        "season_market_ratio_7": pl.col("season_market_7") / pl.col("year_ago_market_28"),
        "season_market_ratio_29": pl.col("season_market_29") / pl.col("year_ago_market_28"),
        # A Poisson series is silent so long with probability exp(-this): one split tells the dead of any volume.
        "missed_units": pl.col("mean_91") * pl.col("days_since_sale"),
        "target_price_ratio": pl.col("planned_price") / pl.col("price_median_91"),
        "target_price_step": pl.col("planned_price") / pl.col("last_price"),
    }
