"""How `demand_deep` is fitted: the quantile network of `science/network.py` on the training set as it stands."""

import polars as pl

from platform_assets.science import network
from platform_assets.science.fitting import FitSettings, FittedModel


def fit(rows: pl.DataFrame, settings: FitSettings) -> FittedModel:
    """A fitted quantile network; its parameters are the fields of `network.Recipe`."""
    return network.fit(rows, settings)
