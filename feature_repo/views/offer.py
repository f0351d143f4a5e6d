"""What has been announced for a target day: planned price and promotion."""

from datetime import timedelta

from feast import FeatureView
from feast.types import Bool, Float64

from feature_repo.entities import series, target
from feature_repo.fields import fields
from feature_repo.sources import offer_table

offer = FeatureView(
    name="offer",
    entities=[series, target],
    ttl=timedelta(days=400),  # plans may be announced a year ahead
    source=offer_table,
    description="What has been announced for a target day: planned price and promotion.",
    owner="team:demand",
    tags={"computed_by": "platform_assets.science.demand.offer:offer"},
    schema=[
        *fields(
            Float64,
            "planned_price",
        ),
        *fields(
            Bool,
            "is_planned_promotion",
        ),
    ],
)
