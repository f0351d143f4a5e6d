"""How files become tables: nobody's lines are lost to another run, every row is accounted for, plans arrive too."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from platform_assets.components.source_steps import check_lines
from platform_assets.components.source_window import ARRIVAL_TAG
from platform_assets.science import contract, kinds
from resources.landing import Landed, Landing
from resources.refusals import is_refused
from tests.data.corpus import as_parquet
from tests.data.retail import FIRST, retailer, simulated
from tests.data.sandbox import Sandbox

NEXT = date(2011, 4, 15)
TABLE = "online_retail/lines"


@pytest.fixture
def retail(tmp_path: Path) -> Sandbox:
    retailer(days=45).write_parquet(path := tmp_path / "history.parquet")
    (tmp_path / "landing").mkdir()
    sandbox = Sandbox(tmp_path, "online_retail", path, window=(FIRST, date(2011, 5, 31)))
    sandbox.clock.at = datetime(2011, 4, 20, tzinfo=UTC)
    return sandbox


def laid(sandbox: Sandbox, name: str, frame: pl.DataFrame) -> dict[str, str]:
    path = Path(sandbox.landing.arriving) / name
    path.write_bytes(as_parquet(frame))
    return {ARRIVAL_TAG: str(path)}


def day(on: date = NEXT) -> pl.DataFrame:
    return retailer(days=80).filter(pl.col("ts").dt.date() == on)


def volume(sandbox: Sandbox) -> bool:
    """The verdict on the whole table."""
    resources = {key: getattr(sandbox, key) for key in ("tables", "landing", "clock", "ledger")}
    context: Any = SimpleNamespace(resources=SimpleNamespace(**resources), run=SimpleNamespace(tags={}))
    verdicts = {found.check_name: found for found in check_lines(sandbox.source, context)}
    return verdicts["volume"].passed


def test_a_run_that_knows_less_does_not_write_over_another(retail: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It listed the files, another run accepted one more and wrote the month, and then it wrote the month without it."""
    retail.run()
    listed, real = list[Landed](), Landing.lines

    def slow(landing: Landing, *arguments: Any, **options: Any) -> Landed:
        found = real(landing, *arguments, **options)
        if not listed:  # the first run has listed; now the other one comes, from its listing to its commit
            listed.append(found)
            retail.run("2011-04-01", tags=laid(retail, "next.parquet", day()))
        return found

    monkeypatch.setattr(Landing, "lines", slow)
    retail.run("2011-04-01")
    assert retail.lines.filter(pl.col("day_on") == NEXT).height == day().height
    assert retail.sales.filter(pl.col("period_on") == NEXT)["units"].sum() == day()["quantity"].sum()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines.head(200),  # most are lost
        lambda lines: lines.filter(pl.col("file_row") != 1500),  # one is
        lambda lines: pl.concat([lines, lines.tail(1)]),  # one stands there twice
        lambda lines: lines.with_columns(file_digest=pl.lit("0" * 16)),  # of a file that nobody knows
    ],
)
def test_the_table_is_checked_against_the_files(retail: Sandbox, spoil: Any) -> None:
    """The check said `every row of every file`, and passed on 200 of 3,000 lines."""
    retail.run()
    retail.tables.write(TABLE, spoil(retail.lines))
    assert not volume(retail)


def test_a_file_that_another_run_has_accepted_is_not_missed_until_it_should_be_there(retail: Sandbox) -> None:
    retail.run()
    tags = laid(retail, "next.parquet", day())
    retail.landing.accept(tags[ARRIVAL_TAG], retail.source, now=retail.clock.now())
    assert volume(retail)
    retail.run("2011-04-01", tags=tags)
    retail.tables.write(TABLE, retail.lines.filter(pl.col("day_on") != NEXT))
    assert not volume(retail)


def test_a_run_accepts_no_file_of_months_that_it_does_not_write(retail: Sandbox) -> None:
    retail.run()
    result = retail.run("2011-04-01", tags=laid(retail, "may.parquet", day(date(2011, 5, 2))), fails=True)
    assert not result.success
    assert retail.landing.kept.taken() == []
    assert retail.ledger.refusals("online_retail") == []


def test_the_file_at_fault_is_blamed(retail: Sandbox) -> None:
    """A history that the contract no longer fits was recorded under the arriving file's name and content."""
    retail.run()
    history = Path(str(retail.landing.data))
    pl.read_parquet(history).with_columns(country=pl.lit(7)).write_parquet(history)
    tags = laid(retail, "next.parquet", day())
    assert not retail.run("2011-04-01", tags=tags, fails=True).success
    (refusal,) = retail.ledger.refusals("online_retail")
    assert refusal.file == "history.parquet"
    digest = retail.landing.kept.read(tags[ARRIVAL_TAG]).digest
    assert refusal.sha256 != digest
    assert not is_refused(retail.ledger, retail.source, digest)


