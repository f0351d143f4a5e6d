"""The Dagster components that a user instantiates."""

from platform_assets.components.feature_repo import FeatureRepo
from platform_assets.components.sales_source import SalesSource
from platform_assets.components.trained_model import TrainedModel

__all__ = ["FeatureRepo", "SalesSource", "TrainedModel"]
