"""The offline store through Feast's own API, against a naive loop over the same rows."""

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat, ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Float64, Int64
from polars.testing import assert_frame_equal

from platform_assets.errors import EmptyFrameError, FeatureStoreError, PointInTimeError

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TTL = timedelta(hours=5)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
SKU = Entity(name="sku", join_keys=["sku"], value_type=ValueType.STRING)


def rows_of(seed: int, count: int) -> pl.DataFrame:
    """Stock levels by shop and sku, with corrections, late rows, ties and missing times."""
    rng = np.random.default_rng(seed)
    event = [START + HOUR * int(h) for h in rng.integers(0, 12, count)]
    known = [None if rng.random() < 0.1 else e + HOUR * int(rng.integers(-2, 4)) for e in event]
    return pl.DataFrame(
        {
            "shop_id": rng.integers(1, 4, count),
            "item": rng.choice(["x", "y", "z"], count),
            "happened": event,
            "written": known,
            "stock": rng.normal(size=count).round(3),
            "sold": rng.integers(0, 9, count),
            "recent": [rng.normal(size=3).astype(np.float32).tolist() for _ in range(count)],
        },
        schema_overrides={"happened": pl.Datetime("us", "UTC"), "written": pl.Datetime("us", "UTC"), "recent": pl.List(pl.Float32)},
    )  # fmt: skip


def store_at(folder: Path, known_at: str, form: Any) -> FeatureStore:
    """A Feast repository with two views over one table: one of shop and sku, one of nothing at all."""
    config = RepoConfig(
        project="shop",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        online_store={"type": "sqlite", "path": f"{folder}/online.db"},
        offline_store={
            "type": "resources.feast_polars.offline.PolarsOfflineStore",
            "known_at": known_at,
            "root": str(folder),
        },
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    source = FileSource(
        name="stocks",
        path="stocks",
        timestamp_field="happened",
        created_timestamp_column="written",
        file_format=form,
        field_mapping={"item": "sku"},
    )
    stocks = FeatureView(
        name="stocks",
        entities=[SHOP, SKU],
        ttl=TTL,
        source=source,
        schema=[Field(name="stock", dtype=Float64), Field(name="sold", dtype=Int64), Field(name="recent", dtype=Array(Float32))],
    )  # fmt: skip
    market = FeatureView(name="market", entities=[], ttl=timedelta(0), source=source, schema=[Field(name="sold", dtype=Int64)])  # fmt: skip

    @on_demand_feature_view(sources=[stocks], schema=[Field(name="stock_per_sale", dtype=Float64)], mode="python")
    def ratio(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(inputs["stock"], inputs["sold"], strict=True)
        return {"stock_per_sale": [None if a is None or pd.isna(a) else a / (1 + b) for a, b in pairs]}

    store.apply([SHOP, SKU, source, stocks, market, ratio, FeatureService(name="all", features=[stocks, ratio])])
    return store


def write(frame: pl.DataFrame, folder: Path, form: Any) -> None:
    if isinstance(form, DeltaFormat):
        frame.write_delta(folder / "stocks", mode="append")
    else:
        (folder / "stocks").mkdir(exist_ok=True)
        frame.write_parquet(folder / "stocks" / "part.parquet")


@pytest.fixture(params=["delta", "parquet"], scope="module")
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, pl.DataFrame]:
    """(known_at -> store, rows of the table)."""
    folder = tmp_path_factory.mktemp(request.param)
    form = DeltaFormat() if request.param == "delta" else ParquetFormat()
    frame = rows_of(7, 300)
    write(frame, folder, form)
    strict = store_at(folder, "strict", form)
    return {"strict": strict, "feast": store_at(folder, "feast", form)}, frame


def asked(seed: int, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "note": np.arange(count)[::-1],
            "sku": rng.choice(["x", "y", "nobody"], count),
            "shop_id": rng.integers(1, 4, count),
            "event_timestamp": pd.to_datetime([START + HOUR * int(h) for h in rng.integers(-1, 20, count)], utc=True),
        }
    )


