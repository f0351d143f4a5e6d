"""A retrieval that runs when its answer is asked for."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from resources.feast_polars.writes import persist

if TYPE_CHECKING:
    import pandas as pd
    from feast.on_demand_feature_view import OnDemandFeatureView

    from resources.feast_polars.sources import Sources


class PolarsRetrievalJob(RetrievalJob):
    """Feast's job around one function that gives the rows, in slices. On-demand views are applied by Feast afterwards.

    `persist` without on-demand views goes from slice to slice, so an answer may be larger than the memory.
    """

    def __init__(
        self,
        evaluate: Callable[[], Iterator[pl.DataFrame]],
        sources: "Sources",
        *,
        metadata: RetrievalMetadata | None = None,
        on_demand_feature_views: "list[OnDemandFeatureView] | None" = None,
        full_feature_names: bool = False,
    ) -> None:
        self._evaluate = evaluate
        self._sources = sources
        self._metadata = metadata
        self._on_demand = on_demand_feature_views or []
        self._full_feature_names = full_feature_names

    def to_polars(self) -> pl.DataFrame:
        """The rows in polars; the cheapest way out."""
        if not self._on_demand:
            return pl.concat(self._evaluate())
        return pl.DataFrame(pl.from_arrow(self.to_arrow()))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        tables = list(self._tables())
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()

    def _tables(self) -> Iterator[pa.Table]:
        return (to_feast_arrow(rows) for rows in self._evaluate())

    def _to_df_internal(self, timeout: int | None = None) -> "pd.DataFrame":
        return self._to_arrow_internal(timeout).to_pandas()

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> "list[OnDemandFeatureView]":
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        tables = iter([self.to_arrow()]) if self._on_demand else self._tables()
        persist(tables, storage.to_data_source(), self._sources, allow_overwrite=allow_overwrite)


def to_feast_arrow(frame: pl.DataFrame) -> pa.Table:
    """An Arrow table in the types that Feast compares with, no large and no view variants, and in one chunk.

    Feast's online load writes the first chunk of a table and drops the others without a word.
    """
    table = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    return table.cast(pa.schema([pa.field(f.name, _plain(f.type), f.nullable) for f in table.schema]))


def _plain(kind: Any) -> pa.DataType:
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _plain(f.type), f.nullable) for f in kind])
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) else kind
