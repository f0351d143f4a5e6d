"""What a year ago says about a target day: of the series and of the whole source."""

from datetime import timedelta

from feast import FeatureView
from feast.types import Float64

from feature_repo.entities import series, target
from feature_repo.fields import fields
from feature_repo.sources import season_table

season = FeatureView(
    name="season",
    entities=[series, target],
    ttl=timedelta(days=400),  # a target is described about 350 days before it
    source=season_table,
    description="What a year ago says about a target day: of the series and of the whole source.",
    owner="team:demand",
    tags={"computed_by": "platform_assets.science.demand.season:season"},
    schema=[
        *fields(
            Float64,
            "season_mean_7",
            "season_mean_29",
            "season_half_29",
            "season_market_7",
            "season_market_29",
        ),
    ],
)
