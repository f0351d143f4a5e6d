"""What a series sold up to its last period: windows of 7 to 364 days, its scale, its weekdays."""

from datetime import timedelta

from feast import FeatureView
from feast.types import Array, Float32, Float64

from feature_repo.entities import series
from feature_repo.fields import fields
from feature_repo.sources import demand_history_table

demand_history = FeatureView(
    name="demand_history",
    entities=[series],
    ttl=timedelta(days=98),  # series is live for 91 days after a sale, and described a week longer
    source=demand_history_table,
    description="What a series sold up to its last period: windows of 7 to 364 days, its scale, its weekdays.",
    owner="team:demand",
    tags={"computed_by": "platform_assets.science.demand.features:demand_history"},
    schema=[
        *fields(
            Float64,
            "level",
            "last_units",
            "mean_7",
            "mean_14",
            "mean_28",
            "mean_56",
            "mean_91",
            "mean_182",
            "mean_364",
            "half_mean_7",
            "half_mean_28",
            "half_mean_91",
            "half_mean_364",
            "std_28",
            "std_91",
            "std_364",
            "zero_share_28",
            "zero_share_91",
            "zero_share_364",
            "max_28",
            "max_91",
            "max_364",
            "q25_56",
            "q50_56",
            "q75_56",
            "q95_56",
            "q25_91",
            "q50_91",
            "q75_91",
            "q95_91",
            "q25_364",
            "q50_364",
            "q75_364",
            "q95_364",
            "q99_91",
            "q99_364",
            "sale_size_91",
            "days_since_sale",
            "age_days",
            "lines_mean_28",
            "lines_mean_91",
            "lines_mean_364",
            "line_size_91",
            "weekday_mean_mon",
            "weekday_mean_tue",
            "weekday_mean_wed",
            "weekday_mean_thu",
            "weekday_mean_fri",
            "weekday_mean_sat",
            "weekday_mean_sun",
            "stock_out_share_28",
            "year_ago_mean_28",
            "year_ago_half_28",
            "year_ago_market_28",
            "market_trend_7",
            "market_trend_28",
        ),
        *fields(
            Array(Float32),
            "recent_units",
        ),
    ],
)
