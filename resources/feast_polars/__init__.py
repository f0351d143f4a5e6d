"""A Feast offline store on polars, usable from any Feast repository over Parquet files and Delta tables.

offline_store:
  type: resources.feast_polars.offline.PolarsOfflineStore
  known_at: strict
"""
