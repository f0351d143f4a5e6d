"""Feast's own commands inside the repository: what a user who knows Feast would type."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from platform_assets.science.demand import columns
from resources.feature_store import FeatureStoreResource

ROOT = Path(__file__).parents[2]
FEAST = Path(sys.executable).with_name("feast")
START = datetime(2024, 1, 1, tzinfo=UTC)
DTYPES: dict[str, Any] = {"f64": pl.Float64, "i64": pl.Int64, "bool": pl.Boolean, "list_f32": pl.List(pl.Float32)}
VALUES: dict[str, Any] = {"f64": 1.5, "i64": 3, "bool": True, "list_f32": [1.0, 2.5]}
DAY = (date(2024, 2, 1) - date(1970, 1, 1)).days


def table_of(view: str) -> pl.DataFrame:
    """Three days of two series; the feature values tell series and day apart."""
    rows = [
        {"series_id": series, "target_day": DAY, "event_at": at, "known_at": at, "n": float(n * 10 + k)}
        for k, series in enumerate(("1/a", "2/b"))
        for n, at in enumerate(START + timedelta(days=d) for d in range(3))
    ]
    frame = pl.DataFrame(rows, schema_overrides={"event_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")})  # fmt: skip
    features = [
        (pl.col("n") + i if kind == "f64" else pl.lit(VALUES[kind], DTYPES[kind])).alias(name)
        for i, (name, kind) in enumerate((name, columns.DTYPES[name]) for name in columns.VIEWS[view])
    ]
    return frame.select(*columns.ENTITY_KEYS[view], "event_at", "known_at", *features)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FeatureStoreResource]:
    """A copy of the repository beside a state directory that the demo could have made."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "feature_repo", root / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    state = root / ".state" / "simulator"
    for view in columns.VIEWS:
        table_of(view).write_delta(state / "tables" / "features" / view)
    store = FeatureStoreResource(
        state=str(state / "feast"),
        tables=str(state / "tables"),
        link=str(root / ".state" / "feast"),
        as_of=(START + timedelta(days=9)).isoformat(),
    )
    store.apply()
    return root / "feature_repo", store


def feast(folder: Path, *arguments: str) -> str:
    done = subprocess.run([FEAST, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def server(folder: Path, path: str, *arguments: str, config: str | None = None) -> Iterator[str]:
    """The URL of a Feast server that answers at `path`; it is stopped by its own process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder.parent / f"{arguments[0]}.log").open("w") as log:
        chosen = ["-c", str(folder), "-f", config] if config else []
        process = subprocess.Popen([FEAST, *chosen, *arguments, "-h", "127.0.0.1", "-p", str(port)], cwd=folder, stdout=log, stderr=log)  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url + path, timeout=10) as answer:
                    assert answer.status == 200
                    break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        else:
            pytest.fail(
                f"feast {arguments[0]} does not answer:\n{(folder.parent / f'{arguments[0]}.log').read_text()[-2000:]}"
            )
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def ask(url: str, question: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(question).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.long
def test_apply_and_list_work_inside_the_repository(checkout: tuple[Path, FeatureStoreResource]) -> None:
    folder, store = checkout
    feast(folder, "apply")
    listed = feast(folder, "feature-views", "list")
    assert all(view in listed for view in columns.VIEWS)
    assert "demand_v1" in feast(folder, "feature-services", "list")
    elsewhere = feast(
        folder.parent, "-c", str(folder), "-f", f"{store.state}/feature_store.yaml", "feature-views", "list"
    )
    assert all(view in elsewhere for view in columns.VIEWS)
    assert store.views("demand_v1") == ("demand_history", "price_history", "season", "offer")


@pytest.mark.long
def test_the_feature_server_answers_what_the_offline_store_knows(checkout: tuple[Path, FeatureStoreResource]) -> None:
    folder, store = checkout
    now = START + timedelta(days=9)
    for view in columns.VIEWS:
        assert store.load_online(view, START, now) == 2
    entities = {"series_id": ["2/b", "1/a", "9/nobody"], "target_day": [DAY, DAY, DAY]}
    rows = pl.DataFrame(entities).with_columns(issued_at=pl.lit(now))
    known = store.historical(rows, "demand_v1")
    # The file in the state says when the source ended; the repository's own judges TTLs at the wall clock.
    with server(folder, "/health", "serve", "--no-access-log", config=f"{store.state}/feature_store.yaml") as url:
        answer = ask(f"{url}/get-online-features", {"feature_service": "demand_v1", "entities": entities})
    served = dict(zip(answer["metadata"]["feature_names"], (r["values"] for r in answer["results"]), strict=True))
    assert set(served) == {"series_id", "target_day", *store.features("demand_v1")}
    for feature in store.features("demand_v1"):
        assert served[feature] == known[feature].to_list(), feature


@pytest.mark.long
def test_the_ui_answers(checkout: tuple[Path, FeatureStoreResource]) -> None:
    folder, _ = checkout
    with server(folder, "/", "ui") as url, urllib.request.urlopen(f"{url}/projects-list.json", timeout=60) as answer:
        assert "perennial" in answer.read().decode()
