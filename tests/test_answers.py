"""What `perennial predict` says of a forecast's age: when it was issued, and whether newer sales are known by now."""

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


def sell(settings: Settings, days: int, *, late: int = 0, units: float | None = 3.0) -> None:
    """Sales so many days after the last one that was known; they arrive `late` days after their own end."""
    ended_at = ENDED_AT + timedelta(days=days)
    known_at = ended_at + timedelta(days=late)
    row = {
        "series_id": ["store_01/sku_0002"],
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
