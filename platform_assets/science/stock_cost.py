"""What a forecast costs as a stock decision: the newsvendor's level, and the cost of overstock and of stock-outs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError
from platform_assets.science import metrics

Array = NDArray[np.float64]
ROUNDING: Final = 1e-6  # units; 3 + 1e-15 of an interpolation is 3, not 4


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


def stock_level(
    predictions: pl.DataFrame, levels: Sequence[float], overstock_cost: float, stockout_cost: float
) -> pl.Series:
    """Units to have in stock for each row's period, Int64: the quantile at the critical ratio, rounded up.

    `predictions` holds the quantile columns in the order of `levels`; between two levels the quantile is linear,
    beyond the outermost it is constant. Goods are whole, and of the two whole numbers beside the quantile the upper one
    covers at least the share of periods that the costs ask for. Null where a prediction is null.
    """
    costs = UnitCosts(overstock_cost, stockout_cost)
    quantile = metrics.quantile_at(metrics.matrix(predictions), levels, costs.critical_ratio)
    return (pl.Series("stock_level", quantile).fill_nan(None) - ROUNDING).ceil().cast(pl.Int64)


def period_costs(label: Array, quantiles: Array, levels: Sequence[float], costs: UnitCosts) -> tuple[Array, Array]:
    """Cost of overstock and of stock-outs of each row at the quantile behind `stock_level`, in prices: (n,) each."""
    stock = metrics.quantile_at(quantiles, levels, costs.critical_ratio)
    return costs.overstock * np.maximum(stock - label, 0.0), costs.stockout * np.maximum(label - stock, 0.0)
