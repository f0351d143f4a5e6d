"""The Feast gateway on the platform's own repository, over small tables."""

import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import ConfigurationError, FeatureStoreError
from platform_assets.science.demand import columns
from resources.feature_store import FeatureStoreResource
from resources.feature_store_fake import InMemoryFeatureStore
from resources.source_digest import source_digest

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
TYPES: dict[str, Any] = {"f64": pl.Float64, "i64": pl.Int64, "bool": pl.Boolean, "list_f32": pl.List(pl.Float32)}
SERIES = ("1/a", "1/b", "2/a")


def table_of(view: str, days: int, seed: int = 0) -> pl.DataFrame:
    """A row for each series and day, some of them corrected two days later, some features null."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for series in SERIES:
        for day in range(days):
            for late in (0, 2) if rng.random() < 0.2 else (0,):
                row: dict[str, Any] = {"series_id": series}
                if "target_day" in columns.ENTITY_KEYS[view]:
                    row["target_day"] = (date(2024, 1, 1) - date(1970, 1, 1)).days + day + 20
                event = START + DAY * day
                row |= {"event_at": event, "known_at": event + DAY * late}
                rows.append(row | {name: value(columns.DTYPES[name], rng) for name in columns.VIEWS[view]})
    times = {"event_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema_overrides=times | {n: TYPES[columns.DTYPES[n]] for n in columns.VIEWS[view]})


def value(dtype: str, rng: np.random.Generator) -> Any:
    number = float(np.float32(rng.normal()))
    made = {"f64": number, "i64": int(rng.integers(9)), "bool": bool(rng.random() < 0.5), "list_f32": [number, 1.0]}
    return None if rng.random() < 0.1 else made[dtype]


def entity_rows(count: int, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    issued = [START + DAY * int(d) for d in rng.integers(-1, 12, count)]
    day = pl.Series(
        "target_on", [t.date() + DAY * int(h) for t, h in zip(issued, rng.integers(1, 28, count), strict=True)]
    )
    return pl.DataFrame(
        {
            "series_id": rng.choice([*SERIES, "9/nobody"], count),
            "issued_at": pl.Series(issued, dtype=pl.Datetime("us", "UTC")),
            "target_on": day,
            "target_day": day.cast(pl.Int32).cast(pl.Int64),
            "weight": rng.random(count),
        }
    )


SERVICES = {
    "demand_v1": ("demand_history", "price_history", "season", "offer"),
    "dormant_v1": ("demand_history", "price_history", "season"),
}
Store = FeatureStoreResource | InMemoryFeatureStore


def store_of(kind: str, folder: Path, views: Iterable[str] = columns.VIEWS) -> Store:
    """The gateway over Delta tables, or its fake over the same frames."""
    if kind == "fake":
        store: Store = InMemoryFeatureStore({view: table_of(view, 10) for view in views}, SERVICES)
    else:
        for view in views:
            table_of(view, 10).write_delta(folder / "tables" / "features" / view)
        store = FeatureStoreResource(
            state=str(folder / "feast"), tables=str(folder / "tables"), link=str(folder / "link")
        )
    assert store.apply().is_changed
    return store


@pytest.fixture(scope="module", params=["feast", "fake"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(request.param, tmp_path_factory.mktemp("state"))


def test_a_second_apply_writes_nothing(store: Store) -> None:
    again = store.apply()
    assert not again.is_changed
    assert again.views == ("demand_history", "offer", "price_history", "season")
    assert again.services == ("demand_v1", "dormant_v1")
    assert again.left_over == ()


def test_apply_leaves_a_configuration_for_feasts_own_commands(store: Store) -> None:
    if isinstance(store, InMemoryFeatureStore):
        return
    assert (Path(store.link) / "tables" / "features" / "season").is_dir()
    assert (Path(store.link) / "feature_store.yaml").is_file()


@pytest.mark.parametrize("service", ["demand_v1", "dormant_v1"])
def test_historical_rows_are_conserved_and_as_known_then(store: Store, service: str) -> None:
    rows = entity_rows(80)
    joined = store.historical(rows, service)
    assert_frame_equal(joined.select(rows.columns), rows)
    assert tuple(joined.columns[len(rows.columns) :]) == store.features(service)
    for view in store.views(service):
        table = table_of(view, 10).to_dicts()
        for row in joined.to_dicts():
            held = [
                r
                for r in table
                if all(r[key] == row[key] for key in columns.ENTITY_KEYS[view])
                and r["event_at"] <= row["issued_at"]
                and r["known_at"] <= row["issued_at"]
            ]
            best = max(held, key=lambda r: (r["event_at"], r["known_at"]), default=dict.fromkeys(columns.VIEWS[view]))
            assert {n: row[n] for n in columns.VIEWS[view]} == {n: best[n] for n in columns.VIEWS[view]}


def test_historical_refuses_by_name(store: Store) -> None:
    rows = entity_rows(3)
    with pytest.raises(
        FeatureStoreError, match="no feature service `demand_v9` in the registry; it has demand_v1, dormant_v1"
    ):
        store.historical(rows, "demand_v9")
    with pytest.raises(FeatureStoreError, match="entity rows have no column `asked_at`"):
        store.historical(rows, "demand_v1", at="asked_at")
    with pytest.raises(FeatureStoreError, match="expected instants with a time zone"):
        store.historical(rows.with_columns(pl.col("issued_at").dt.replace_time_zone(None)), "demand_v1")


def test_view_hashes_name_definition_and_code(store: Store) -> None:
    hashes = store.view_hashes("demand_v1")
    assert list(hashes) == ["demand_history", "price_history", "season", "offer"]
    assert hashes == store.view_hashes("demand_v1")
    assert len(set(hashes.values())) == 4


def test_source_digest_covers_what_the_function_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resources.source_digest as module

    package = tmp_path / "platform_assets" / "science"
    package.mkdir(parents=True)
    (package / "views.py").write_text(
        "from platform_assets.science import windows\n\ndef history(): return windows.mean()\n"
    )
    (package / "windows.py").write_text("def mean(): return 1\n")
    (package / "other.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    name = "platform_assets.science.views:history"
    first = source_digest(name)
    (package / "other.py").write_text("x = 2\n")
    assert source_digest(name) == first
    (package / "windows.py").write_text("def mean(): return 2\n")
    assert source_digest(name) != first
    with pytest.raises(ConfigurationError, match=r"views.py defines no `nothing`; it defines history"):
        source_digest("platform_assets.science.views:nothing")


def test_online_equals_offline_as_of_now(store: Store) -> None:
    now = START + 30 * DAY
    for view in columns.VIEWS:
        assert store.load_online(view, START - DAY, now) > 0
    targets = table_of("offer", 10)["target_day"].unique().sort()
    rows = pl.DataFrame({"series_id": [*SERIES, "9/nobody"]}).join(targets.to_frame(), how="cross")
    served = store.online(rows, "demand_v1", now=now)
    known = store.historical(rows.with_columns(issued_at=pl.lit(now)), "demand_v1").drop("issued_at")
    assert_frame_equal(served, known)


@pytest.mark.parametrize("kind", ["feast", "fake"])
def test_any_order_of_overlapping_loads_serves_the_latest_row(tmp_path: Path, kind: str) -> None:
    """Feast's own SQLite store served the value of the window that was loaded last."""
    rows = pl.DataFrame({"series_id": list(SERIES), "target_day": [0] * len(SERIES)})
    answers = []
    for n, order in enumerate(permutations([(0, 3), (2, 6), (4, 9)])):
        store = store_of(kind, tmp_path / str(n), ["price_history"])
        if isinstance(store, InMemoryFeatureStore):
            store.services = {"demand_v1": ["price_history"]}
        for first, last in order:
            store.load_online("price_history", START + DAY * first, START + DAY * last)
        answers.append(
            store.online(rows, "demand_v1", now=START + DAY * 9).select("series_id", *columns.VIEWS["price_history"])
        )
    known = table_of("price_history", 10).filter(pl.col("known_at") <= START + DAY * 9)
    table = known.sort("event_at", "known_at").group_by("series_id").last()
    expected = rows.select("series_id").join(table, on="series_id", how="left", maintain_order="left")
    for answer in answers:
        assert_frame_equal(answer, expected.select(answer.columns))


