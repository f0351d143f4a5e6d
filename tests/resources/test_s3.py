"""The same tables, artifacts and I/O managers on S3, against a real HTTP server of its protocol."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import ConcurrentWriteError, DataError, TableError
from resources.deployment import Settings, resources_for


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def settings(endpoint: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    import boto3

    bucket = request.node.name.replace("_", "-")[:60].rstrip("-")
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket=bucket)
    return Settings.from_mapping(
        {
            "PERENNIAL_STATE": str(tmp_path),
            "PERENNIAL_TABLES": f"s3://{bucket}/tables",
            "PERENNIAL_ARTIFACTS": f"s3://{bucket}/artifacts",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    )


def test_a_table_on_s3(settings: Settings) -> None:
    tables = settings.tables()
    sales = pl.DataFrame({"on": [date(2024, 1, 5), date(2024, 2, 5)], "units": [1.0, 2.0]})
    january = (date(2024, 1, 1), date(2024, 2, 1))
    assert not tables.exists("sales")
    with pytest.raises(TableError, match="does not exist at s3://"):
        tables.scan("sales")
    assert tables.write("sales", sales, partition_by="on") == 0
    assert tables.write("sales", sales.head(1).with_columns(units=pl.lit(7.0)), between=january) == 1
    assert_frame_equal(tables.scan("sales", version=0).collect().sort("on"), sales)
    assert tables.scan("sales", between=january).collect()["units"].to_list() == [7.0]
    with tables.revision("sales") as first, tables.revision("sales") as second:
        first.write(sales)
        with pytest.raises(ConcurrentWriteError):
            second.write(sales)


def test_an_artifact_on_s3(settings: Settings) -> None:
    artifacts = settings.artifacts()
    uri = artifacts.put_folder("models/a", {"m.txt": b"1", "deep/n.txt": b"2"})
    assert uri == f"{settings.artifacts_uri}/models/a"
    artifacts.put("models/ab.txt", b"3")  # a neighbour that shares the prefix
    assert artifacts.keys("models/a") == ["models/a/deep/n.txt", "models/a/m.txt"]
    assert artifacts.get_folder("models/a") == {"m.txt": b"1", "deep/n.txt": b"2"}
    with pytest.raises(DataError, match="no artifact models/b below s3://"):
        artifacts.get("models/b")


def test_assets_on_s3(settings: Settings) -> None:
    @dg.asset
    def sales() -> pl.DataFrame:
        return pl.DataFrame({"units": [1.0, 2.0]})

    @dg.asset(io_manager_key="json_io_manager")
    def total(sales: pl.LazyFrame) -> dict[str, float]:
        return {"units": sales.select(pl.col("units").sum()).collect().item()}

    resources = {name: value for name, value in resources_for(settings).items() if name.endswith("io_manager")}
    run_config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert dg.materialize([sales, total], resources=resources, run_config=run_config).success
    assert settings.artifacts().get("values/total.json") == b'{\n "units": 3.0\n}'
