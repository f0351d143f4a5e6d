"""A month of a view that fails: it stays failed beside the others, nobody asks for it again, and it is retried alone."""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from platform_assets.components import feature_steps
from platform_assets.components.feature_views import view_definitions
from platform_assets.errors import DataError
from tests.components.test_feature_views import WINDOW, materialize, resources_at, sales, spec_of

KEY = dg.AssetKey(["features", "demand_history"])
MONTHS = ["2024-01-01", "2024-02-01", "2024-03-01"]
FEBRUARY = MONTHS[1]


@dg.asset(key="sales", partitions_def=WINDOW.partitions)
def sales_table() -> None: ...


class Views:
    """The asset of one view, of which February may fail."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> None:
        resources = resources_at(folder)
        resources["tables"].write("sales", sales(), partition_by="period_on")
        view = view_definitions(spec_of("demand_history"), WINDOW)
        self.defs = dg.Definitions.merge(dg.Definitions(assets=[sales_table], resources=resources), view)
        self.instance, self.tables, self.fails = instance, resources["tables"], False
        self.world = (self.defs.resolve_implicit_global_asset_job_def(), instance, resources)
        function = feature_steps.function_of

        def function_of(spec: Any) -> Any:
            def computed(read: pl.LazyFrame, *, start_on: date, end_on: date, **rest: Any) -> pl.LazyFrame:
                if self.fails and start_on <= date(2024, 2, 1) <= end_on:
                    raise DataError("a file of February is damaged")
                return function(spec)(read, start_on=start_on, end_on=end_on, **rest)

            return computed

        monkeypatch.setattr(feature_steps, "function_of", function_of)

    def run(self, first: str, last: str | None = None) -> bool:
        return materialize(self.world, [list(KEY.path)], first, last).success

    def statuses(self) -> list[str]:
        found = self.instance.get_status_by_partition(KEY, MONTHS, WINDOW.partitions)
        assert found is not None
        return ["none" if (status := found[month]) is None else status.value.lower() for month in MONTHS]

    def rows(self) -> dict[str, int]:
        """Rows of each month that has some."""
        stored = self.tables.scan("features/demand_history").select(pl.col("period_on").dt.truncate("1mo")).collect()
        return {str(day): count for day, count in sorted(stored["period_on"].value_counts().iter_rows())}

    def made(self) -> dict[str, int]:
        """Month to how often it was materialized."""
        events = self.instance.fetch_materializations(KEY, limit=50).records
        return {month: sum(event.partition_key == month for event in events) for month in MONTHS}

    def asked_for(self, cursor: Any = None) -> tuple[list[str], Any]:
        """Months of the view that automation asks for now, and where it stands."""
        found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=cursor)
        subset = found.get_requested_partitions(KEY) if found.get_num_requested(KEY) else []
        return sorted(str(month) for month in subset), found.cursor


@pytest.fixture
def views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Views(tmp_path, monkeypatch, instance)


def test_a_failed_month_stays_failed_and_is_retried_alone(views: Views) -> None:
    views.fails = True
    assert [views.run(month) for month in MONTHS] == [True, False, True]
    assert views.statuses() == ["materialized", "failed", "materialized"]
    assert set(views.rows()) == {"2024-01-01", "2024-03-01"}
    views.fails = False
    assert views.run(FEBRUARY)
    assert views.statuses() == ["materialized"] * 3
    assert views.made() == dict.fromkeys(MONTHS, 1)
    apart = views.rows()
    assert views.run(MONTHS[0], MONTHS[-1])  # all in one run: the same rows
    assert views.rows() == apart
    assert set(apart) == set(MONTHS)


def test_a_month_that_stood_stands_when_it_fails(views: Views) -> None:
    assert views.run(MONTHS[0], MONTHS[-1])
    before = views.rows()
    views.fails = True
    assert not views.run(FEBRUARY)
    assert views.statuses() == ["materialized", "failed", "materialized"]
    assert views.rows() == before
    assert not views.run(MONTHS[0], MONTHS[-1])  # one run of all months writes all of them or none
    assert views.rows() == before
    assert views.statuses() == ["failed"] * 3


def test_automation_does_not_ask_again_for_what_failed(views: Views) -> None:
    assert views.run(MONTHS[0], MONTHS[-1])
    _, cursor = views.asked_for()
    views.instance.report_runless_asset_event(dg.AssetMaterialization("sales", partition=FEBRUARY))
    asked, cursor = views.asked_for(cursor)
    assert asked == [FEBRUARY]
    views.fails = True
    assert not views.run(FEBRUARY)
    for _ in range(3):
        asked, cursor = views.asked_for(cursor)
        assert asked == []
    assert views.statuses() == ["materialized", "failed", "materialized"]
    # What moves again is asked for again.
    views.instance.report_runless_asset_event(dg.AssetMaterialization("sales", partition=FEBRUARY))
    assert views.asked_for(cursor)[0] == [FEBRUARY]
