"""The arrival sensor: a run for each new content until it stands in the tables, for the right months; refusals without a run."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml
from dagster import DagsterRunStatus as Status
from dagster._core.test_utils import create_run_for_test

from platform_assets.components.source_window import ARRIVAL_TAG
from platform_assets.names import TAG_CAUSE
from sensors.arrival import CAUSE, arrival_sensor
from tests.data.corpus import as_csv, as_parquet
from tests.data.retail import FIRST, retailer, simulated
from tests.data.sandbox import SOURCES, Sandbox
from tests.small import PROJECT


@pytest.fixture
def retail(tmp_path: Path) -> Sandbox:
    path = tmp_path / "history.parquet"
    retailer(days=45).write_parquet(path)
    (tmp_path / "landing").mkdir()
    return Sandbox(tmp_path, "online_retail", path, window=(FIRST, date(2011, 5, 31)))


def lay(sandbox: Sandbox, name: str, frame: pl.DataFrame | bytes, *, seconds_ago: float = 60) -> Path:
    path = Path(sandbox.landing.arriving) / name
    content = frame if isinstance(frame, bytes) else as_csv(frame) if name.endswith("csv") else as_parquet(frame)
    path.write_bytes(content)
    at = datetime.now(UTC).timestamp() - seconds_ago
    os.utime(path, (at, at))
    return path


class Watch:
    """The sensor with its cursor, tick by tick, and an instance whose runs are made by hand."""

    def __init__(self, sandbox: Sandbox, instance: dg.DagsterInstance) -> None:
        self.sandbox, self.instance, self.cursor = sandbox, instance, None

    def tick(self) -> tuple[list[dg.RunRequest], str]:
        resources = {key: getattr(self.sandbox, key) for key in ("landing", "ledger", "clock", "source")}
        sensor = arrival_sensor()
        definitions = dg.Definitions.merge(self.sandbox.definitions, dg.Definitions(sensors=[sensor]))
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=resources, definitions=definitions
        )
        data = sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return list(data.run_requests or []), data.skip_message or ""

    def ran(self, request: dg.RunRequest, status: Status) -> None:
        """What the daemon makes of a request."""
        create_run_for_test(self.instance, tags=dict(request.tags), status=status)

    def later(self, minutes: int) -> None:
        self.sandbox.clock.ahead += timedelta(minutes=minutes)


@pytest.fixture
def watch(retail: Sandbox) -> Iterator[Watch]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(retail, instance)


def own(request: dg.RunRequest) -> dict[str, str]:
    """The request's tags without those that Dagster adds."""
    return {name: value for name, value in request.tags.items() if not name.startswith("dagster/")}


def days(first: date, last: date) -> pl.DataFrame:
    return retailer(days=80).filter(pl.col("ts").dt.date().is_between(first, last))


def test_each_content_asks_once_for_its_months(retail: Sandbox, watch: Watch) -> None:
    assert watch.tick()[1] == f"0 files in {retail.landing.arriving}: nothing to do."

    one = lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    span = lay(retail, "spring.csv", days(date(2011, 4, 17), date(2011, 5, 3)))
    requests, _ = watch.tick()
    by_file = {Path(request.tags[ARRIVAL_TAG]).name: request for request in requests}
    assert by_file[one.name].partition_key == "2011-04-01"
    assert by_file[span.name].tags["dagster/asset_partition_range_start"] == "2011-04-01"
    assert by_file[span.name].tags["dagster/asset_partition_range_end"] == "2011-05-01"
    assert by_file[span.name].tags["perennial/reason"] == "spring.csv arrived: 2011-04-01 to 2011-05-01"
    assert by_file[one.name].run_key != by_file[span.name].run_key
    assert {key.to_user_string() for key in by_file[one.name].asset_selection or []} == {
        "online_retail/lines",
        "online_retail/quarantine",
        "sales",
    }
    assert {key.name for key in by_file[one.name].asset_check_keys or []} == {
        "contract",
        "volume",
        "accounting",
        "segments",
    }
    assert {request.tags["dagster/max_runtime"] for request in requests} == {"3600"}, "a dead run blocks the others"
    # Killed between the request and the run: the same run keys, so that the daemon launches nothing twice.
    assert {request.run_key for request in watch.tick()[0]} == {request.run_key for request in requests}
    watch.cursor = None
    assert {request.run_key for request in watch.tick()[0]} == {request.run_key for request in requests}
    for request in requests:
        watch.ran(request, Status.STARTED)
    assert watch.tick() == ([], f"2 files in {retail.landing.arriving}: 2 under way.")


