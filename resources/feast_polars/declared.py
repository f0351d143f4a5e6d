"""A view's rows beside what the view says of them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from platform_assets.errors import FeatureStoreError

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView

    from resources.feast_polars.sources import Sources

_NUMBERS = ("Int32", "Int64", "Float32", "Float64", "Bool")


def rows_of(
    sources: "Sources", view: "FeatureView", source: "DataSource", features: Iterable[str], stored: Mapping[str, str]
) -> pl.LazyFrame:
    """The rows of the view's source, unread; `stored` has the source's columns of features that it names otherwise.

    Raises: FeatureStoreError naming the view and the file where there is nothing to read, a file is damaged, or a column
    holds text where its field says numbers, or the other way round.
    """
    try:
        scanned = sources.scan(source)
    except FeatureStoreError as error:
        raise FeatureStoreError(f"view `{view.name}`: {error.message}", hint=error.hint) from error
    held = scanned.collect_schema()
    declared = {field.name: str(field.dtype) for field in view.features}
    for feature in features:
        column = stored.get(feature, feature)
        says, is_now = declared.get(feature, ""), held.get(column)
        if is_now is not None and not _is_of_kind(is_now, says):
            raise FeatureStoreError(
                f"view `{view.name}`: column `{column}` of {sources.uri(source)} is {is_now}, its field says {says}",
                hint="write the column in that type, or declare the field as it is",
            )
    return scanned


def _is_of_kind(dtype: pl.DataType, says: str) -> bool:
    """Numbers, text and lists are told apart; widths are not, nor is what Feast keeps in columns of several kinds."""
    if says in _NUMBERS:
        return not (dtype == pl.String or dtype.is_nested() or dtype.is_temporal())
    if says == "String":
        return not (dtype.is_numeric() or dtype == pl.Boolean or dtype.is_nested() or dtype.is_temporal())
    if says.startswith("Array("):
        return not (dtype.is_numeric() or dtype == pl.Boolean or dtype.is_temporal())
    return True
