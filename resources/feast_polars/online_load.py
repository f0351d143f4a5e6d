"""Loading a feature view's latest rows into the online store, in columns where the store can take them."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from feast.utils import _convert_arrow_to_proto  # pyright: ignore[reportPrivateUsage]

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.online_rows import OnlineRows, WritesRows, in_key_order
from resources.feast_polars.retrieval import to_feast_arrow

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

BATCH = 20_000  # rows that are converted and committed at a time


def load(
    store: "FeatureStore",
    view: "FeatureView",
    start: datetime,
    end: datetime,
    *,
    keep: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> int:
    """Load each entity's latest row of [start, end] into the online store, those that `keep` keeps; returns their number.

    Works on any Feast repository. Feast's own stores get messages, a value each; ours get columns.

    Raises: FeatureStoreError where the view has no batch source or a row no key.
    """
    rows = keep(latest_rows(store, view, start, end))
    provider = store._get_provider()
    source = view.batch_source
    assert source is not None
    mapping = source.field_mapping or {}
    event = mapping.get(source.timestamp_field, source.timestamp_field)
    created = source.created_timestamp_column
    created = mapping.get(created, created) if created else None
    online: Any = provider.online_store  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(online, WritesRows) and online.in_key_order:
        rows = in_key_order(rows, view)
    for batch in rows.iter_slices(BATCH):
        if isinstance(online, WritesRows):
            columns = OnlineRows.from_frame(batch, view, event, created, with_texts=online.has_texts)
            online.write_rows(store.config, view, columns)
        else:
            keys = {c.name: c.dtype.to_value_type() for c in view.entity_columns}
            protos: Any = _convert_arrow_to_proto(to_feast_arrow(batch), view, keys)
            provider.online_write_batch(store.config, view, protos, None)
    return rows.height


def latest_rows(store: "FeatureStore", view: "FeatureView", start: datetime, end: datetime) -> pl.DataFrame:
    """Each entity's latest row of [start, end], by the names that the view gives its columns.

    Raises: FeatureStoreError where the view has no batch source.
    """
    source = view.batch_source
    if source is None:
        raise FeatureStoreError(f"feature view `{view.name}` has no batch source to load from")
    origin = {new: old for old, new in (source.field_mapping or {}).items()}
    job: Any = store._get_provider().offline_store.pull_latest_from_table_or_query(  # pyright: ignore[reportAttributeAccessIssue]
        store.config,
        source,
        [origin.get(c.name, c.name) for c in view.entity_columns],
        [origin.get(f.name, f.name) for f in view.features],
        source.timestamp_field,
        source.created_timestamp_column or None,
        start,
        end,
    )
    rows = job.to_polars() if hasattr(job, "to_polars") else pl.DataFrame(pl.from_arrow(job.to_arrow()))
    return rows.rename(dict(source.field_mapping or {}), strict=False)