def test_plans_ask_for_plans_by_the_months_of_their_announcements(tmp_path: Path) -> None:
    simulated().write_parquet(history := tmp_path / "history.parquet")
    (tmp_path / "landing").mkdir()
    chain = Sandbox(tmp_path, "simulator", history, window=(date(2024, 1, 1), date(2024, 4, 30)))
    header = "store,sku,target_on,announced_on,planned_price,is_planned_promotion\n"
    rows = [f"store_01,sku_0001,2024-05-0{n},2024-0{n}-28,1.5,true\n" for n in (2, 3)]
    lay(chain, "march.plans.csv", (header + "".join(rows)).encode())
    lay(chain, "torn.plans.csv", header.encode())
    with dg.DagsterInstance.ephemeral() as instance:
        watch = Watch(chain, instance)
        (request,), _ = watch.tick()
        assert request.asset_selection == [dg.AssetKey("plans")]
        assert request.tags["dagster/asset_partition_range_start"] == "2024-02-01"
        assert request.tags["dagster/asset_partition_range_end"] == "2024-03-01"
        chain.run("2024-02-01", "2024-03-01", tags=own(request), only=[["plans"]])
        assert watch.tick() == ([], f"2 files in {chain.landing.arriving}: 1 known, 1 refused.")
    assert chain.table("plans").height == 2


def test_what_stands_in_the_tables_asks_for_nothing(retail: Sandbox, watch: Watch) -> None:
    retail.run()
    path = lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    (request,), _ = watch.tick()
    retail.run("2011-04-01", tags=own(request))
    assert retail.lines.filter(pl.col("day_on") == date(2011, 4, 15)).height > 0
    lay(retail, "copy.parquet", path.read_bytes())
    for cursor in (watch.cursor, None):
        watch.cursor = cursor
        assert watch.tick() == ([], f"2 files in {retail.landing.arriving}: 2 known.")


def test_a_run_that_dies_is_repeated_until_the_file_stands_in_the_tables(retail: Sandbox, watch: Watch) -> None:
    """The cursor and the run key were spent when the request was made: a kill before its end lost the file in silence."""
    retail.run()
    lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    (request,), _ = watch.tick()
    watch.ran(request, Status.FAILURE)
    requests, said = watch.tick()
    assert requests == []
    assert "1 waiting. 2011-04-15.parquet: run 1 ended at" in said
    watch.later(2)
    (again,), _ = watch.tick()
    assert again.run_key == f"{request.run_key}/retry-1"
    # This one is killed after it has accepted the file, before anything is written; then the folder is emptied.
    retail.landing.accept(again.tags[ARRIVAL_TAG], retail.source, now=retail.clock.now())
    Path(again.tags[ARRIVAL_TAG]).unlink()
    watch.ran(again, Status.FAILURE)
    watch.later(10)
    (last,), _ = watch.tick()
    retail.run("2011-04-01", tags=own(last))
    assert retail.sales.filter(pl.col("period_on") == date(2011, 4, 15)).height > 0
    assert watch.tick() == ([], f"0 files in {retail.landing.arriving}: nothing to do.")


