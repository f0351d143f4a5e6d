"""The parity of online and offline values: expired ones that Feast's store serves, and reverted ones, are reported."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from platform_assets.components.parity import parity_result
from platform_assets.errors import ConfigurationError
from resources.online_places import online_store
from tests.resources.test_online_stores import HOUR, SCHEMA, TTL, Place, T, hand_over, row

NOW = T + TTL + HOUR


def compared(store: Any) -> Any:
    from resources.feast_polars.parity import compare, sample

    view = store.get_feature_view("trips")
    return compare(store, view, sample(store, view, T - TTL, NOW, limit=10), NOW)


def loaded(folder: Path, *, stock: bool = False) -> Any:
    """One entity within its TTL, one past it, one whose values are null."""
    from resources.feast_polars.online_load import load

    rows = [row(1, NOW - HOUR, 1.0, T), row(2, T, 2.0, T), row(3, NOW - HOUR, None, T)]
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(folder / "rows.parquet")
    store = Place("sqlite", {"path": str(folder / "online.db")}).open(folder, stock=stock)
    assert load(store, store.get_feature_view("trips"), T - TTL, NOW) == 3
    return store


def test_our_store_has_no_difference(tmp_path: Path) -> None:
    found = compared(loaded(tmp_path))
    assert (found.compared, found.differences.height) == (3, 0)
    assert parity_result("trips", found).passed


def test_the_ttl_that_feasts_store_ignores_is_reported(tmp_path: Path) -> None:
    found = compared(loaded(tmp_path, stock=True))
    assert found.differences.rows() == [
        ("driver=2", "rate", "2.0", "null", "present"),
        ("driver=2", "name", "'n2.0'", "null", "present"),
        ("driver=2", "recent", "[2.0, 1.0]", "null", "present"),
    ]
    result = parity_result("trips", found)
    assert not result.passed
    assert result.metadata["differences"] == dg.MetadataValue.int(3)
    report = result.metadata["report"]
    assert isinstance(report, dg.TableMetadataValue)
    assert len(report.records) == 3


def test_a_reverted_value_is_reported(tmp_path: Path) -> None:
    """Feast's SQLite store takes an older window's value when it is loaded later."""
    stock = loaded(tmp_path, stock=True)
    rates = pl.col("entity").eq("driver=1") & pl.col("feature").eq("rate")
    assert compared(stock).differences.filter(rates).is_empty()
    hand_over(stock, [row(1, T + 2 * HOUR, 9.0, T)])
    assert [r[:4] for r in compared(stock).differences.filter(rates).rows()] == [("driver=1", "rate", "9.0", "1.0")]


def test_another_instant_samples_other_entities(tmp_path: Path) -> None:
    from resources.feast_polars.parity import sample

    rows = [row(driver, T, 1.0, T) for driver in range(200)]
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(tmp_path / "rows.parquet")
    store = Place("sqlite", {"path": str(tmp_path / "online.db")}).open(tmp_path)
    view = store.get_feature_view("trips")
    ends = [NOW, NOW, NOW + timedelta(seconds=1)]
    first, again, other = (set(sample(store, view, T, end, limit=20)["driver"]) for end in ends)
    assert len(first) == 20
    assert first == again != other


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////var/online.db", {"type": "MonotoneSqliteOnlineStore", "path": "/var/online.db"}),
        ("redis://cache", {"type": "MonotoneRedisOnlineStore", "connection_string": "cache:6379"}),
        (
            "rediss://:p%40ss@cache:7000/2",
            {"type": "MonotoneRedisOnlineStore", "connection_string": "cache:7000,db=2,ssl=true,password=p@ss"},
        ),
        (
            "postgresql://feast:pw@db/features?sslmode=require",
            {"type": "MonotonePostgreSQLOnlineStore", "host": "db", "port": 5432, "database": "features", "user": "feast"}
            | {"password": "pw", "sslmode": "require"},
        ),
    ],
)  # fmt: skip
def test_a_url_names_the_store(url: str, expected: dict[str, Any]) -> None:
    made = online_store(url)
    assert {**made, "type": made["type"].rpartition(".")[2]} == expected


def test_another_kind_of_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="online store: 'mysql' is none that is known here"):
        online_store("mysql://db/features")
