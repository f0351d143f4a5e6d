"""A source's assets, run: lines land, are checked, cleaned and become sales; corrections, refusals, sources of one's own."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster.components.testing import create_defs_folder_sandbox
from polars.testing import assert_frame_equal

from platform_assets.components.sales_source import SalesSource
from platform_assets.components.source_choice import date_range, recognise, recorded_date_range, source_facts
from platform_assets.components.source_scaffolding import SalesSourceScaffolder
from platform_assets.components.source_window import ARRIVAL_TAG, active_window, set_window
from platform_assets.errors import ConfigurationError, SchemaError
from platform_assets.science import contract
from resources.ledger import Ledger
from tests.data.retail import FIRST, retailer, simulated
from tests.data.sandbox import SOURCES, Sandbox

LAST_DAY_KNOWN = datetime(2011, 4, 14, 23, tzinfo=UTC)  # the midnight in London that ends 2011-04-14


@pytest.fixture
def retail(tmp_path: Path) -> Sandbox:
    path = tmp_path / "history.parquet"
    retailer(days=45).write_parquet(path)
    return Sandbox(tmp_path, "online_retail", path)


def test_a_whole_history_lands_in_one_run_and_again_without_change(retail: Sandbox) -> None:
    result = retail.run()
    good = retailer(days=45)
    assert retail.checks(result) == {"contract": True, "volume": True, "accounting": True, "segments": True}
    assert retail.lines.height == good.height
    assert retail.quarantine.is_empty()
    assert retail.sales["units"].sum() == good["quantity"].sum()
    assert retail.lines["known_at"].max() == LAST_DAY_KNOWN  # by the rule, not by when it was loaded
    assert_frame_equal(retail.sales["event_at"].to_frame("at"), retail.sales["known_at"].to_frame("at"))

    lines, sales = retail.lines, retail.sales
    retail.clock.at += timedelta(days=3)
    retail.run("2011-04-01")
    assert_frame_equal(retail.lines, lines)
    assert_frame_equal(retail.sales, sales)


def test_a_simulated_world_has_sales_and_plans(tmp_path: Path) -> None:
    world = {"stores": 2, "skus": 10, "days": 60, "starts_on": "2024-01-01", "seed": 1}
    sandbox = Sandbox(tmp_path, "simulator", simulate=world, window=(date(2024, 1, 1), date(2024, 2, 29)))
    result = sandbox.run()
    lines = simulated()
    assert sandbox.checks(result) == {"contract": True, "volume": True, "accounting": True, "segments": True}
    assert sandbox.sales["units"].sum() == lines["units"].sum()
    assert sandbox.sales["tickets"].sum() == lines["tickets"].sum()
    assert set(sandbox.sales["series_id"]) == {f"{store}/{sku}" for store, sku in lines.select("store", "sku").rows()}
    plans = sandbox.table("plans")
    assert plans.height > 0
    assert (plans["event_at"] == plans["known_at"]).all()
    assert plans["arrived_on"].min() == date(2024, 1, 1)


def test_a_corrected_day_is_a_later_revision_and_what_was_known_stays(retail: Sandbox, tmp_path: Path) -> None:
    retail.run()
    before = retail.sales
    day = date(2011, 4, 13)
    good = retailer(days=45).filter(pl.col("ts").dt.date() == day)
    gone, doubled = good["stock_code"][0], good.filter(pl.col("stock_code") != good["stock_code"][0])["stock_code"][0]
    corrected = good.filter(pl.col("stock_code") != gone).with_columns(
        quantity=pl.when(pl.col("stock_code") == doubled).then(pl.col("quantity") * 2).otherwise("quantity")
    )
    path = tmp_path / "landing" / "2011-04-13.csv"
    path.parent.mkdir()
    corrected.with_columns(pl.col("ts").dt.to_string("%Y-%m-%dT%H:%M:%S")).write_csv(path)

    retail.clock.at = datetime(2011, 4, 20, 12, tzinfo=UTC)
    retail.run("2011-04-01", tags={ARRIVAL_TAG: str(path)})
    assert_frame_equal(retail.sales.filter(pl.col("known_at") < retail.clock.at), before)
    revisions = retail.sales.filter(pl.col("known_at") >= retail.clock.at)
    assert set(revisions["series_id"]) == {gone, doubled}
    assert revisions.filter(pl.col("series_id") == gone)["units"].to_list() == [0.0]
    assert set(retail.lines.filter(pl.col("day_on") == day)["file_name"]) == {"2011-04-13.csv"}
    assert date_range(tmp_path / "history.parquet", retail.source, state=tmp_path) == (FIRST, date(2011, 4, 14))

    # The same file again, under another name: nothing new.
    again = path.rename(path.with_name("again.csv"))
    sales = retail.sales
    retail.clock.at += timedelta(days=1)
    retail.run("2011-04-01", tags={ARRIVAL_TAG: str(again)})
    assert_frame_equal(retail.sales, sales)


def test_a_bad_file_is_refused_before_any_commit_and_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    retailer(days=45).with_columns(pl.col("quantity").cast(pl.String)).write_parquet(path)
    sandbox = Sandbox(tmp_path, "online_retail", path, window=(FIRST, date(2011, 4, 14)))
    for _ in range(2):
        result = sandbox.run(only=[["online_retail", "lines"]], fails=True)
        assert not result.success
    assert not sandbox.tables.exists("online_retail/lines")
    (refusal,) = sandbox.ledger.refusals("online_retail")
    assert refusal.file == "history.parquet"
    assert "column `quantity` holds String, expected whole numbers" in refusal.reason


def test_a_fault_behind_the_door_stops_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract is checked again on what was committed; sales are not computed from a table that breaks it."""
    spoiled = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("XX")).otherwise("invoice").alias("invoice")
    retailer(days=45).with_columns(spoiled).write_parquet(path := tmp_path / "history.parquet")
    sandbox = Sandbox(tmp_path, "online_retail", path)
    monkeypatch.setattr(contract, "findings", lambda lines, *_: pl.Series([None] * lines.height, dtype=pl.String))
    result = sandbox.run(fails=True)
    assert not result.success
    failed = {check.check_name: check for check in result.get_asset_check_evaluations() if not check.passed}
    assert list(failed) == ["contract"]
    assert "history.parquet: column `invoice`, row 8: str_matches" in str(failed["contract"].description)
    assert "found XX" in str(failed["contract"].description)
    assert sandbox.tables.exists("online_retail/lines")
    assert not sandbox.tables.exists("sales")


