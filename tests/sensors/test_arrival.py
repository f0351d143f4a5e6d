"""The arrival sensor: a run for each new content, once, for the right months; refusals without a run."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from platform_assets.components.source_window import ARRIVAL_TAG
from sensors.arrival import arrival_sensor
from tests.data.corpus import as_csv, as_parquet
from tests.data.retail import FIRST, retailer
from tests.data.sandbox import Sandbox


@pytest.fixture
def retail(tmp_path: Path) -> Sandbox:
    path = tmp_path / "history.parquet"
    retailer(days=45).write_parquet(path)
    (tmp_path / "landing").mkdir()
    return Sandbox(tmp_path, "online_retail", path, window=(FIRST, date(2011, 5, 31)))


def lay(sandbox: Sandbox, name: str, frame: pl.DataFrame | bytes, *, seconds_ago: float = 60) -> Path:
    path = sandbox.landing.arriving / name
    content = frame if isinstance(frame, bytes) else as_csv(frame) if name.endswith("csv") else as_parquet(frame)
    path.write_bytes(content)
    at = datetime.now(UTC).timestamp() - seconds_ago
    os.utime(path, (at, at))
    return path


class Watch:
    """The sensor with its cursor, tick by tick."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.cursor = sandbox, None

    def tick(self) -> tuple[list[dg.RunRequest], str]:
        resources = {key: getattr(self.sandbox, key) for key in ("landing", "ledger", "clock", "source")}
        sensor = arrival_sensor()
        definitions = dg.Definitions.merge(self.sandbox.definitions, dg.Definitions(sensors=[sensor]))
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance, cursor=self.cursor, resources=resources, definitions=definitions
            )
            data = sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return list(data.run_requests or []), data.skip_message or ""


def days(first: date, last: date) -> pl.DataFrame:
    return retailer(days=80).filter(pl.col("ts").dt.date().is_between(first, last))


def test_each_content_asks_once_for_its_months(retail: Sandbox) -> None:
    watch = Watch(retail)
    assert watch.tick()[1] == f"0 files in {retail.landing.arriving}: 0 new, 0 known, 0 refused, 0 unsettled."

    one = lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    span = lay(retail, "spring.csv", days(date(2011, 4, 17), date(2011, 5, 3)))
    requests, _ = watch.tick()
    by_file = {Path(request.tags[ARRIVAL_TAG]).name: request for request in requests}
    assert by_file[one.name].partition_key == "2011-04-01"
    assert by_file[span.name].tags["dagster/asset_partition_range_start"] == "2011-04-01"
    assert by_file[span.name].tags["dagster/asset_partition_range_end"] == "2011-05-01"
    assert by_file[span.name].tags["perennial/reason"] == "spring.csv arrived: 2011-04-01 to 2011-05-01"
    assert by_file[one.name].run_key != by_file[span.name].run_key

    assert watch.tick() == ([], f"2 files in {retail.landing.arriving}: 0 new, 2 known, 0 refused, 0 unsettled.")
    key = by_file[one.name].run_key
    watch.cursor = None  # lost: the run key is the content's, so the daemon launches nothing twice
    assert key in {request.run_key for request in watch.tick()[0]}


def test_what_has_become_part_of_the_source_asks_for_nothing(retail: Sandbox) -> None:
    retail.run()
    path = lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    watch = Watch(retail)
    (request,), _ = watch.tick()
    retail.run("2011-04-01", tags={ARRIVAL_TAG: request.tags[ARRIVAL_TAG]})
    assert retail.lines.filter(pl.col("day_on") == date(2011, 4, 15)).height > 0
    copy = lay(retail, "copy.parquet", path.read_bytes())
    assert copy.name in os.listdir(retail.landing.arriving)
    watch.cursor = None
    assert watch.tick() == ([], f"2 files in {retail.landing.arriving}: 0 new, 2 known, 0 refused, 0 unsettled.")


def test_a_file_that_is_not_the_sources_is_refused_without_a_run(retail: Sandbox) -> None:
    lay(retail, "bad.csv", b"a,b\n1,2\n")
    watch = Watch(retail)
    requests, said = watch.tick()
    assert requests == []
    assert "1 refused" in said
    assert "bad.csv: column `country` is missing" in said
    watch.cursor = None
    watch.tick()
    assert [refusal.file for refusal in retail.ledger.refusals("online_retail")] == ["bad.csv"]


def test_a_growing_file_and_a_hidden_one_wait(retail: Sandbox) -> None:
    lay(retail, "growing.csv", days(date(2011, 4, 15), date(2011, 4, 15)), seconds_ago=0)
    lay(retail, ".partial.csv", b"a,b\n")
    lay(retail, "growing.csv.manifest.json", b"{}")
    assert Watch(retail).tick() == (
        [],
        f"1 files in {retail.landing.arriving}: 0 new, 0 known, 0 refused, 1 unsettled.",
    )


def test_days_beyond_the_graph_are_not_refused_for_ever(retail: Sandbox) -> None:
    """A new month needs definitions that know it; the file is asked for again when they do."""
    lay(retail, "june.csv", days(date(2011, 5, 18), date(2011, 5, 19)).with_columns(pl.col("ts").dt.offset_by("30d")))
    watch = Watch(retail)
    requests, said = watch.tick()
    assert requests == []
    assert "the graph has the months 2011-03-01 to 2011-05-01" in said
    assert retail.ledger.refusals("online_retail") == []
    assert json.loads(watch.cursor or "{}") == {}


def test_the_request_is_one_that_the_graph_can_run(retail: Sandbox) -> None:
    """Asset selection and partition range resolve against the definitions, as the daemon would resolve them."""
    sensor = arrival_sensor()
    definitions = dg.Definitions.merge(retail.definitions, dg.Definitions(sensors=[sensor]))
    dg.Definitions.validate_loadable(definitions)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
