"""Feature services: what a model asks for. Feast reads the whole repository through this module."""

from feast import FeatureService

from feature_repo.entities import series, target
from feature_repo.views.demand_history import demand_history
from feature_repo.views.offer import offer
from feature_repo.views.price_history import price_history
from feature_repo.views.season import season

__all__ = ["demand_history", "demand_v1", "dormant_v1", "offer", "price_history", "season", "series", "target"]

demand_v1 = FeatureService(
    name="demand_v1",
    features=[demand_history, price_history, season, offer],
    description="All that is known of a series and a target day when a forecast is issued.",
    owner="team:demand",
)
dormant_v1 = FeatureService(
    name="dormant_v1",
    features=[demand_history, price_history, season],
    description="What tells whether a series will sell at all next week.",
    owner="team:range",
)
