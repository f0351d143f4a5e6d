"""What `perennial predict` says of a forecast: its age, whether newer sales are known by now, and the stock that it implies."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from platform_assets import cli, names
from platform_assets.answers import predictions_of
from resources.deployment import Settings

LAST_ON = date(2025, 12, 30)
ENDED_AT = datetime(2025, 12, 30, 23, tzinfo=UTC)  # the midnight in Berlin that ends it


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A forecast of one series, issued when the last day was known."""
    pin = {"source": "simulator", "data": None, "starts_on": "2024-01-01", "ends_on": str(LAST_ON)}
    (tmp_path / "source.json").write_text(json.dumps(pin))
    settings = Settings.local(tmp_path, "simulator")
    said = pl.DataFrame(
        {
            "series_id": ["store_01/sku_0002"],
            "issued_at": pl.Series([ENDED_AT]).cast(pl.Datetime("us", "UTC")),
            "target_on": [LAST_ON + timedelta(days=7)],
            "model_version": ["1"],
            "probability": [0.25],
        }
    )
    settings.tables().append("dormant/predictions", said, key=["model_version", "issued_at", "series_id", "target_on"])
    settings.ledger().promote("dormant", from_version=None, to_version="1", reason="first", evidence={}, at=ENDED_AT)
    sell(settings, 0)
    return settings


def sell(
    settings: Settings, days: int, *, late: int = 0, units: float | None = 3.0, series: str = "store_01/sku_0002"
) -> None:
    """Sales so many days after the last one that was known; they arrive `late` days after their own end."""
    ended_at = ENDED_AT + timedelta(days=days)
    known_at = ended_at + timedelta(days=late)
    row = {
        "series_id": [series],
        "period_on": [LAST_ON + timedelta(days=days)],
        "units": pl.Series([units], dtype=pl.Float64),
    }
    instants = {
        name: pl.Series([at]).cast(pl.Datetime("us", "UTC"))
        for name, at in ((names.EVENT_AT, ended_at), (names.KNOWN_AT, known_at))
    }
    settings.tables().append("sales", pl.DataFrame({**row, **instants}), key=["series_id", "period_on", "known_at"])


def test_a_forecast_on_all_that_is_known_says_when_it_was_issued(settings: Settings) -> None:
    _, about, text = predictions_of(settings, "dormant", [])
    assert "dormant@1, issued 2025-12-31 00:00:00+01:00, on sales up to 2025-12-30" in text
    assert "newer" not in text
    assert about == {
        "issued_at": ENDED_AT, "sales_until": LAST_ON, "newest_sales_on": LAST_ON, "days_behind": 0, "refresh": None,
    }  # fmt: skip


def demand(settings: Settings, q750: dict[str, float], days: int = 2) -> None:
    """A forecast of demand, the same for each of so many days."""
    low = {"q015": 0.0, "q250": 0.0, "q500": 0.0}
    rows = [
        {
            "series_id": series,
            "target_on": LAST_ON + timedelta(days=ahead),
            **low,
            "q750": at,
            "q950": at + 2,
            "q990": at + 4,
        }
        for series, at in q750.items()
        for ahead in range(1, days + 1)
    ]
    said = pl.DataFrame(rows).with_columns(
        issued_at=pl.lit(ENDED_AT).cast(pl.Datetime("us", "UTC")), model_version=pl.lit("1")
    )
    settings.tables().append("demand/predictions", said, key=["model_version", "issued_at", "series_id", "target_on"])
    settings.ledger().promote("demand", from_version=None, to_version="1", reason="first", evidence={}, at=ENDED_AT)