def test_loading_a_source_imports_nothing_heavy() -> None:
    code = """
import sys
from datetime import date
from pathlib import Path
import dagster as dg
from platform_assets.components.source_window import set_window
from platform_assets.components.sales_source import SalesSource
set_window("online_retail", date(2009, 12, 1), date(2011, 12, 9))
from dagster import ComponentTree
import platform_assets
tree = ComponentTree.for_project(Path(platform_assets.__file__).parents[1])
built = tree.build_defs(Path("data/online_retail"))
print(len(list(built.assets)))
heavy = {"polars", "pandera", "numpy", "pandas", "pyarrow", "deltalake", "torch", "feast", "mlflow"} & set(sys.modules)
assert not heavy, f"defer these imports into functions: {sorted(heavy)}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


WEEKLY = """\
type: platform_assets.components.SalesSource
attributes:
  title: Bakery
  timezone: America/New_York
  frequency: week
  series: [article]
  columns: {units: pieces, sold_on: week}
  delimiter: ";"
  date_format: "%d.%m.%Y"
"""


def test_a_weekly_source_without_prices_needs_only_yaml(tmp_path: Path) -> None:
    folder = tmp_path / "bakery"
    folder.mkdir()
    (folder / "defs.yaml").write_text(WEEKLY)
    weeks = [date(2024, 1, 7) + timedelta(days=7 * n) for n in range(20)]
    rows = [f"{week:%d.%m.%Y};{article};{n + 3 * article}" for n, week in enumerate(weeks) for article in range(1, 8)]
    data = tmp_path / "weekly.csv"
    data.write_text("\n".join(["week;article;pieces", *rows]) + "\n")
    sandbox = Sandbox(tmp_path, "bakery", data, folder=folder)
    assert date_range(data, sandbox.source) == (weeks[0], weeks[-1] + timedelta(days=6))
    result = sandbox.run()
    assert sandbox.checks(result) == {"contract": True, "volume": True, "accounting": True, "segments": True}
    first = sandbox.sales.row(0, named=True)
    assert (first["series_id"], first["units"], first["price"], first["stock"]) == ("1", 3.0, None, None)
    assert first["event_at"] == datetime(2024, 1, 14, 5, tzinfo=UTC)  # midnight in New York after seven days
    assert sandbox.table("plans").is_empty()


def test_a_scaffolded_source_loads_and_knows_its_sample(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    rows = [f"{date(2024, 1, 1) + timedelta(days=n)},shop {n % 2},{n % 5},{n % 9},x" for n in range(40)]
    sample.write_text("\n".join(["Date,Store,Item,Qty,Note", *rows]) + "\n")
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=SalesSource,
            defs_path="data/corner_shop",
            scaffold_params={"sample": str(sample), "timezone": "Europe/Paris"},
        )
        source = source_facts(folder)
        assert source.series == ("Store", "Item")
        assert source.columns == {"units": "Qty", "sold_on": "Date"}
        assert source.extra == {"Note": "text"}
        assert source.timezone == "Europe/Paris"
        assert recognise(sample, {"corner_shop": folder, "simulator": SOURCES / "simulator"}) == "corner_shop"
        set_window("corner_shop", *date_range(sample, source))
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, built):
            assert isinstance(component, SalesSource)
            keys = {key.to_user_string() for assets in built.assets or () for key in assets.keys}
            assert keys == {"corner_shop/lines", "corner_shop/quarantine", "sales", "plans"}
    options = {"sample", "timezone", "units", "date", "series", "date_format"}
    assert SalesSourceScaffolder.get_scaffold_params().model_fields.keys() == options


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  columns: {units: pieces, sold_onn: week}", "unknown roles"),
        ("  rules: {duplicatess: keep}", "unknown rules"),
        ("  rules: {goods: {article: '['}}", "regular expression"),
        ("  timezone: Europe/Londn", "unknown timezone"),
        ("  contract: schema.Lines", "no file schema.py"),
        ("  extra: {note: string}", "unknown kinds"),
    ],
)
def test_a_wrong_value_in_defs_yaml_names_itself(line: str, message: str) -> None:
    stated = WEEKLY.splitlines()
    key = line.strip().split(":")[0]
    text = "\n".join([*(old for old in stated if not old.strip().startswith(f"{key}:")), line]) + "\n"
    set_window("bakery", date(2024, 1, 1), date(2024, 3, 1))
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "data" / "bakery"
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(text)
        with (
            pytest.raises(Exception, match="data/bakery") as caught,
            sandbox.load_component_and_build_defs(defs_path=folder),
        ):
            pass
    said, error = "", caught.value
    while error is not None:
        said, error = said + str(error), error.__cause__
    assert message in said
    assert f"defs.yaml:{text.splitlines().index(line) + 1}" in said


def test_a_file_belongs_to_one_source_or_none(tmp_path: Path) -> None:
    known = {name: SOURCES / name for name in ("online_retail", "simulator")}
    retailer(days=20).write_parquet(path := tmp_path / "a.parquet")
    assert recognise(path, known) == "online_retail"
    simulated(days=20).write_csv(path := tmp_path / "b.csv")
    assert recognise(path, known) == "simulator"
    with pytest.raises(SchemaError, match="fit several sources: online_retail, twin"):
        recognise(tmp_path / "a.parquet", {**known, "twin": SOURCES / "online_retail"})
    pl.DataFrame({"store": ["a"], "sku": ["b"], "day": [1]}).write_csv(path := tmp_path / "c.csv")
    with pytest.raises(SchemaError, match=r"c.csv: its columns fit no source; the closest is simulator") as caught:
        recognise(path, known)
    assert caught.value.message.splitlines()[1:] == [
        "  it has:        store, sku, day",
        "  that lacks:    sold_on, units, price, is_promoted, stock, lines, tickets",
        "  and has more:  day",
        "  1 other source is further away: online_retail",
    ]


def test_a_file_refused_before_the_graph_stands_in_the_ledger(tmp_path: Path) -> None:
    retailer(days=20).rename({"quantity": "Quantity"}).write_parquet(path := tmp_path / "a.parquet")
    known = {name: SOURCES / name for name in ("online_retail", "simulator")}
    assert recognise(path, known) == "online_retail"  # nearly: one column is misspelt
    source = source_facts(known["online_retail"])
    for _ in range(2):
        with pytest.raises(SchemaError, match=r"a.parquet: column `quantity` is missing \(there is 'Quantity'\)"):
            recorded_date_range(path, source, state=tmp_path / "state")
    (refusal,) = Ledger(f"sqlite:///{tmp_path / 'state' / 'ledger.db'}").refusals("online_retail")
    assert "column `quantity` is missing" in refusal.reason


def test_a_source_with_a_mistake_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "bakery").mkdir()
    (tmp_path / "bakery" / "defs.yaml").write_text(WEEKLY.replace("New_York", "New_Yrok"))
    known = {"bakery": tmp_path / "bakery", "online_retail": SOURCES / "online_retail"}
    retailer(days=20).write_parquet(path := tmp_path / "a.parquet")
    assert recognise(path, known) == "online_retail"
    (tmp_path / "b.csv").write_text("week;article;pieces\n01.01.2024;1;1\n")
    with pytest.raises(SchemaError, match="unknown timezone 'America/New_Yrok'"):
        recognise(tmp_path / "b.csv", known)
    (tmp_path / "bakery" / "defs.yaml").write_text(WEEKLY)
    assert recognise(tmp_path / "b.csv", known) == "bakery"


def test_sales_name_the_columns_they_come_from(retail: Sandbox) -> None:
    (spec,) = (spec for spec in retail.definitions.resolve_all_asset_specs() if spec.key == dg.AssetKey("sales"))
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    assert {dep.column_name for dep in lineage["price"]} == {"price", "quantity"}
    assert spec.partitions_def == active_window().partitions


def test_no_window_no_assets() -> None:
    set_window("another", date(2024, 1, 1), date(2024, 3, 1))
    assert json.dumps(active_window().partitions.get_partition_keys()) == '["2024-01-01", "2024-02-01", "2024-03-01"]'
    with pytest.raises(ConfigurationError, match="before its first day"):
        set_window("another", date(2024, 1, 1), date(2023, 3, 1))