@pytest.mark.parametrize("kind", ["feast", "fake"])
def test_day_by_day_the_online_store_knows_what_the_offline_store_knew(tmp_path: Path, kind: str) -> None:
    """A correction is served from the load that follows its known-at time on, not from its event time."""
    store = store_of(kind, tmp_path)
    rows = pl.DataFrame({"series_id": list(SERIES), "target_day": [int(table_of("offer", 10)["target_day"][3])] * 3})
    for day in range(13):
        now = START + DAY * day
        for view in columns.VIEWS:
            store.load_online(view, START, now)
        known = store.historical(rows.with_columns(issued_at=pl.lit(now)), "demand_v1").drop("issued_at")
        assert_frame_equal(store.online(rows, "demand_v1", now=now), known)


@pytest.mark.parametrize("kind", ["feast", "fake"])
def test_only_the_targets_asked_for_are_loaded(tmp_path: Path, kind: str) -> None:
    store = store_of(kind, tmp_path, ["offer"])
    latest = int(table_of("offer", 10)["target_day"].max())  # type: ignore[arg-type]
    assert store.load_online("offer", START, START + 30 * DAY, targets=(latest, latest + 9)) == len(SERIES)


APPLY = """
import sys
from datetime import UTC, datetime, timedelta
from resources.feature_store import FeatureStoreResource

place, first = sys.argv[1], int(sys.argv[2])
store = FeatureStoreResource(state=f"{place}/feast", tables=f"{place}/tables")
store.apply()
start, day = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
print(sum(store.load_online("price_history", start + day * (first + n % 3), start + day * 9) for n in range(6)))
"""


