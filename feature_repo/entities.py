"""What features are about."""

from feast import Entity, ValueType

from platform_assets.names import SERIES_ID, TARGET_DAY

series = Entity(
    name="series",
    join_keys=[SERIES_ID],
    value_type=ValueType.STRING,
    description="What is forecast: a product, or a product in a store; its parts joined by a slash.",
)
target = Entity(
    name="target",
    join_keys=[TARGET_DAY],
    value_type=ValueType.INT64,
    description="The day that a forecast is for, in days since 1970-01-01.",
)