def test_a_file_is_not_done_before_sales_are_written(
    retail: Sandbox, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    retail.run()
    lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    (request,), _ = watch.tick()
    with monkeypatch.context() as patch:
        patch.setattr("platform_assets.components.source_steps.clean_lines", _killed)
        assert not retail.run("2011-04-01", tags=own(request), fails=True).success
    watch.ran(request, Status.FAILURE)
    watch.later(2)
    assert len(watch.tick()[0]) == 1
    retail.run("2011-04-01", tags=own(request))
    assert watch.tick()[1].endswith("1 known.")


def _killed(*_: object) -> Iterator[object]:
    raise RuntimeError("killed")
    yield


def test_after_three_runs_a_person_is_asked_and_a_file_laid_again_begins_anew(retail: Sandbox, watch: Watch) -> None:
    path = lay(retail, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)))
    for _ in range(3):
        (request,), _ = watch.tick()
        watch.ran(request, Status.FAILURE)
        watch.later(60)
    for _ in range(2):
        requests, said = watch.tick()
        assert requests == []
        assert "1 given up. 2011-04-15.parquet: 3 runs have ended without it, and it stands in no table." in said
    (decision,) = retail.ledger.decisions(kind="arrival")
    assert (decision.answer, decision.evidence["file"]) == ("given up", path.name)
    later = datetime.now(UTC).timestamp() + 60
    os.utime(path, (later, later))
    (request,), _ = watch.tick()
    assert request.run_key is not None
    assert request.run_key.endswith("/retry-3")


def test_a_correction_waits_for_the_older_file_of_its_days(retail: Sandbox, watch: Watch) -> None:
    """Repeated after it, the older file would replace the correction."""
    day = days(date(2011, 4, 15), date(2011, 4, 15))
    lay(retail, "a.parquet", day, seconds_ago=600)
    lay(retail, "b.parquet", day.with_columns(pl.col("quantity") * 2), seconds_ago=300)
    lay(retail, "c.parquet", days(date(2011, 4, 17), date(2011, 4, 17)), seconds_ago=200)
    requests, _ = watch.tick()
    assert [Path(request.tags[ARRIVAL_TAG]).name for request in requests] == ["a.parquet", "c.parquet"]
    watch.ran(requests[0], Status.FAILURE)
    watch.ran(requests[1], Status.SUCCESS)
    watch.later(10)
    asked = {Path(request.tags[ARRIVAL_TAG]).name for request in watch.tick()[0]}
    assert "a.parquet" in asked
    assert "b.parquet" not in asked


def test_a_file_that_is_not_the_sources_is_refused_without_a_run(retail: Sandbox, watch: Watch) -> None:
    lay(retail, "bad.csv", b"a,b\n1,2\n")
    requests, said = watch.tick()
    assert requests == []
    assert "1 refused" in said
    assert "bad.csv: column `country` is missing" in said
    watch.cursor = None
    watch.tick()
    assert [refusal.file for refusal in retail.ledger.refusals("online_retail")] == ["bad.csv"]


def test_a_refused_file_is_asked_for_again_when_the_contract_is_mended(tmp_path: Path) -> None:
    """The hint said `mend the contract`, and the file stayed refused for ever by its content."""
    retailer(days=45).write_parquet(history := tmp_path / "history.parquet")
    shutil.copytree(SOURCES / "online_retail", folder := tmp_path / "online_retail")
    (tmp_path / "landing").mkdir()

    def sandbox() -> Sandbox:
        return Sandbox(tmp_path, "online_retail", history, folder=folder, window=(FIRST, date(2011, 5, 31)))

    shop = sandbox()
    new_country = pl.lit("Atlantis").alias("country")
    lay(shop, "2011-04-15.parquet", days(date(2011, 4, 15), date(2011, 4, 15)).with_columns(new_country))
    with dg.DagsterInstance.ephemeral() as instance:
        watch = Watch(shop, instance)
        (request,), _ = watch.tick()
        assert not shop.run("2011-04-01", tags=own(request), fails=True).success
        watch.ran(request, Status.FAILURE)
        watch.later(60)
        assert watch.tick() == ([], f"1 files in {shop.landing.arriving}: 1 refused.")
        schema = folder / "schema.py"
        schema.write_text(schema.read_text().replace('"Australia",', '"Atlantis", "Australia",'))
        watch.sandbox, shop = sandbox(), sandbox()
        (again,), _ = watch.tick()
        shop.run("2011-04-01", tags=own(again))
        assert watch.tick()[1].endswith("1 known.")
    assert shop.lines.filter(pl.col("country") == "Atlantis").height > 0


