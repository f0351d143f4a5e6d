"""A join that keeps to a limit of memory gives the answer of the join in memory, and keeps to it."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import PointInTimeError
from platform_assets.science.point_in_time import EVERYTHING_KNOWN, View, join, join_and_count
from resources.feast_polars import buckets

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")


def view_rows(count: int, seed: int) -> pl.DataFrame:
    """Ties, corrections, late and missing times, and features of every kind."""
    rng = np.random.default_rng(seed)
    event = [START + HOUR * int(h) for h in rng.integers(0, 12, count)]
    return pl.DataFrame(
        {
            "shop": rng.integers(0, 9, count).astype(np.int32),
            "sku": rng.choice(["x", "y", "z"], count).tolist(),
            "event_at": event,
            "known_at": [None if rng.random() < 0.1 else e + HOUR * int(rng.integers(-2, 4)) for e in event],
            "n": np.arange(count),
            "note": rng.choice(["a", "b"], count).tolist(),
            "recent": [rng.normal(size=2).tolist() for _ in range(count)],
            "offer": [{"p": int(p), "q": None} for p in rng.integers(0, 9, count)],
        },
        schema_overrides={
            "event_at": TIME,
            "known_at": TIME,
            "note": pl.Categorical,
            "offer": pl.Struct({"p": pl.Int64, "q": pl.String}),
        },
    )


def entity_rows(count: int) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "store": [None if rng.random() < 0.05 else int(s) for s in rng.integers(0, 11, count)],
            "sku": rng.choice(["x", "y", "nobody"], count).tolist(),
            "t": [START + HOUR * int(h) for h in rng.integers(-1, 20, count)],
        },
        schema_overrides={"t": TIME, "store": pl.Int64},
    )


def views(folder: Path) -> list[View]:
    one, two = view_rows(900, 1), view_rows(400, 2)
    one.drop("note").write_parquet(folder / "one.parquet", row_group_size=100)
    return [
        View("one", pl.scan_parquet(folder / "one.parquet"), {"shop": "store", "sku": "sku"}, ["n", "recent", "offer"], ttl=5 * HOUR, is_rereadable=True),
        View("two", two, {"sku": "sku"}, {"n": "m", "note": "note"}),
        View("all", two.lazy(), [], {"n": "k"}),
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [10**9, 60_000, 20_000, 1])
@pytest.mark.parametrize("as_of", [None, EVERYTHING_KNOWN])
def test_buckets_on_disk_give_the_answer_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, as_of: datetime | None
) -> None:
    monkeypatch.setattr(buckets, "SLICE", 64)
    monkeypatch.setattr(buckets, "_BATCH", 128)
    rows, joined = entity_rows(700), views(tmp_path)
    wanted, late = join_and_count(rows, joined, at="t", as_of=as_of)
    spilled = buckets.spill(rows, joined, tmp_path, at="t", limit=limit, as_of=as_of)
    parts = list(buckets.slices(rows, spilled))
    assert [len(part) for part in parts] == [64] * 10 + [60]
    assert_frame_equal(pl.concat(parts), wanted)
    assert spilled.late == late
    assert (len(list((tmp_path / "0").glob("*.answer"))) > 1) == (limit < 10**9)
    assert not list(tmp_path.rglob("*.part"))


def test_no_rows_and_empty_views_pass_through_disk_too(tmp_path: Path) -> None:
    view = View("one", view_rows(5, 1).clear(), {"shop": "store", "sku": "sku"}, ["n", "note", "recent"])
    for number, rows in enumerate((entity_rows(3), entity_rows(3).clear())):
        folder = tmp_path / str(number)
        folder.mkdir()
        held = list(buckets.slices(rows, buckets.spill(rows, [view], folder, at="t", limit=1)))
        assert_frame_equal(pl.concat(held), join(rows, [view], at="t"))


def test_a_key_of_another_kind_is_refused_in_buckets_too(tmp_path: Path) -> None:
    view = View("one", view_rows(50, 1), {"shop": "sku"}, ["n"])
    with pytest.raises(PointInTimeError, match="key `shop` is Int32, entity column `sku` is String"):
        buckets.spill(entity_rows(9), [view], tmp_path, at="t", limit=1)


PEAK = """
import json, sys
from pathlib import Path
import polars as pl
from platform_assets.science.point_in_time import View, join
from resources.feast_polars import buckets

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
rows = pl.read_parquet(folder / "rows.parquet")
views = [View(f"v{n}", pl.scan_parquet(folder / "view.parquet"), ["k"], {f"f{i}": f"f{i}_{n}" for i in range(5)},
              is_rereadable=True) for n in range(4)]

def memory(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
total = 0.0
if limit:
    work = folder / "work"
    work.mkdir()
    for part in buckets.slices(rows, buckets.spill(rows, views, work, at="t", limit=limit)):
        total += part["f0_3"].sum()
else:
    total = join(rows, views, at="t")["f0_3"].sum()
print(json.dumps({"taken": memory("VmHWM") - before, "total": total}))
"""


@pytest.mark.long
def test_the_limit_of_memory_holds(tmp_path: Path) -> None:
    """Four views of three million rows. Beside the limit stand polars' read buffers and the sorted entity rows: 265 to 305 MB here."""
    rng = np.random.default_rng(0)
    count, asked, limit = 3_000_000, 1_000_000, 150 * 2**20

    def times(size: int) -> pl.Series:
        return pl.Series(rng.integers(0, 10**12, size)).cast(TIME)

    frame = pl.DataFrame({"k": rng.integers(0, 50_000, count), "event_at": times(count)}).with_columns(
        pl.col("event_at").alias("known_at"), *(pl.Series(f"f{i}", rng.random(count)) for i in range(5))
    )
    frame.write_parquet(tmp_path / "view.parquet", row_group_size=128 * 1024)
    pl.DataFrame({"k": rng.integers(0, 50_000, asked), "t": times(asked)}).write_parquet(tmp_path / "rows.parquet")
    answers = []
    for bytes_ in (0, limit):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(tmp_path), str(bytes_)], capture_output=True, text=True, check=True
        )
        answers.append(json.loads(done.stdout))
    whole, bounded = answers
    assert bounded["total"] == pytest.approx(whole["total"])
    assert bounded["taken"] < limit + 330 * 2**20 < whole["taken"], answers
