"""What a forecast costs as a stock decision: the newsvendor's level, and the cost of overstock and of stock-outs.

Of goods that are sold in whole units the level is the least whole number that covers the share of periods which the costs ask
for. An estimate of that number is blurred to either side of it, so the nearest whole unit stands for it. Rounding up instead
takes .009 for a 1: where most periods sell nothing, that costs more than having nothing. What is sold in fractions, as by
weight, is not rounded. What is printed and what is priced is the same level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError
from platform_assets.science import metrics

Array = NDArray[np.float64]
ROUNDING: Final = 1e-6  # units; 2.5 - 1e-15 of an interpolation is a half, which is rounded up


@dataclass(frozen=True)
class UnitCosts:
    """What one unit too many and one unit too few cost, as a share of the unit's price (of 1 where there is no price).

    The defaults: a unit left over for a period costs 5% of its price (capital, space, markdown), a unit that could
    not be sold 30% (its margin).
    """

    overstock: float = 0.05
    stockout: float = 0.30

    def __post_init__(self) -> None:
        for name in ("overstock", "stockout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ConfigurationError(
                    f"unit costs: `{name}` is {value!r}, expected a number from 0",
                    hint="costs are shares of the price, such as overstock: 0.05 and stockout: 0.30",
                )

        if self.overstock == self.stockout == 0:
            raise ConfigurationError("unit costs: both are 0, so no stock level is better", hint="state one of them")

    @property
    def critical_ratio(self) -> float:
        """Share of periods in which the cheapest stock level suffices: stockout / (stockout + overstock)."""
        return critical_ratio(self.overstock, self.stockout)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object] | None) -> "UnitCosts":
        """Costs from a defs.yaml; raises ConfigurationError naming unknown keys."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(mapping or {}) - set(known))
        if unknown:
            raise ConfigurationError(f"unit costs: unknown keys {unknown}", hint=f"known keys: {known}")
        return cls(**dict(mapping or {}))  # pyright: ignore[reportArgumentType]  (checked in __post_init__)


def critical_ratio(overstock_cost: float, stockout_cost: float) -> float:
    """Level of the quantile that costs least on average.

    Source: Arrow, Harris and Marschak (1951), Optimal Inventory Policy, Econometrica 19 (the newsvendor).
    """
    return stockout_cost / (stockout_cost + overstock_cost)


def sells_whole_units(units: str = "units") -> pl.Expr:
    """Whether no known quantity has a fraction; true where none is known."""
    return (pl.col(units).drop_nulls().mod(1) == 0).all()


def stock_level(
    predictions: pl.DataFrame,
    levels: Sequence[float],
    overstock_cost: float,
    stockout_cost: float,
    is_whole: pl.Series | None = None,
) -> pl.Series:
    """Units to have in stock for each row's period: the quantile at the critical ratio, to the nearest whole unit.

    `predictions` holds the quantile columns in the order of `levels`; between two levels the quantile is linear,
    beyond the outermost it is constant. `is_whole`: whether a row's goods are sold in whole units, (n,); all are where left
    out. The quantile itself is the level where they are not. Int64, Float64 where a row's are not; null where a prediction is.
    """
    costs = UnitCosts(overstock_cost, stockout_cost)
    stock = pl.Series("stock_level", _stock(metrics.matrix(predictions), levels, costs, is_whole)).fill_nan(None)
    return stock if is_whole is not None and not is_whole.all() else stock.cast(pl.Int64)


def period_costs(
    label: Array, quantiles: Array, levels: Sequence[float], costs: UnitCosts, is_whole: pl.Series | None = None
) -> tuple[Array, Array]:
    """Cost of overstock and of stock-outs of each row at `stock_level`, in prices: (n,) each."""
    stock = _stock(quantiles, levels, costs, is_whole)
    return costs.overstock * np.maximum(stock - label, 0.0), costs.stockout * np.maximum(label - stock, 0.0)


def _stock(quantiles: Array, levels: Sequence[float], costs: UnitCosts, is_whole: pl.Series | None) -> Array:
    quantile = metrics.quantile_at(quantiles, levels, costs.critical_ratio)
    nearest = np.floor(quantile + 0.5 + ROUNDING)
    return nearest if is_whole is None else np.where(is_whole.to_numpy(), nearest, quantile)
