"""Rows as another tool may read them that writes names and categories into a page as they are."""

from html import escape

import polars as pl

from platform_assets.science.feature_drift import CATEGORIES


def escaped(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns and categories with every character that HTML reads replaced; different ones stay different."""
    texts = [name for name, kind in rows.schema.items() if kind in CATEGORIES]
    distinct = {text for name in texts for text in rows[name].cast(pl.String).unique().drop_nulls()}
    renamed = {text: escape(text, quote=True) for text in distinct}
    said = rows.with_columns(pl.col(name).cast(pl.String).replace(renamed) for name in texts)
    return said.rename({name: escape(name, quote=True) for name in rows.columns})