def test_a_slow_mover_needs_no_stock_and_sums_are_no_forecast_of_a_sum(settings: Settings) -> None:
    """A quantile of .009 was a stock of 1; and of sums "fewer would do" was said, which is false of what sells now and then:
    28 days of a third of such series need more than their summed levels in a quarter of cases."""
    demand(settings, {"store_01/sku_0002": 0.009, "store_01/sku_0003": 1.6})
    shown, _, text = predictions_of(settings, "demand", [])
    assert shown["stock_level"].to_list() == [0, 0, 2, 2]
    assert shown["stock_level"].dtype == pl.Int64
    assert "one too few 30%; the nearest whole unit\n" in text
    assert "store_01/sku_0003: the 2 medians add up to 0.0, the stock levels to 4\n" in text
    assert text.endswith(
        "Each stock level is for its own period alone: what it leaves over is not carried into the next. "
        "Neither sum forecasts what all the periods sell together."
    )
    assert "would do" not in text


def test_what_is_sold_by_weight_has_a_stock_level_with_a_fraction(settings: Settings) -> None:
    demand(settings, {"store_01/sku_0002": 1.6, "store_01/sku_0003": 1.6})
    sell(settings, -1, units=0.75, series="store_01/sku_0003")
    shown, _, text = predictions_of(settings, "demand", [])
    assert shown["stock_level"].to_list() == pytest.approx([2.0, 2.0, 1.6, 1.6])
    assert "; the nearest whole unit, where no fractions are sold\n" in text
    shown, _, text = predictions_of(settings, "demand", ["store_01/sku_0003"])
    assert "; not rounded: fractions are sold\n" in text
    assert "the 2 medians add up to 0.0, the stock levels to 3.2\n" in text


def test_a_fraction_that_was_not_known_at_the_issue_changes_no_level(settings: Settings) -> None:
    demand(settings, {"store_01/sku_0002": 1.6})
    sell(settings, -1, late=3, units=0.75)
    assert predictions_of(settings, "demand", [])[0]["stock_level"].to_list() == [2, 2]


def test_a_forecast_that_newer_sales_have_overtaken_says_so_and_what_makes_another(settings: Settings) -> None:
    """After the demo's weeks a model that they had not carried forward served its first forecast as if it were new."""
    sell(settings, 56)
    _, about, text = predictions_of(settings, "dormant", [])
    assert (about["days_behind"], about["refresh"]) == (56, "dormant/predictions")
    assert (
        "warning: sales up to 2026-02-24 are known, 56 days more than when it was issued; "
        "materialize dormant/predictions (in the UI: `make dev`) for a newer forecast"
    ) in text


def test_what_is_not_known_yet_makes_no_forecast_old(settings: Settings) -> None:
    sell(settings, 1, late=3)
    at = replace(settings, now=ENDED_AT + timedelta(days=2))
    assert predictions_of(at, "dormant", [])[1]["days_behind"] == 0
    assert "1 day more than" in predictions_of(settings, "dormant", [])[2]


@pytest.mark.parametrize("units", [0.0, None])  # closed, with stock reported; wholly under quarantine
def test_a_day_that_issues_no_forecast_makes_none_old(settings: Settings, units: float | None) -> None:
    """The warning asked for a newer forecast, and stood there still when that had been made."""
    sell(settings, 1, units=units)
    _, about, text = predictions_of(settings, "dormant", [])
    assert (about["days_behind"], about["newest_sales_on"]) == (0, LAST_ON)
    assert "warning" not in text


def test_csv_is_only_csv_and_the_warning_stands_beside_it(settings: Settings) -> None:
    sell(settings, 56)
    answer = CliRunner().invoke(cli.app, ["predict", "dormant", "--csv", "--state", str(settings.state)])
    assert answer.stdout.startswith("series_id,issued_at,")
    assert "warning" not in answer.stdout
    assert "warning: sales up to 2026-02-24 are known" in answer.stderr
    told = json.loads(
        CliRunner().invoke(cli.app, ["predict", "dormant", "--json", "--state", str(settings.state)]).stdout
    )
    assert (told["days_behind"], told["refresh"]) == (56, "dormant/predictions")
    assert told["issued_at"] == "2025-12-30 23:00:00+00:00"
