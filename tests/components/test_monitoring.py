"""What monitoring keeps between two days."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from platform_assets.components.monitoring import backtest_said
from resources.artifacts import Artifacts

SPEC: Any = SimpleNamespace(name="demand")
JUDGED = pl.DataFrame({"price": [0.1, 0.2, 0.3]})


class Registry:
    """Of each version a model that multiplies the price, and how often it was loaded."""

    def __init__(self) -> None:
        self.loaded = list[str]()

    def load(self, model: str, version: str, kind: str) -> Any:
        self.loaded.append(f"{model}@{version} {kind}")
        return SimpleNamespace(predict=lambda rows: rows.select(q500=pl.col("price") * int(version) / 3))


def test_the_backtest_of_a_version_is_said_once(tmp_path: Path) -> None:
    res = SimpleNamespace(registry=Registry(), artifacts=Artifacts(tmp_path))
    for version, weights in (("1", "a" * 64), ("2", "b" * 64), ("1", "a" * 64), ("2", "b" * 64), ("1", "c" * 64)):
        manifest: Any = SimpleNamespace(features=["price"], evaluation=SimpleNamespace(weights_sha256=weights))
        said = backtest_said(SPEC, res, version, manifest, JUDGED)
        assert_frame_equal(said, JUDGED.select(q500=pl.col("price") * int(version) / 3), check_exact=True)
    assert res.registry.loaded == [f"demand@{version} evaluation" for version in ("1", "2", "1")], (
        "once a version; again where its fit is another, as after `reproduce` into a new state"
    )