def answer(
    row: Any, frame: pl.DataFrame, *, by_known: bool, keyed: bool, ttl: timedelta | None
) -> dict[str, Any] | None:
    best: tuple[Any, dict[str, Any]] | None = None
    for position, held in enumerate(frame.to_dicts()):
        known = held["written"] or held["happened"]
        if keyed and (held["shop_id"] != row.shop_id or held["item"] != row.sku):
            continue
        if held["happened"] > row.event_timestamp or (by_known and known > row.event_timestamp):
            continue
        order = (held["happened"], known, position)
        if best is None or order > best[0]:
            best = (order, held)
    if best is None or (ttl is not None and best[1]["happened"] < row.event_timestamp - ttl):
        return None
    return best[1]


@pytest.mark.parametrize("known_at", ["strict", "feast"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_historical_features_equal_a_naive_loop(repository: Any, known_at: str, seed: int) -> None:
    stores, frame = repository
    entities = asked(seed, 60)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        joined = (
            stores[known_at]
            .get_historical_features(
                entities, ["stocks:stock", "stocks:recent", "market:sold"], full_feature_names=True
            )
            .to_df()
        )
    assert joined[entities.columns.tolist()].equals(entities)
    by_known = known_at == "strict"
    for row in joined.itertuples():
        mine = answer(row, frame, by_known=by_known, keyed=True, ttl=TTL)
        all_of_it = answer(row, frame, by_known=by_known, keyed=False, ttl=None)
        assert (None if pd.isna(row.stocks__stock) else row.stocks__stock) == (mine and mine["stock"])
        assert (None if row.stocks__recent is None else list(row.stocks__recent)) == (mine and mine["recent"])
        assert (None if pd.isna(row.market__sold) else row.market__sold) == (all_of_it and all_of_it["sold"])
    assert any("not yet known" in str(w.message) for w in caught) == (known_at == "feast")


def test_pandas_polars_and_arrow_rows_get_the_same_answer(repository: Any) -> None:
    stores, _ = repository
    entities = asked(3, 40)
    answers = [
        pl.DataFrame(pl.from_arrow(stores["strict"].get_historical_features(rows, ["stocks:stock"]).to_arrow()))
        for rows in (entities, pl.from_pandas(entities), pl.from_pandas(entities).to_arrow())
    ]
    for other in answers[1:]:
        assert_frame_equal(answers[0].select("note", "stock"), other.select("note", "stock"))


def test_feasts_own_flag_is_strict_for_one_call(repository: Any) -> None:
    stores, _ = repository
    entities = asked(4, 50)
    strict = stores["strict"].get_historical_features(entities, ["stocks:stock"]).to_df()
    flagged = stores["feast"].get_historical_features(entities, ["stocks:stock"], filter_by_created_timestamp=True)
    pd.testing.assert_frame_equal(strict, flagged.to_df())


def test_on_demand_views_are_applied_after_the_join(repository: Any) -> None:
    stores, _ = repository
    store = stores["strict"]
    joined = store.get_historical_features(asked(5, 40), store.get_feature_service("all")).to_df()
    known = joined[joined["stock"].notna()]
    assert len(known) > 5
    assert np.allclose(known["stock_per_sale"], known["stock"] / (1 + known["sold"]))


def test_naive_times_and_missing_keys_of_pandas_are_read_as_feast_does(repository: Any) -> None:
    """Pandas turns integer keys into floats where one is missing, and knows naive times; both are common."""
    stores, _ = repository
    entities = asked(6, 20)
    loose = entities.assign(shop_id=entities["shop_id"].astype(float))
    loose.loc[0, "shop_id"] = np.nan
    loose["event_timestamp"] = loose["event_timestamp"].dt.tz_localize(None)
    clean = stores["strict"].get_historical_features(entities, ["stocks:stock"]).to_df()
    joined = stores["strict"].get_historical_features(loose, ["stocks:stock"]).to_df()
    assert joined["stock"][1:].equals(clean["stock"][1:])
    assert pd.isna(joined["stock"][0])


def test_without_entity_rows_every_row_of_the_range_is_retrieved(repository: Any) -> None:
    stores, frame = repository
    joined = (
        stores["strict"]
        .get_historical_features(features=["stocks:sold"], start_date=START + 3 * HOUR, end_date=START + 5 * HOUR)
        .to_df()
    )
    inside = frame.filter(pl.col("happened").is_between(START + 3 * HOUR, START + 5 * HOUR))
    assert len(joined) == inside.select("shop_id", "item", "happened").n_unique()
    assert set(joined.columns) == {"shop_id", "sku", "event_timestamp", "sold"}


@pytest.mark.parametrize("known_at", ["strict", "feast"])
def test_latest_rows_are_the_greatest_by_event_and_known(repository: Any, known_at: str) -> None:
    stores, frame = repository
    store = stores[known_at]
    view = store.get_feature_view("stocks")
    end = START + 9 * HOUR
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        store.config, view.batch_source, ["shop_id", "item"], ["stock"], "happened", "written", START + HOUR, end
    )
    latest = {(r["shop_id"], r["item"]): (r["stock"], r["written"]) for r in job.to_arrow().to_pylist()}
    expected: dict[Any, Any] = {}
    for position, row in enumerate(frame.to_dicts()):
        known = row["written"] or row["happened"]
        if START + HOUR <= row["happened"] <= end and (known_at == "feast" or known <= end):
            order = (row["happened"], known, position)
            key = (row["shop_id"], row["item"])
            if key not in expected or order > expected[key][0]:
                expected[key] = (order, row["stock"], known)
    assert latest == {key: (stock, known) for key, (_, stock, known) in expected.items()}


def test_an_answer_is_one_chunk_because_feast_loads_only_the_first(repository: Any) -> None:
    """A load of a result in three chunks wrote a third of the entities, and nobody was told."""
    stores, _ = repository
    store = stores["strict"]
    source = store.get_feature_view("stocks").batch_source
    offline = store._get_provider().offline_store
    latest = offline.pull_latest_from_table_or_query(
        store.config, source, ["shop_id", "item"], ["stock"], "happened", "written", START, START + 99 * HOUR
    )
    everything = offline.pull_all_from_table_or_query(store.config, source, ["shop_id"], ["stock"], "happened")
    joined = store.get_historical_features(asked(1, 10), ["stocks:stock"])
    assert [len(job.to_arrow().to_batches()) for job in (latest, everything, joined)] == [1, 1, 1]


def test_materialized_values_are_the_latest(repository: Any) -> None:
    stores, frame = repository
    store = stores["strict"]
    store.materialize(START - HOUR, START + 30 * HOUR, feature_views=["stocks", "market"])
    online = store.get_online_features(
        ["stocks:stock", "stocks:recent", "market:sold"], [{"shop_id": 2, "sku": "y"}, {"shop_id": 2, "sku": "nobody"}]
    ).to_dict()
    last = frame.with_row_index("n").sort(
        "happened", pl.col("written").fill_null(pl.col("happened")), "n"
    )  # fmt: skip
    mine = last.filter((pl.col("shop_id") == 2) & (pl.col("item") == "y")).tail(1).to_dicts()[0]
    assert online["stock"] == [mine["stock"], None]
    assert online["recent"][0] == mine["recent"]
    assert online["sold"] == [last["sold"][-1]] * 2


def test_a_saved_dataset_comes_back_and_is_not_overwritten_unasked(repository: Any, tmp_path: Path) -> None:
    stores, _ = repository
    store = stores["strict"]
    for name, storage in {
        "file": SavedDatasetFileStorage(path=str(tmp_path / "set.parquet")),
        "folder": SavedDatasetFileStorage(path=str(tmp_path / "set")),
        "delta": SavedDatasetFileStorage(path=str(tmp_path / "delta"), file_format=DeltaFormat()),
    }.items():
        job = store.get_historical_features(asked(8, 25), ["stocks:stock", "stocks:recent"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = store.create_saved_dataset(from_=job, name=name, storage=storage)
            assert len(saved.to_df()) == 25
            with pytest.raises(SavedDatasetLocationAlreadyExists):
                store.create_saved_dataset(from_=job, name=f"{name}2", storage=storage)
            store.create_saved_dataset(from_=job, name=f"{name}3", storage=storage, allow_overwrite=True)
            assert len(store.get_saved_dataset(name).to_df()) == 25


@pytest.mark.parametrize("known_at", ["strict", "feast"])
def test_a_retrieval_beyond_the_limit_of_memory_is_the_same(
    repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_at: str
) -> None:
    """By way of buckets on disk, and persisted from slice to slice."""
    stores, _ = repository
    wanted = ["stocks:stock", "stocks:recent", "market:sold"]

    def saved(name: str) -> pl.DataFrame:
        job = stores[known_at].get_historical_features(asked(11, 300), wanted)
        job.persist(SavedDatasetFileStorage(path=str(tmp_path / f"{name}.parquet")))
        # pandas' nanoseconds are stored as microseconds
        assert_frame_equal(pl.read_parquet(tmp_path / f"{name}.parquet"), job.to_polars(), check_dtypes=False)
        return job.to_polars()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_memory = saved("memory")
        monkeypatch.setattr("resources.feast_polars.answers.is_within", lambda *_: False)
        monkeypatch.setattr("resources.feast_polars.buckets.Need.buckets", lambda *_: 4)
        monkeypatch.setattr("resources.feast_polars.buckets.SLICE", 64)
        assert_frame_equal(saved("disk"), in_memory)


def test_one_retrieval_reads_one_version(tmp_path: Path) -> None:
    """A commit between asking and answering changes nothing; the next question sees it."""
    write(rows_of(1, 50), tmp_path, DeltaFormat())
    store = store_at(tmp_path, "strict", DeltaFormat())
    entities = asked(9, 50)
    job = store.get_historical_features(entities, ["market:sold"])
    before = job.to_df()
    write(rows_of(2, 200), tmp_path, DeltaFormat())
    pd.testing.assert_frame_equal(job.to_df(), before)
    assert not store.get_historical_features(entities, ["market:sold"]).to_df().equals(before)


@pytest.mark.parametrize("form", [DeltaFormat(), ParquetFormat()])
def test_pushed_rows_are_appended_only_in_the_tables_own_types(tmp_path: Path, form: Any) -> None:
    """Delta alone would have made 1 of a 1.5 that is written to an integer column, and said nothing."""
    write(rows_of(1, 10), tmp_path, form)
    store = store_at(tmp_path, "strict", form)
    offline: Any = store._get_provider().offline_store
    view: Any = store.get_feature_view("stocks")
    offline.offline_write_batch(store.config, view, rows_of(2, 5).to_arrow(), None)
    assert (
        len(offline.pull_all_from_table_or_query(store.config, view.batch_source, ["shop_id"], [], "happened").to_df())
        == 15
    )
    offline.offline_write_batch(
        store.config,
        view,
        rows_of(3, 5)
        .with_columns(pl.col("sold").cast(pl.Int16), pl.col("happened").dt.cast_time_unit("ns"))
        .to_arrow(),
        None,
    )
    late = pl.col("happened").dt.cast_time_unit("ns") + pl.duration(nanoseconds=1)
    for wrong in (
        rows_of(2, 5).with_columns(sold=1.5),
        rows_of(2, 5).with_columns(sold=pl.lit("1")),
        rows_of(2, 5).with_columns(stock=pl.lit("1")),
        rows_of(2, 5).with_columns(happened=late),
        rows_of(2, 5).drop("sold"),
        rows_of(2, 5).with_columns(more=1),
    ):
        with pytest.raises(FeatureStoreError, match="column"):
            offline.offline_write_batch(store.config, view, wrong.to_arrow(), None)
    assert (
        len(offline.pull_all_from_table_or_query(store.config, view.batch_source, ["shop_id"], [], "happened").to_df())
        == 20
    )


@pytest.mark.parametrize("form", [DeltaFormat(), ParquetFormat()])
def test_pushed_doubles_widen_a_column_of_floats_instead_of_being_rounded(tmp_path: Path, form: Any) -> None:
    """Delta alone would have stored .10000000149011612 for .1; floats that fit leave the column as it is."""
    held = rows_of(1, 10).with_columns(pl.col("stock").round(0).cast(pl.Float32))
    path = tmp_path / "stocks"
    if isinstance(form, ParquetFormat):
        path.mkdir()
        path = path / "part.parquet"
    write(held, tmp_path, form)
    store = store_at(tmp_path, "strict", form)
    offline: Any = store._get_provider().offline_store
    view: Any = store.get_feature_view("stocks")
    read = pl.read_delta if isinstance(form, DeltaFormat) else pl.read_parquet
    offline.offline_write_batch(store.config, view, rows_of(2, 1).with_columns(stock=1.5).to_arrow(), None)
    assert read(str(tmp_path / "stocks"))["stock"].dtype == pl.Float32
    finer = rows_of(2, 1).with_columns(stock=0.1).to_arrow()
    if isinstance(form, ParquetFormat):
        with pytest.raises(FeatureStoreError, match="`stock` is 32 bits wide there"):
            offline.offline_write_batch(store.config, view, finer, None)
        one_file = FileSource(name="stocks", path="stocks/part.parquet", timestamp_field="happened")
        view = FeatureView(name="stocks", entities=[SHOP], source=one_file)
    offline.offline_write_batch(store.config, view, finer, None)
    stock = read(str(path))["stock"]
    assert stock.dtype == pl.Float64
    written = [0.1, 1.5] if isinstance(form, DeltaFormat) else [0.1]
    assert sorted(stock) == sorted([*held["stock"], *written])


@pytest.mark.parametrize("form", [DeltaFormat(), ParquetFormat()])
def test_a_saved_dataset_is_neither_emptied_nor_truncated(tmp_path: Path, form: Any) -> None:
    """Delta alone would cut nanoseconds off and replace all rows by none, and say nothing."""
    write(rows_of(1, 10), tmp_path, DeltaFormat())
    store = store_at(tmp_path, "strict", DeltaFormat())
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"), file_format=form)
    store.get_historical_features(asked(1, 5), ["stocks:sold"]).persist(storage)
    none = store.get_historical_features(asked(1, 5).head(0), ["stocks:sold"])
    with pytest.raises(EmptyFrameError, match="an empty dataset would replace"):
        none.persist(storage, allow_overwrite=True)
    finer = asked(1, 5).assign(seen=pd.Timestamp(1, unit="ns", tz="UTC"))
    with pytest.raises(FeatureStoreError, match="column `seen` is timestamp\\[ns, tz=UTC\\] and does not fit"):
        store.get_historical_features(finer, ["stocks:sold"]).persist(storage, allow_overwrite=True)
    offline, source = store._get_provider().offline_store, storage.to_data_source()
    assert (
        len(offline.pull_all_from_table_or_query(store.config, source, ["shop_id"], [], "event_timestamp").to_df()) == 5
    )


def test_a_vacuumed_version_says_what_to_do(tmp_path: Path) -> None:
    """The retrieval was pinned to a version whose files are gone since."""
    write(rows_of(1, 10), tmp_path, DeltaFormat())
    store = store_at(tmp_path, "strict", DeltaFormat())
    job = store.get_historical_features(asked(0, 3), ["stocks:stock"])
    rows_of(2, 5).write_delta(tmp_path / "stocks", mode="overwrite")
    table = DeltaTable(tmp_path / "stocks")
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(PointInTimeError, match=r"view `stocks` cannot be read: .*parquet") as error:
        job.to_df()
    assert "newest version" in str(error.value)
    assert len(store.get_historical_features(asked(0, 3), ["stocks:stock"]).to_df()) == 3


@pytest.mark.parametrize("form", [DeltaFormat(), ParquetFormat()])
def test_an_empty_source_gives_nulls(tmp_path: Path, form: Any) -> None:
    write(rows_of(1, 10).clear(), tmp_path, form)
    joined = store_at(tmp_path, "strict", form).get_historical_features(asked(0, 3), ["stocks:stock"]).to_df()
    assert joined["stock"].isna().tolist() == [True] * 3


def test_errors_name_the_view_the_column_and_the_place(tmp_path: Path) -> None:
    store = store_at(tmp_path, "strict", DeltaFormat())
    with pytest.raises(FeatureStoreError, match=r"there is nothing at .*stocks"):
        store.get_historical_features(asked(0, 3), ["stocks:stock"])
    write(rows_of(1, 10).drop("stock"), tmp_path, DeltaFormat())
    with pytest.raises(PointInTimeError, match="view `stocks`: column `stock` is missing"):
        store.get_historical_features(asked(0, 3), ["stocks:stock"]).to_df()
    with pytest.raises(PointInTimeError, match="entity rows lack `shop_id`"):
        store.get_historical_features(asked(0, 3).drop(columns="shop_id"), ["stocks:sold"]).to_df()
    with pytest.raises(FeatureStoreError, match="no column `event_timestamp`"):
        store.get_historical_features(
            asked(0, 3).rename(columns={"event_timestamp": "t"}).assign(u=START), ["stocks:sold"]
        )
    with pytest.raises(FeatureStoreError, match="entity rows are str"):
        store.get_historical_features("select 1", ["stocks:sold"])


@pytest.mark.parametrize("form", [DeltaFormat(), ParquetFormat()])
def test_a_damaged_file_is_named(tmp_path: Path, form: Any) -> None:
    """Of a file of a Delta table that is too short polars says only that an assertion failed, in a panic."""
    write(rows_of(1, 10), tmp_path, form)
    store = store_at(tmp_path, "strict", form)
    (file,) = (tmp_path / "stocks").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(FeatureStoreError, match=rf"view `stocks`: source `stocks`: {file}") as error:
        store.get_historical_features(asked(0, 3), ["stocks:stock"])
    assert "hint: restore the file" in str(error.value)
    with pytest.raises(FeatureStoreError, match=rf"source `stocks`: {file}"):
        store.materialize(START - HOUR, START + 30 * HOUR, feature_views=["stocks"])


@pytest.mark.parametrize(
    ("column", "dtype", "says"),
    [("stock", pl.String, "Float64"), ("recent", pl.Float32, "Array"), ("sold", pl.List(pl.Int64), "Int64")],
)
def test_a_column_of_another_kind_than_its_field_is_refused(tmp_path: Path, column: str, dtype: Any, says: str) -> None:
    """Text came back where Feast's field promised numbers, and the model got it."""
    rows = rows_of(1, 10).with_columns(pl.lit(None).cast(dtype).alias(column))
    write(rows, tmp_path, DeltaFormat())
    store = store_at(tmp_path, "feast", DeltaFormat())
    expected = rf"view `stocks`: column `{column}` of {tmp_path}/stocks is .*, its field says {says}"
    with pytest.raises(FeatureStoreError, match=expected):
        store.get_historical_features(asked(0, 3), [f"stocks:{column}"])
    other = "sold" if column == "stock" else "stock"
    assert len(store.get_historical_features(asked(0, 3), [f"stocks:{other}"]).to_df()) == 3


def test_a_type_of_another_width_is_read(tmp_path: Path) -> None:
    write(rows_of(1, 10).cast({"stock": pl.Float32, "sold": pl.Int32}), tmp_path, DeltaFormat())
    store = store_at(tmp_path, "strict", DeltaFormat())
    assert len(store.get_historical_features(asked(0, 3), ["stocks:stock", "stocks:sold"]).to_df()) == 3


def test_a_file_that_vanished_from_a_table_is_named(tmp_path: Path) -> None:
    """As after a vacuum of the version that is asked for."""
    write(rows_of(1, 10), tmp_path, DeltaFormat())
    store = store_at(tmp_path, "strict", DeltaFormat())
    job = store.get_historical_features(asked(0, 3), ["stocks:stock"])
    next((tmp_path / "stocks").glob("*.parquet")).unlink()
    with pytest.raises(PointInTimeError, match=r"view `stocks` cannot be read: .*parquet"):
        job.to_df()
