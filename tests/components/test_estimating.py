"""A champion's expected loss through Dagster: made before labels, never again, and compared with what came, as it came."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from platform_assets import names
from platform_assets.components import estimating
from platform_assets.components.model_assets import _performance  # pyright: ignore[reportPrivateUsage]
from platform_assets.science import outlook, performance
from platform_assets.science.outlook import Scored
from platform_assets.science.tasks import QUANTILES
from resources.artifacts import Artifacts
from resources.tables import Tables
from tests.science.forecasts import FIRST, HORIZON, world

LIVE = FIRST + timedelta(days=3 * HORIZON)
EVIL = "</svg><script>alert(1)</script>"


class Life:
    """A champion with a backtest of twelve weeks and one issue of 28 days, of which labels come day by day."""

    def __init__(self, folder: Path) -> None:
        self.tables, self.artifacts = Tables(folder / "tables"), Artifacts(folder / "artifacts")
        self.spec: Any = SimpleNamespace(
            name="demand", task="quantiles", label="units", owners=(), code_version="1", feature_service="demand_v1"
        )
        self.tested = world(1, count=5040, shocks=0.1)
        self.ahead = world(2, count=1680, issues=1, first=LIVE, shocks=0.1)
        self.ledger = SimpleNamespace(champion=lambda model: SimpleNamespace(version="7"))

    def monitored(self, days: int, factor: float = 1.0, lacking: int = 0) -> dict[str, Any]:
        """What monitoring keeps when so many days are known, the first `lacking` rows not yet; returns its metadata."""
        until = LIVE + timedelta(days=days - 1)
        known = self.ahead.rows["target_on"].to_numpy() <= until
        known[:lacking] = False
        lived = self.ahead.part(known)
        lived = Scored(lived.rows, lived.said, lived.label, lived.loss * factor)
        now = datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1, minutes=days)
        res = SimpleNamespace(tables=self.tables, clock=SimpleNamespace(now=lambda: now + timedelta(seconds=factor)))
        recorded = self.ahead.rows.hstack(self.ahead.said)
        return estimating.keep_estimates(self.spec, res, "7", self.tested, lived, recorded, until)

    def kept(self, stage: str) -> pl.DataFrame:
        return self.tables.scan(names.table_name(names.model_key("demand", stage))).collect()

    def shown(self) -> tuple[Any, str]:
        """Metadata of the asset, materialized, and its page."""
        found = dg.materialize(
            [dg.SourceAsset(names.model_key("demand", "monitoring")), _performance(self.spec)],
            resources={"tables": self.tables, "ledger": self.ledger, "artifacts": self.artifacts},
        )
        (event,) = found.asset_materializations_for_node("demand__performance")
        return event.metadata, Path(str(event.metadata["report"].value)).read_text()


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def test_an_estimate_is_there_before_labels_and_compared_after(life: Life) -> None:
    told = life.monitored(0)
    low, expected, high = (told[f"expected pinball, coming 7 days{part}"] for part in (", low", "", ", high"))
    assert 0 < low < expected < high
    assert "weeks compared with their estimate" not in told
    first = life.kept(estimating.EXPECTED)
    assert first.height == HORIZON
    assert first["model_version"].unique().to_list() == ["7"]
    metadata, page = life.shown()
    assert "90% interval" in metadata["expected"].value
    assert "nothing is known of how good these estimates are" in metadata["how good estimates were"].value

    told = life.monitored(9)
    assert told["weeks compared with their estimate"] == 1
    came = life.kept(estimating.CAME)
    assert came["realized"].item() == pytest.approx(life.ahead.part(_week(life.ahead, 1)).loss.mean())
    assert life.kept(estimating.EXPECTED).equals(first), "an estimate was made again, with labels known"
    metadata, page = life.shown()
    assert metadata["weeks compared with their estimate"].value == 1
    assert f"{came['realized'].item():.3g}" in page
    assert metadata["estimated and realized"].value.startswith("![estimated and realized](data:image/svg+xml;base64,")
    assert "<script" not in page


def test_a_later_issue_gets_its_own_estimate_and_days_already_known_none(life: Life) -> None:
    life.monitored(3)
    assert life.kept(estimating.EXPECTED)["target_on"].min() == LIVE + timedelta(days=3)


def test_late_and_corrected_labels_are_counted_once_and_what_was_known_first_is_kept(life: Life) -> None:
    """A feed is late by 300 rows, then comes, then is corrected: three revisions of one week, none of them twice."""
    life.monitored(0)
    life.monitored(8, lacking=300)
    late = life.kept(estimating.CAME)
    life.monitored(8)  # the same again changes nothing beyond what came late
    life.monitored(9)
    life.monitored(9)
    life.monitored(10, factor=1.5)
    kept = life.kept(estimating.CAME).sort("known_at")
    whole = life.ahead.part(_week(life.ahead, 1))
    assert kept["rows"].to_list() == [late["rows"].item(), whole.loss.size, whole.loss.size]
    found = performance.first_and_last(kept, key=estimating.CAME_KEY, values=("realized", "rows"))
    assert found.height == 1
    assert found["realized_first"].item() == late["realized"].item()
    assert found["realized"].item() == pytest.approx(1.5 * whole.loss.mean())
    assert kept["expected"][0] == pytest.approx(kept["expected"][2], rel=0.05)


def test_weekly_figures_are_revised_not_overwritten(life: Life) -> None:
    def figures(value: float, known_on: date, segment: str = "") -> None:
        found = pl.DataFrame(
            [("pinball", segment, value, 2.0, 100, date(2025, 6, 2), "7")],
            schema={**performance.WEEKLY_SCHEMA, "model_version": pl.String},
            orient="row",
        )
        now = datetime(known_on.year, known_on.month, known_on.day, tzinfo=UTC)
        res = SimpleNamespace(tables=life.tables, clock=SimpleNamespace(now=lambda: now))
        key = names.model_key("demand", estimating.WEEKLY)
        estimating.keep_revised(res, key, found, key=estimating.WEEKLY_KEY, values=("value", "rows"))

    figures(1.25, date(2025, 6, 9))
    figures(1.25, date(2025, 6, 10))
    figures(1.75, date(2025, 6, 20))
    figures(0.5, date(2025, 6, 20), EVIL)
    assert life.kept(estimating.WEEKLY).filter(segment="")["value"].sort().to_list() == [1.25, 1.75]
    metadata, page = life.shown()
    assert metadata["pinball, last week"].value == 1.75
    assert "1.25" in page
    assert "1.75" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_without_a_champion_there_is_nothing_to_show(life: Life) -> None:
    life.ledger = SimpleNamespace(champion=lambda model: None)
    found = dg.materialize(
        [dg.SourceAsset(names.model_key("demand", "monitoring")), _performance(life.spec)],
        resources={"tables": life.tables, "ledger": life.ledger, "artifacts": life.artifacts},
    )
    assert found.success


def _week(scored: Scored, number: int) -> Any:
    return ((scored.rows["horizon_days"] - 1) // 7 + 1 == number).to_numpy()


def test_tables_keep_what_their_schemas_say(life: Life) -> None:
    life.monitored(0)
    life.monitored(8)
    assert set(outlook.ESTIMATES) <= set(life.kept(estimating.EXPECTED).columns)
    assert set(outlook.OUTCOMES) <= set(life.kept(estimating.CAME).columns)
    assert QUANTILES.primary == "pinball"
