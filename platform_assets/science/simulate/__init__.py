"""A retailer with a known truth.

It is the demo's default input, and the instrument that measures drift detection and what retraining is worth.
"""

from platform_assets.science.simulate.config import SCENARIOS, Scenario, SimulatorConfig
from platform_assets.science.simulate.world import World, arrivals, simulate, simulate_stores, sku_names, store_names

__all__ = [
    "SCENARIOS",
    "Scenario",
    "SimulatorConfig",
    "World",
    "arrivals",
    "simulate",
    "simulate_stores",
    "sku_names",
    "store_names",
]
