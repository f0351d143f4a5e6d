"""What a feature view or service says, as plain values that can be hashed; and Feast's types as polars has them."""

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from platform_assets.errors import FeatureStoreError

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureService, FeatureView


def definition_of(view: "FeatureView") -> dict[str, Any]:
    source = view.batch_source
    return {
        "name": view.name,
        "entities": sorted(view.entities),  # their columns are known to Feast only after an apply
        "features": [(f.name, str(f.dtype)) for f in view.features],
        "ttl_s": view.ttl.total_seconds() if isinstance(view.ttl, timedelta) else None,
        "source": source
        and (getattr(source, "path", source.name), source.timestamp_field, source.created_timestamp_column),
        "mapping": source and sorted(source.field_mapping.items()),
        "text": (view.description, view.owner, sorted(view.tags.items())),
    }


def service_of(service: "FeatureService") -> dict[str, Any]:
    projections = [(p.name, [f.name for f in p.features]) for p in service.feature_view_projections]
    return {"name": service.name, "views": projections, "text": (service.description, service.owner)}


def digest_of(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def plain_types() -> "dict[str, pl.DataType]":
    """Feast's types that have one type of a table's column."""
    import polars as pl

    return {
        "Float64": pl.Float64(), "Float32": pl.Float32(), "Int64": pl.Int64(), "Int32": pl.Int32(), "Bool": pl.Boolean(),
        "String": pl.String(),
    }  # fmt: skip


def polars_type(feast_type: str) -> "pl.DataType":
    import polars as pl

    types = {**plain_types(), "Array(Float32)": pl.List(pl.Float32), "Array(Float64)": pl.List(pl.Float64)}
    if feast_type not in types:
        raise FeatureStoreError(f"feature type {feast_type} is not served here; known: {', '.join(types)}")
    return types[feast_type]
