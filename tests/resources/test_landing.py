"""Files of a state directory: the history, and what arrives and is accepted, in order, once, whole."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from platform_assets.components.source_choice import source_facts
from platform_assets.errors import ConfigurationError, ContractError, DataError, SchemaError
from platform_assets.science.source import Source
from resources.landing import Landed, LandedFile, Landing
from resources.ledger import Ledger
from resources.refusals import record_refusal
from tests.data.corpus import as_csv, as_parquet
from tests.data.retail import retailer
from tests.data.sandbox import SOURCES

NOW = datetime(2011, 4, 16, tzinfo=UTC)
NEXT = date(2011, 4, 15)


@pytest.fixture
def shop() -> Source:
    return source_facts(SOURCES / "online_retail")


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    retailer(days=45).write_parquet(path := tmp_path / "history.parquet")
    return Landing(data=str(path), folder=str(tmp_path))


def day(on: date = NEXT) -> pl.DataFrame:
    return retailer(days=80).filter(pl.col("ts").dt.date() == on)


def arrives(landing: Landing, frame: pl.DataFrame, name: str = "new.parquet") -> Path:
    path = Path(landing.arriving) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(as_csv(frame) if name.endswith(".csv") else as_parquet(frame))
    return path


def file_of(landed: Landed, name: str) -> LandedFile:
    (found,) = [file for file in landed.files if file.name == name]
    return found


def accepted(landing: Landing) -> Path:
    return Path(landing.folder) / "accepted"


def test_an_accepted_file_is_kept_and_counts(landing: Landing, shop: Source) -> None:
    before = landing.lines(shop, now=NOW).lines
    path = arrives(landing, day())
    digest = landing.accept(path, shop, now=NOW)
    path.unlink()  # the landing folder may be emptied
    after = landing.lines(shop, now=NOW)
    assert after.lines.height == before.height + day().height
    assert file_of(after, "new.parquet").digest == digest[:16]
    assert file_of(after, "history.parquet").landed == file_of(after, "history.parquet").rows
    again = arrives(landing, day(), "again.parquet")
    assert landing.accept(again, shop, now=NOW + timedelta(days=1)) == digest
    assert landing.lines(shop, now=NOW).lines.height == after.lines.height


def test_a_later_file_supersedes_a_day_even_on_a_clock_that_stands(landing: Landing, shop: Source) -> None:
    for number in range(1, 4):
        landing.accept(arrives(landing, day().with_columns(pl.col("quantity") * number)), shop, now=NOW)
    landed = landing.lines(shop, now=NOW)
    units = landed.lines.filter(pl.col("day_on") == NEXT)["quantity"].sum()
    assert units == 3 * day()["quantity"].sum()
    assert sum(file.landed for file in landed.files) == landed.lines.height


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": pl.col("price") * 100}, "column `price` has median"),  # implausible by itself
        (
            {"price": pl.col("price") / 16},
            "column `price` is 0.0625 times what it was before, for 12 series of 2011-04-15",
        ),
        ({"quantity": pl.col("quantity") * 0}, "column `quantity` is above 0 in none of"),
        ({"quantity": pl.col("quantity").cast(pl.String)}, "column `quantity` holds String"),
    ],
)
def test_an_arrival_is_compared_with_what_came_before(
    landing: Landing, shop: Source, change: dict[str, pl.Expr], message: str
) -> None:
    frame = day().with_columns(**change)
    path = arrives(landing, frame)
    with pytest.raises(DataError, match=message):
        landing.accept(path, shop if "median" in message else _without_bounds(shop), now=NOW)
    assert not accepted(landing).exists()


def _without_bounds(shop: Source) -> Source:
    return replace(shop, rules=replace(shop.rules, plausible={}))


def test_a_jump_is_refused_unless_a_manifest_vouches_for_it(landing: Landing, shop: Source) -> None:
    shop = _without_bounds(shop)
    path = arrives(landing, day().with_columns(price=pl.col("price") / 16), "sale.csv")
    manifest = path.with_name("sale.csv.manifest.json")
    for stated in (None, {"rows": day().height}):  # that all lines are there says nothing of their prices
        if stated is not None:
            manifest.write_text(json.dumps(stated))
        with pytest.raises(ContractError, match="another unit") as caught:
            landing.accept(path, shop, now=NOW)
    assert caught.value.hint is not None
    said = caught.value.hint[caught.value.hint.index("{") : caught.value.hint.index("}") + 1]
    manifest.write_text(said)  # what the hint says, to the letter
    landing.accept(path, shop, now=NOW)
    assert file_of(landing.lines(shop, now=NOW), "sale.csv").landed == day().height


def test_a_torso_of_a_day_is_refused_unless_a_manifest_vouches_for_it(landing: Landing, shop: Source) -> None:
    path = arrives(landing, day().head(3), "short.csv")
    with pytest.raises(
        ContractError, match=r"short.csv: column `ts`: the last period, 2011-04-15, has 3 lines .* cut off"
    ):
        landing.accept(path, shop, now=NOW)
    path.with_name("short.csv.manifest.json").write_text('{"rows": 3}')
    landing.accept(path, shop, now=NOW)
    assert file_of(landing.lines(shop, now=NOW), "short.csv").landed == 3


def test_a_torso_in_the_middle_is_refused_too(landing: Landing, shop: Source) -> None:
    """Only the last day was looked at: a file with one line of a day before it replaced that day's fifty."""
    days = retailer(days=45).filter(pl.col("ts").dt.date() >= date(2011, 4, 8))
    middle = pl.col("ts").dt.date() == date(2011, 4, 11)
    path = arrives(landing, pl.concat([days.filter(~middle), days.filter(middle).head(1)]).sort("ts"))
    with pytest.raises(ContractError, match=r"new.parquet: column `ts`: 2011-04-11 has 1 lines .* replaces \d\d that"):
        landing.accept(path, shop, now=NOW)
    assert not accepted(landing).exists()


