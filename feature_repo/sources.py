"""Offline tables of the feature views: Delta tables below the offline store's `root`."""

from feast import FileSource
from feast.data_format import DeltaFormat

from platform_assets.names import EVENT_AT, KNOWN_AT, table_name, view_key


def _table(view: str) -> FileSource:
    return FileSource(
        name=f"{view}_table",
        path=table_name(view_key(view)),
        file_format=DeltaFormat(),
        timestamp_field=EVENT_AT,
        created_timestamp_column=KNOWN_AT,
        description=f"Rows of {view} with event and known-at time; the asset {table_name(view_key(view))} writes it.",
    )


demand_history_table = _table("demand_history")
price_history_table = _table("price_history")
season_table = _table("season")
offer_table = _table("offer")
