"""What a series was sold for and when it was promoted, up to its last period."""

from datetime import timedelta

from feast import FeatureView
from feast.types import Bool, Float64

from feature_repo.entities import series
from feature_repo.fields import fields
from feature_repo.sources import price_history_table

price_history = FeatureView(
    name="price_history",
    entities=[series],
    ttl=timedelta(days=98),  # as demand_history
    source=price_history_table,
    description="What a series was sold for and when it was promoted, up to its last period.",
    owner="team:demand",
    tags={"computed_by": "platform_assets.science.demand.features:price_history"},
    schema=[
        *fields(
            Float64,
            "last_price",
            "price_median_28",
            "price_median_91",
            "price_ratio_91",
            "price_ratio_364",
            "promotion_share_28",
            "promotion_share_364",
            "promoted_mean_364",
            "regular_mean_56",
            "regular_mean_364",
        ),
        *fields(
            Bool,
            "is_promoted_now",
        ),
    ],
)