def test_a_refused_file_is_asked_for_again_when_a_manifest_vouches_for_it(retail: Sandbox, watch: Watch) -> None:
    """The hint said to lay a manifest beside the file, and it stayed refused for ever by its content."""
    fifteenth = days(date(2011, 4, 15), date(2011, 4, 15)).head(3)
    path = lay(retail, "short.csv", fifteenth)
    (request,), _ = watch.tick()
    assert not retail.run("2011-04-01", tags=own(request), fails=True).success
    watch.ran(request, Status.FAILURE)
    watch.later(60)
    assert watch.tick() == ([], f"1 files in {retail.landing.arriving}: 1 refused.")
    manifest = path.with_name("short.csv.manifest.json")
    manifest.write_text('{"rows": 4}')
    watch.later(90)
    (request,), _ = watch.tick()
    assert not retail.run("2011-04-01", tags=own(request), fails=True).success
    watch.ran(request, Status.FAILURE)
    watch.later(120)
    assert watch.tick()[1].endswith("1 refused.")
    manifest.write_text('{"rows": 3}')
    watch.later(150)
    (request,), _ = watch.tick()
    retail.run("2011-04-01", tags=own(request))
    assert watch.tick()[1].endswith("1 known.")


def test_a_growing_file_and_a_hidden_one_wait(retail: Sandbox, watch: Watch) -> None:
    lay(retail, "growing.csv", days(date(2011, 4, 15), date(2011, 4, 15)), seconds_ago=0)
    lay(retail, ".partial.csv", b"a,b\n")
    lay(retail, "growing.csv.manifest.json", b"{}")
    assert watch.tick() == ([], f"1 files in {retail.landing.arriving}: 1 unsettled.")


def test_days_beyond_the_graph_are_not_refused_for_ever(retail: Sandbox, watch: Watch) -> None:
    """A later month is asked for when the graph has it: of a living source with the clock."""
    lay(retail, "june.csv", days(date(2011, 5, 18), date(2011, 5, 19)).with_columns(pl.col("ts").dt.offset_by("30d")))
    requests, said = watch.tick()
    assert requests == []
    assert "1 waiting. june.csv: 2011-06-17 to 2011-06-18, the graph has the months 2011-03-01 to 2011-05-01" in said
    assert retail.ledger.refusals("online_retail") == []
    history = Path(str(retail.landing.data))
    watch.sandbox = Sandbox(history.parent, "online_retail", history, window=(FIRST, date(2011, 6, 30)))
    assert [request.partition_key for request in watch.tick()[0]] == ["2011-06-01"]


def test_days_before_the_graph_are_refused(retail: Sandbox, watch: Watch) -> None:
    """They were accepted, and then no run of the source could be right any more."""
    lay(retail, "old.csv", days(date(2011, 3, 1), date(2011, 3, 2)).with_columns(pl.col("ts").dt.offset_by("-30d")))
    assert "1 refused. old.csv: lines from 2011-01-30 on, the source begins in 2011-03" in watch.tick()[1]


def test_one_arrival_runs_at_a_time() -> None:
    """Two that list files and write tables at once cost each other their work."""
    for file in ("dagster.yaml", "deploy/k8s/dagster.yaml"):
        limits = yaml.safe_load((PROJECT / file).read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
        assert {"key": TAG_CAUSE, "value": CAUSE, "limit": 1} in limits, file


def test_the_request_is_one_that_the_graph_can_run(retail: Sandbox) -> None:
    """Asset selection and partition range resolve against the definitions, as the daemon would resolve them."""
    sensor = arrival_sensor()
    definitions = dg.Definitions.merge(retail.definitions, dg.Definitions(sensors=[sensor]))
    dg.Definitions.validate_loadable(definitions)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