def test_a_killed_acceptance_leaves_nothing_that_counts(landing: Landing, shop: Source) -> None:
    accepted(landing).mkdir()
    (accepted(landing) / ".20110416T000000000000Z_0123456789abcdef_new.parquet.99").write_bytes(b"half a fi")
    assert landing.lines(shop, now=NOW).lines.height == retailer(days=45).height


def test_a_refusal_stands_in_the_ledger_once(tmp_path: Path, landing: Landing, shop: Source) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    path = arrives(landing, day())
    for error in (SchemaError("a"), SchemaError("a"), SchemaError("b")):
        record_refusal(ledger, shop, path, error, now=NOW)
    record_refusal(ledger, shop, tmp_path / "gone.csv", SchemaError("no such file"), now=NOW)
    assert [(r.file, r.reason) for r in ledger.refusals("online_retail")] == [
        ("new.parquet", "a"),
        ("new.parquet", "b"),
        ("gone.csv", "no such file"),
    ]


def test_a_source_that_cannot_be_simulated_needs_a_file(tmp_path: Path, shop: Source) -> None:
    with pytest.raises(ConfigurationError, match="source online_retail needs a file"):
        Landing(folder=str(tmp_path)).lines(shop, now=NOW)


def test_a_simulated_world_is_made_once_and_its_names_are_checked(tmp_path: Path) -> None:
    simulator = source_facts(SOURCES / "simulator")
    small = {"stores": 1, "skus": 5, "days": 30, "scenarios": [{"name": "step", "onset_on": "2024-01-20"}]}
    landing = Landing(folder=str(tmp_path), simulator=small)
    path = landing.history_file(simulator)
    made = path.stat().st_mtime_ns
    assert landing.history_file(simulator) == path
    assert path.stat().st_mtime_ns == made
    assert Landing(folder=str(tmp_path), simulator={**small, "seed": 1}).history_file(simulator) != path
    with pytest.raises(ConfigurationError, match=r"known: .*'skus'"):
        Landing(folder=str(tmp_path), simulator={"shops": 1}).history_file(simulator)


def test_plans_lie_beside_a_file(tmp_path: Path) -> None:
    simulator = source_facts(SOURCES / "simulator")
    (tmp_path / "x.parquet").write_bytes(b"")
    landing = Landing(data=str(tmp_path / "x.parquet"), folder=str(tmp_path))
    assert landing.plans(simulator) == []
    header = "store,sku,target_on,announced_on,planned_price,is_planned_promotion\n"
    (tmp_path / "x.plans.csv").write_text(header + "store_01,sku_0001,2024-01-05,2024-01-01,1.5,true\n")
    [(plans, arrived_at)] = landing.plans(simulator)
    assert arrived_at is None
    assert plans.rows() == [("store_01", "sku_0001", date(2024, 1, 5), date(2024, 1, 1), 1.5, True)]
    (tmp_path / "x.plans.csv").write_text(header + "store_01,,2024-01-05,2024-01-01,1.5,true\n")
    with pytest.raises(ContractError, match=r"x.plans.csv: column `sku` is missing in row 1"):
        landing.plans(simulator)
