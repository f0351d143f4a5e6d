"""Online beside offline: what both say of the same entities at the same instant, row by row."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from feast.feature_view import DUMMY_ENTITY_ID
from feast.value_type import ValueType

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.online_load import latest_rows
from resources.feast_polars.online_ttl import judged_at

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

_STATUS: Final = {0: "invalid", 1: "present", 2: "null", 3: "not found", 4: "outside max age"}  # Feast's FieldStatus
_AT: Final = "event_timestamp"
DIFFERENCES: Final = {
    "entity": pl.String,
    "feature": pl.String,
    "online": pl.String,
    "offline": pl.String,
    "status": pl.String,
}


@dataclass(frozen=True)
class Parity:
    """How many entities were compared, and every difference: entity, feature, both values, the online status."""

    compared: int
    differences: pl.DataFrame
    as_of: datetime


def sample(
    store: "FeatureStore",
    view: "FeatureView",
    start: datetime,
    end: datetime,
    *,
    limit: int,
    keep: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> pl.DataFrame:
    """Keys of up to `limit` entities with a row in [start, end]: others from another `end`, the same from the same."""
    keys = [key for key in view.join_keys if key != DUMMY_ENTITY_ID]
    rows = keep(latest_rows(store, view, start, end)).select(keys or pl.lit("").alias(DUMMY_ENTITY_ID))
    if rows.height <= limit:
        return rows
    drawn = rows.select(pl.struct(keys).hash(seed=int(end.timestamp()))).to_series()
    return rows[drawn.arg_sort()[:limit]].sort(keys)


def compare(store: "FeatureStore", view: "FeatureView", entities: pl.DataFrame, now: datetime) -> Parity:
    """What both stores say of these entities as of `now`. Null is null, NaN is NaN, lists are equal item by item.

    Raises: FeatureStoreError for an instant without a time zone.
    """
    if now.tzinfo is None:
        raise FeatureStoreError(f"parity as of {now.isoformat()}: no time zone")
    if entities.is_empty():
        return Parity(0, pl.DataFrame(schema=DIFFERENCES), now)
    features = [feature.name for feature in view.features]
    asked = [f"{view.name}:{feature}" for feature in features]
    with_time = entities.with_columns(pl.lit(now).alias(_AT)).to_pandas()  # what every offline store of Feast takes
    job: Any = store.get_historical_features(with_time, features=asked)
    known = _as_asked(pl.DataFrame(pl.from_arrow(job.to_arrow())), entities)
    rows: Any = entities.to_dict(as_series=False)
    with judged_at(now):
        answer = store.get_online_features(features=asked, entity_rows=rows)
    served, statuses = answer.to_dict(), _statuses(answer.proto)
    said = [", ".join(f"{key}={value}" for key, value in row.items()) for row in entities.to_dicts()]
    found = []
    json_features = {field.name for field in view.features if field.dtype.to_value_type() == ValueType.JSON}
    for feature in features:
        offline = known[feature].to_list()
        if feature in json_features:  # parsed online, as they were written offline
            offline = [json.loads(value) if isinstance(value, str) else value for value in offline]
        for n, (online, stored) in enumerate(zip(served[feature], offline, strict=True)):
            if not is_same(online, stored):
                status = _STATUS.get(statuses[feature][n], "?")
                found.append((said[n], feature, _shown(online), _shown(stored), status))
    return Parity(entities.height, pl.DataFrame(found, schema=DIFFERENCES, orient="row"), now)


def _as_asked(known: pl.DataFrame, entities: pl.DataFrame) -> pl.DataFrame:
    """A row for each entity, in their order: Feast's file store orders rows by time, and drops those it knows nothing of."""
    if known.height == entities.height and known.select(entities.columns).equals(entities):
        return known
    keys = known.select(pl.col(name).cast(dtype) for name, dtype in entities.schema.items())
    rows = known.drop(entities.columns).hstack(keys).unique(entities.columns, keep="any")
    return entities.join(rows, on=entities.columns, how="left", maintain_order="left")


def is_same(online: Any, offline: Any) -> bool:
    """Whether two values are one: nulls are, NaNs are."""
    if isinstance(online, list) and isinstance(offline, list):
        return len(online) == len(offline) and all(map(is_same, online, offline))
    return online == offline or (online != online and offline != offline)  # noqa: PLR0124  NaN differs from itself


def _statuses(response: Any) -> dict[str, list[int]]:
    names = list(response.metadata.feature_names.val)
    return {name: list(vector.statuses) for name, vector in zip(names, response.results, strict=True)}


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
