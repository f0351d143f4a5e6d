"""How much a forecast changes because another version of the model answers: what planners suffer from."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import SchemaError
from platform_assets.names import PERIOD_ON, SERIES_ID, UNITS

Floats = NDArray[np.float64]


def multi_quantile_change(before: Floats, after: Floats, scale: Floats) -> float:
    """Scaled multi-quantile change of forecasts for the same targets: mean over rows r and quantiles q of |a_rq - b_rq| / s_r.

    Shapes: (rows, quantiles) twice, (rows,). b is what the version before says, a what the one after it says, both on what
    was known at the same instant, so that new sales are no part of the change; s is what the series usually moves by.
    Returns: in units of that usual move, >= 0; NaN where there are no rows.
    Source: after Zanotti (2025), Analyzing the retraining frequency of global forecasting models, arXiv 2506.05776, whose
    measure of consecutive forecasts this is, applied to consecutive versions; scaled as in Hyndman and Koehler (2006).
    """
    if before.shape != after.shape or before.shape[0] != scale.size:
        raise SchemaError(f"stability: shapes {before.shape}, {after.shape} and {scale.shape}, expected the same rows")
    if not before.size:
        return float("nan")
    return float((np.abs(after - before) / scale[:, None]).mean())


def usual_moves(sales: pl.DataFrame) -> pl.DataFrame:
    """By how much each series moves from one of its periods to the next: series_id, scale > 0.

    The mean absolute difference; at least a hundredth of the series' mean. Series that never moved have that of all.
    """
    moved = (
        sales.sort(SERIES_ID, PERIOD_ON)
        .group_by(SERIES_ID, maintain_order=True)
        .agg(pl.col(UNITS).diff().abs().mean().alias("scale"), pl.col(UNITS).mean().alias("mean"))
        .with_columns(pl.max_horizontal("scale", pl.col("mean") / 100).alias("scale"))
        .with_columns(pl.when(pl.col("scale") > 0).then("scale").alias("scale"))
    )
    return moved.select(SERIES_ID, pl.col("scale").fill_null(pl.col("scale").mean()).fill_null(1.0))
