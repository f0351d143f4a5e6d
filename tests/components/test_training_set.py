"""What a training set and a forecast are made of: sales and features of one moment, and the versions that were read."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from platform_assets import names
from platform_assets.components import training_set
from platform_assets.components.training_choice import alarm_known_at
from platform_assets.errors import ConcurrentWriteError, TableError
from platform_assets.science.retraining_policy import RetrainingPolicy
from resources.tables import Tables

DAYS = [datetime(2025, 3, day, tzinfo=UTC) for day in (2, 3, 4)]  # midnights that end the 1st, 2nd and 3rd
SPEC: Any = SimpleNamespace(name="demand", feature_service="demand_v1")
HISTORY = names.table_name(names.view_key("demand_history"))


def resources(tables: Tables, **more: Any) -> Any:
    return SimpleNamespace(tables=tables, clock=SimpleNamespace(now=lambda: DAYS[-1]), **more)


def rows(instants: list[datetime]) -> pl.DataFrame:
    frame = pl.DataFrame({names.EVENT_AT: instants, names.KNOWN_AT: instants, names.SERIES_ID: ["a"] * len(instants)})
    return frame.with_columns(pl.col(names.EVENT_AT, names.KNOWN_AT).dt.cast_time_unit("us"))


def test_a_forecast_is_issued_where_features_end_not_where_sales_do(tmp_path: Path) -> None:
    """Sales arrive a run before their features; joined as known then, the newest day would get the day before's."""
    tables = Tables(str(tmp_path))
    tables.replace(names.SALES, rows(DAYS))
    tables.replace(HISTORY, rows(DAYS[:2]))
    found = training_set.issued_sales(SPEC, resources(tables)).collect()
    assert found[names.EVENT_AT].to_list() == DAYS[:2]
    tables.replace(HISTORY, rows(DAYS))
    assert training_set.issued_sales(SPEC, resources(tables)).collect().height == 3


class MovingStore:
    """A feature store whose view is written during the first `moves` joins."""

    def __init__(self, tables: Tables, moves: int) -> None:
        self.tables, self.moves = tables, moves

    def historical(self, entities: pl.DataFrame, service: str) -> pl.DataFrame:
        read = self.tables.version(HISTORY)
        if self.moves:
            self.moves -= 1
            self.tables.replace(HISTORY, rows(DAYS))
        return entities.with_columns(read=pl.lit(read))


def test_the_recorded_versions_are_those_that_were_joined(tmp_path: Path) -> None:
    tables = Tables(str(tmp_path))
    tables.replace(HISTORY, rows(DAYS))
    store = MovingStore(tables, moves=2)
    joined, versions = training_set._joined(SPEC, resources(tables, feature_store=store), pl.DataFrame({"x": [1]}))
    assert versions == {HISTORY: 2}
    assert joined["read"].to_list() == [2]
    with pytest.raises(ConcurrentWriteError, match="written during each of 3 joins"):
        training_set._joined(
            SPEC, resources(tables, feature_store=MovingStore(tables, moves=9)), pl.DataFrame({"x": [1]})
        )


def test_a_commit_keeps_its_facts_with_its_version(tmp_path: Path) -> None:
    tables = Tables(str(tmp_path))
    tables.replace("sets/demand", rows(DAYS), facts={"made of": "sales 1"})
    tables.replace("sets/demand", rows(DAYS), facts={"made of": "sales 2"})
    tables.replace("sets/demand", rows(DAYS))
    assert [tables.fact("sets/demand", "made of", version) for version in (0, 1)] == ["sales 1", "sales 2"]
    with pytest.raises(TableError, match="version 2: its commit says nothing of `made of`"):
        tables.fact("sets/demand", "made of")


def test_what_is_known_ends_at_the_platforms_now(tmp_path: Path) -> None:
    tables = Tables(str(tmp_path))
    tables.replace(names.SALES, rows([*DAYS, DAYS[-1] + timedelta(seconds=1)]))
    assert training_set.known_sales(resources(tables)).collect().height == 3


@pytest.mark.parametrize(
    ("judged_days", "trained_days_ago", "alarm_days_ago", "label", "windows"),
    [
        (None, 28, None, "units", [14]),  # the newer half of what the champion has not seen
        (7, 28, None, "units", [7]),
        (7, 7, None, "units", [7]),
        (7, 6, None, "units", [28, 56, 84]),  # the champion has seen some of the week: as at a first training
        (7, 28, None, "is_dormant", [28]),  # a label that spans the horizon cannot be judged in part
        (None, 28, 20, "units", [14]),  # the half lies within the alarm
        (None, 28, 9, "units", [7]),  # whole weeks, none of them before the alarm's first day
        (None, 28, 6, "units", [14]),  # nothing whole has come since: the gate knows what that is worth
        (None, 28 * 6, 28 + 15, "units", [14, 42]),
        (7, 28, 20, "units", [7]),
    ],
)
def test_after_an_alarm_the_last_days_judge(
    judged_days: int | None, trained_days_ago: int, alarm_days_ago: int | None, label: str, windows: list[int]
) -> None:
    last = datetime(2025, 6, 30, tzinfo=UTC)
    ends = [last + timedelta(days=1 - back) for back in range(200)]
    periods = pl.DataFrame({names.PERIOD_ON: [end.date() - timedelta(days=1) for end in ends], names.EVENT_AT: ends})
    champion: Any = SimpleNamespace(shipped=SimpleNamespace(cut_at=last + timedelta(days=1 - trained_days_ago)))
    spec: Any = SimpleNamespace(name="demand", label=label, horizon_days=28, origins=3)
    found = training_set.evaluation_origins(
        spec,
        periods,
        SimpleNamespace(period_days=1),
        champion,
        judged_days=judged_days,
        alarm_on=None if alarm_days_ago is None else last.date() - timedelta(days=alarm_days_ago),
    )
    assert sorted((last.date() - one.issued_on).days for one in found) == windows


@pytest.mark.parametrize("period_days", [1, 7])
@pytest.mark.parametrize("judged_days", [7, None])
@pytest.mark.parametrize("timezone", ["Europe/Berlin", "UTC", "America/New_York", "Pacific/Auckland"])
def test_a_settled_alarm_is_answered_by_a_training_that_can_be_judged(
    period_days: int, judged_days: int | None, timezone: str
) -> None:
    """As soon as the policy lets it: the fit that is judged knows the alarm's first period."""
    zone, began = ZoneInfo(timezone), date(2025, 3, 24)  # a Monday; the clocks of Europe change within the week
    settle_days = RetrainingPolicy().settle_days
    last = began + timedelta(days=next(age for age in range(0, 60, period_days) if age >= settle_days))
    firsts = [last - timedelta(days=period_days * back) for back in range(60)]
    ends = [datetime.combine(day + timedelta(days=period_days), time(), zone).astimezone(UTC) for day in firsts]
    periods = pl.DataFrame({names.PERIOD_ON: firsts, names.EVENT_AT: ends})
    source = SimpleNamespace(period_days=period_days, timezone=timezone)
    champion: Any = SimpleNamespace(shipped=SimpleNamespace(cut_at=ends[-1]))
    spec: Any = SimpleNamespace(name="demand", label="units", horizon_days=28, origins=3)
    origins = training_set.evaluation_origins(spec, periods, source, champion, judged_days=judged_days, alarm_on=began)
    opens_at = periods.filter(pl.col(names.PERIOD_ON) == origins[0].issued_on)[names.EVENT_AT].item()
    known_at = alarm_known_at(source, f"error/1/{began}")
    assert known_at is not None
    assert opens_at >= known_at
