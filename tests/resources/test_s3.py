"""The same tables, artifacts and I/O managers on S3, against a real HTTP server of its protocol."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.definitions import landing_for
from platform_assets.errors import ConcurrentWriteError, DataError, TableError
from resources.deployment import Settings, resources_for
from resources.landing import Landing
from tests.data.corpus import as_csv
from tests.data.retail import retailer
from tests.data.sandbox import facts


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


def test_files_that_arrive_on_s3_outlive_the_pod(settings: Settings, tmp_path: Path) -> None:
    """They lay on the disk of a pod: the next one wrote the month again without them."""
    retailer(days=45).write_parquet(history := tmp_path / "history.parquet")
    shop, now = facts("online_retail"), datetime(2011, 4, 20, tzinfo=UTC)

    def pod(name: str) -> Landing:
        return landing_for(replace(settings, data=history, state=tmp_path / name), {})

    day = retailer(days=80).filter(pl.col("ts").dt.date() == date(2011, 4, 15))
    store = settings.artifacts()
    assert pod("sensor").kept.waiting() == []
    store.put("landing/day.csv", as_csv(day.head(3)))
    store.put("landing/day.csv.manifest.json", b'{"rows": 3}')
    store.put("landing/.partial.csv", b"a,b")
    (waiting,) = pod("sensor").kept.waiting()
    assert (waiting.name, waiting.where) == ("day.csv", f"{settings.artifacts_uri}/landing/day.csv")
    digest = pod("run").accept(waiting.where, shop, now=now)
    assert pod("another").has(digest, shop)
    april = (date(2011, 4, 1), date(2011, 5, 1))
    landed = pod("another").lines(shop, now=now, between=april)
    assert landed.lines.filter(pl.col("day_on") == date(2011, 4, 15)).height == 3
    assert [file.name for file in landed.files] == ["history.parquet", "day.csv"]
    assert [stored.key.split("/")[0] for stored in store.listing("accepted")] == ["accepted"]
    assert not list(tmp_path.glob("*/accepted")), "nothing is kept on a pod's disk"
    store.put("landing/other.csv", as_csv(day.head(4)))
    with pytest.raises(DataError, match=r"other.csv: column `ts`: the last period, 2011-04-15, has 4 lines") as caught:
        pod("run").accept(f"{settings.artifacts_uri}/landing/other.csv", shop, now=now)
    assert caught.value.file == f"{settings.artifacts_uri}/landing/other.csv"