def test_an_arrival_reads_its_file_and_its_month_alone(retail: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each examined the whole history twice, a million rows of it."""
    retail.run()
    read, checked = list[int](), list[int]()
    typed, failures = kinds.typed, contract.failures

    def counted(raw: pl.DataFrame, *arguments: Any, **options: Any) -> pl.DataFrame:
        read.append(raw.height)
        return typed(raw, *arguments, **options)

    def counted_failures(lines: pl.DataFrame, *arguments: Any) -> Any:
        checked.append(lines.height)
        return failures(lines, *arguments)

    monkeypatch.setattr(kinds, "typed", counted)
    monkeypatch.setattr(contract, "failures", counted_failures)
    retail.run("2011-04-01", tags=laid(retail, "next.parquet", day()))
    april = retail.lines.filter(pl.col("day_on") >= date(2011, 4, 1)).height
    assert sum(read) == day().height
    assert max(checked) <= april


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def chain(tmp_path: Path) -> Sandbox:
    simulated().write_parquet(path := tmp_path / "history.parquet")
    said = plans(date(2024, 2, 20), date(2024, 2, 10), 2.5)
    said.write_parquet(tmp_path / "history.plans.parquet")
    (tmp_path / "landing").mkdir()
    sandbox = Sandbox(tmp_path, "simulator", path, window=(date(2024, 1, 1), date(2024, 4, 30)))
    sandbox.clock.at = datetime(2024, 3, 5, 12, tzinfo=UTC)
    return sandbox


def plans(target_on: date, announced_on: date, price: float) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "store": ["store_01"],
            "sku": ["sku_0001"],
            "target_on": [target_on],
            "announced_on": [announced_on],
            "planned_price": [price],
            "is_planned_promotion": [True],
        }
    )


def test_plans_arrive(chain: Sandbox) -> None:
    """They were read beside the history only: weeks after it no price and no promotion was planned any more."""
    chain.run()
    old = chain.table("plans")
    new = pl.concat([plans(date(2024, 3, 20), date(2024, 3, 4), 1.5), plans(date(2024, 3, 21), date(2024, 3, 1), 1.75)])
    chain.run("2024-03-01", tags=laid(chain, "march.plans.parquet", new), only=[["plans"]])
    found = chain.table("plans").sort("target_on")
    assert found["planned_price"].to_list() == [2.5, 1.5, 1.75]
    assert found.head(1).equals(old)
    on_time, late = found.rows(named=True)[1:]
    midnight = datetime(2024, 3, 4, 23, tzinfo=UTC)  # in Berlin, after the day of the announcement
    assert (on_time["event_at"], on_time["known_at"]) == (midnight, midnight)
    assert (late["event_at"], late["known_at"]) == (datetime(2024, 3, 1, 23, tzinfo=UTC), chain.clock.at)
    assert len(chain.landing.kept.taken()) == 1
    chain.run()
    assert chain.table("plans").sort("target_on").equals(found)


def test_a_corrected_announcement_is_a_later_row(chain: Sandbox) -> None:
    chain.run()
    again = plans(date(2024, 2, 20), date(2024, 2, 10), 2.25)
    chain.run("2024-02-01", tags=laid(chain, "again.plans.parquet", again), only=[["plans"]])
    first, second = chain.table("plans").sort("known_at").rows(named=True)
    assert (first["planned_price"], second["planned_price"]) == (2.5, 2.25)
    assert first["event_at"] == second["event_at"]
    assert second["known_at"] == chain.clock.at
    chain.clock.at += timedelta(days=1)
    same = again.with_columns(pl.col("planned_price") + 0)
    path = Path(chain.landing.arriving) / "same.plans.csv"
    same.write_csv(path)
    chain.run("2024-02-01", tags={ARRIVAL_TAG: str(path)}, only=[["plans"]])
    assert chain.table("plans").height == 2


def test_plans_of_a_source_that_announces_nothing_are_refused(retail: Sandbox) -> None:
    tags = laid(retail, "march.plans.parquet", plans(date(2011, 3, 20), date(2011, 3, 4), 1.5))
    assert not retail.run("2011-03-01", tags=tags, only=[["plans"]], fails=True).success
    (refusal,) = retail.ledger.refusals("online_retail")
    assert "march.plans.parquet: plans, and source online_retail announces nothing" in refusal.reason
