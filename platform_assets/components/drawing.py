"""Which forecasts a training set holds to learn from: drawn as a choice says, once for each of the two fits."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.components.training_choice import Drawn
    from platform_assets.science.train_on import TrainOn

ROW_KEY: Final = ["series_id", "issued_at", "target_on"]
IS_TRIAL: Final = "is_trial"  # whether a row is of the fit that is judged


def to_fit_on(spec: ModelSpec, source: Any, sales: pl.LazyFrame, how: Drawn, opens_at: datetime) -> pl.DataFrame:
    """Entity rows of both fits, with `purpose` and `is_trial`.

    Purpose `fit`: drawn from all that is known, for the model that is shipped. `is_trial`: drawn as they would have been
    when the evaluation window opened, for the model that is judged there; else what is judged would have fewer recent
    rows, or a shorter window, than what is shipped. Where all history is drawn alike they are the same rows up to the cut,
    and those that are not drawn for the shipped model have purpose `trial`.
    """
    import polars as pl

    whole = fit_rows_of(spec, source, sales, how)
    if how.train_on.is_even:
        return whole.with_columns(purpose=pl.lit("fit"), **{IS_TRIAL: pl.lit(value=True)})
    then = fit_rows_of(spec, source, sales.filter(pl.col(names.KNOWN_AT) <= opens_at), how)
    trial = then.select(*ROW_KEY, **{IS_TRIAL: pl.lit(value=True)})
    shared = whole.join(trial, on=ROW_KEY, how="left", maintain_order="left").with_columns(
        pl.col(IS_TRIAL).fill_null(value=False)
    )
    alone = then.join(whole, on=ROW_KEY, how="anti", maintain_order="left")
    return pl.concat(
        [
            shared.with_columns(purpose=pl.lit("fit")).select(*whole.columns, "purpose", IS_TRIAL),
            alone.with_columns(purpose=pl.lit("trial"), **{IS_TRIAL: pl.lit(value=True)}),
        ]
    )


def fit_rows_of(spec: ModelSpec, source: Any, sales: pl.LazyFrame, how: Drawn) -> pl.DataFrame:
    """Forecasts to learn from, of the choice counted back from the last of these sales."""
    from platform_assets.science.demand import sampling

    return sampling.fit_rows(
        sales,
        rows=min(spec.rows, spec.rows_per_series * _live_series(sales)),
        horizons=horizons(spec, source),
        start_on=window_start(sales, how.train_on),
        recent_days=how.train_on.recent_days,
        recent_density=how.train_on.recent_density,
        are_targets_open=spec.label == names.UNITS,
        masks=how.masks,
        seed=spec.seed,
    )


def window_start(sales: pl.LazyFrame, train_on: TrainOn) -> date | None:
    """First period whose forecasts are learned from; None where all are."""
    from platform_assets.science.demand import panel

    if train_on.window_days is None:
        return None
    last: date | None = panel.periods(sales).collect()[names.PERIOD_ON].max()  # pyright: ignore[reportAssignmentType]
    return None if last is None else last - timedelta(days=train_on.window_days - 1)


def _live_series(sales: pl.LazyFrame) -> int:
    import polars as pl

    return sales.filter(pl.col(names.UNITS) > 0).select(pl.col(names.SERIES_ID).n_unique()).collect().item()


def horizons(spec: ModelSpec, source: Any) -> tuple[int, ...]:
    """Days ahead of the rows: each period of the horizon, or its end where the label is of the week that ends there."""
    if spec.label != names.UNITS:
        return (spec.horizon_days,)
    return tuple(range(source.period_days, spec.horizon_days + 1, source.period_days))