@pytest.mark.long
def test_parallel_applies_and_loads_lose_nothing(tmp_path: Path) -> None:
    """With a file registry 36 of 40 applies were lost; with Feast's SQLite store parallel loads failed as locked."""
    table_of("price_history", 10).write_delta(tmp_path / "tables" / "features" / "price_history")
    processes = [
        subprocess.Popen([sys.executable, "-c", APPLY, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    assert [process.communicate(timeout=240)[0].strip() for process in processes] == ["18"] * 3
    store = FeatureStoreResource(state=str(tmp_path / "feast"), tables=str(tmp_path / "tables"))
    assert not store.apply().is_changed
    assert store.views("demand_v1") == ("demand_history", "price_history", "season", "offer")


def test_the_registry_is_planned_before_it_is_written_and_never_silently_empty(tmp_path: Path) -> None:
    """A registry lost to a wrong path or a killed commit opens without error, as an empty one."""
    store, said = FeatureStoreResource(state=str(tmp_path / "feast"), tables=str(tmp_path / "tables")), []
    assert not store.apply(say=said.append, plan_only=True).is_changed
    assert "feature view `season` is added" in said.pop()
    applied = store.apply(say=said.append)
    assert (applied.is_changed, applied.held, applied.left_over) == (True, 12, ())
    with pytest.raises(ConfigurationError, match="delete names season, which the repository still defines"):
        store.apply(delete=["season"])
    lost = FeatureStoreResource(state=str(tmp_path / "elsewhere"), tables=str(tmp_path / "tables"))
    with pytest.raises(FeatureStoreError, match=r"held 12 objects\. Nothing was written"):
        lost.apply(held_before=applied.held)
    assert not lost.apply(plan_only=True).held
    assert lost.apply(held_before=applied.held, accept_empty_registry=True).held == 12


def test_what_the_repository_no_longer_names_stays_until_somebody_says_so(tmp_path: Path) -> None:
    from feast import FeatureService

    store = FeatureStoreResource(state=str(tmp_path / "feast"), tables=str(tmp_path / "tables"))
    store.apply()
    inner = store._store()
    inner.apply([FeatureService(name="last_year", features=[inner.get_feature_view("season")])])
    assert store.apply().left_over == ("last_year",)
    deleted = store.apply(delete=["last_year"])
    assert deleted.plan.text(delete=["last_year"]).startswith("feature service `last_year`: is deleted")
    assert store.apply().left_over == ()
