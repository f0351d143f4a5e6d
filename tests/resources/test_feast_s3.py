"""The offline store over tables on S3, through a real HTTP double."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from platform_assets.science.demand import columns
from resources.feature_store import FeatureStoreResource
from resources.tables import Tables

START = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = {"f64": pl.lit(2.5), "i64": pl.lit(1), "bool": pl.lit(True), "list_f32": pl.lit([1.0], pl.List(pl.Float32))}


@pytest.fixture
def options() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="features")
    yield {
        "aws_endpoint_url": url,
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    server.stop()


@pytest.mark.long
def test_tables_on_s3_are_joined_and_loaded_as_local_ones(options: dict[str, str], tmp_path: Path) -> None:
    tables = Tables("s3://features/tables", options)
    for view, names in columns.VIEWS.items():
        frame = pl.DataFrame({"series_id": ["a", "a"], "event_at": [START, START + timedelta(days=1)]}).with_columns(
            known_at=pl.col("event_at"), target_day=pl.lit(19800), period_on=pl.col("event_at").dt.date()
        )
        features = [VALUES[columns.DTYPES[name]].alias(name) for name in names]
        frame = frame.select(*columns.ENTITY_KEYS[view], "event_at", "known_at", *features, "period_on")
        tables.write(f"features/{view}", frame, partition_by="period_on")
    store = FeatureStoreResource(state=str(tmp_path), tables="s3://features/tables", storage_options=options)
    store.apply()
    rows = pl.DataFrame({"series_id": ["a", "b"], "target_day": [19800, 19800], "issued_at": [START, START]})
    joined = store.historical(rows, "demand_v1")
    assert joined["level"].to_list() == [2.5, None]
    assert joined["recent_units"].to_list() == [[1.0], None]
    for view in columns.VIEWS:
        assert store.load_online(view, START, START + timedelta(days=2)) == 1
    assert store.online(rows, "demand_v1", now=START + timedelta(days=2))["mean_7"].to_list() == [2.5, None]
    assert "secret" not in (tmp_path / "feature_store.yaml").read_text()
    assert "secret" not in repr(store)
