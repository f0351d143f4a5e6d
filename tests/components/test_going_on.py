"""A training that goes on from the champion: what it began from is recorded, and makes the same model again or is missed."""

import importlib
import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from platform_assets import names, reproduction
from platform_assets.components import training
from platform_assets.components.drawing import IS_TRIAL, ROW_KEY
from platform_assets.components.training_choice import FACT, Drawn, tag_of
from platform_assets.components.training_set import READ
from platform_assets.errors import ConfigurationError, RegistryError
from platform_assets.reproduction import reproduce_version, spec_of
from platform_assets.science import formats
from platform_assets.science.fingerprint import file_hashes
from platform_assets.science.train_on import EVENLY, TrainOn
from resources.tables import Tables
from tests.models.contract import FIRST_ISSUE, planted_rows

MODEL, TABLE = "dormant", "dormant/training_set"
GO_ON = TrainOn(window_days=30, start="champion")


class Shelf:
    """Ledger and registry in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.standing: str | None = None

    @contextmanager
    def open_run(self, *args: Any, **kwargs: Any) -> Any:
        yield SimpleNamespace(log=lambda **logged: self.tags.update(logged.get("tags", {})))

    def register(
        self, run: Any, *, manifest: Any, shipped: Any, evaluation: Any, inputs: Any, answers: Any, tags: Any
    ) -> Any:
        version = str(len(self.kept) + 1)
        made = manifest.with_files(file_hashes(shipped), file_hashes(evaluation), inputs, answers)
        self.kept[version] = (made, {"shipped": shipped, "evaluation": evaluation}, tags)
        return SimpleNamespace(version=version, run_id="r")

    def manifest(self, model: str, version: str) -> Any:
        if version not in self.kept:
            raise RegistryError(f"{model}@{version} is not in the registry")
        return type(self.kept[version][0]).from_json(self.kept[version][0].to_json())

    def load(self, model: str, version: str, kind: str = "shipped") -> Any:
        return formats.load(self.manifest(model, version).format, self.kept[version][1][kind])

    def champion(self, model: str) -> Any:
        return None if self.standing is None else SimpleNamespace(version=self.standing)


class Workshop:
    """Trains versions of one small model on training sets as they grow."""

    def __init__(self, folder: Path) -> None:
        self.tables, self.shelf = Tables(str(folder)), Shelf()
        self.spec = replace(spec_of(MODEL), parameters={"rounds": 12, "min_leaf_rows": 10})
        self.rows = planted_rows(self.spec)

    def train(self, until: int, train_on: TrainOn, judged: int = 8) -> str:
        """A version on forecasts issued in the first `until` days, judged by the last `judged` of them."""
        at, days = pl.col("issued_at"), timedelta(days=1)
        opens, ends = FIRST_ISSUE + (until - judged) * days, FIRST_ISSUE + until * days
        rows = self.rows.filter(at < ends)
        recent = pl.lit(value=True) if train_on.window_days is None else at >= ends - train_on.window_days * days
        fit = rows.filter(recent).with_columns(purpose=pl.lit("fit"), **{IS_TRIAL: at < opens})
        trial = rows.filter(~recent, at < opens).with_columns(purpose=pl.lit("trial"), **{IS_TRIAL: pl.lit(value=True)})
        shown = rows.filter(at >= opens).with_columns(purpose=pl.lit("evaluation"), **{IS_TRIAL: pl.lit(value=False)})
        facts = {READ: json.dumps({"sales": 0}), FACT: Drawn(train_on).to_json()}
        self.tables.replace(TABLE, pl.concat([fit, trial, shown]).sort(["purpose", *ROW_KEY]), facts=facts)
        made = training.train_candidate(self.spec, self.context)
        return made.value["version"]

    @property
    def context(self) -> Any:
        profile = SimpleNamespace(threads=1, gpu=False, device=lambda: "cpu", limits=nullcontext)
        compute = SimpleNamespace(profile=lambda name: profile, image=lambda name: None)
        clock = SimpleNamespace(wall_now=lambda: datetime(2025, 1, 1, tzinfo=UTC))
        store = SimpleNamespace(view_hashes=lambda service: {})
        found = {"tables": self.tables, "registry": self.shelf, "ledger": self.shelf, "compute": compute}
        resources = SimpleNamespace(**found, clock=clock, feature_store=store)
        log = SimpleNamespace(info=lambda line: None, warning=lambda line: None)
        return SimpleNamespace(resources=resources, log=log, run=SimpleNamespace(tags={}))

    def reproduced(self, version: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setattr(reproduction, "spec_of", lambda model: self.spec)
        settings: Any = SimpleNamespace(registry=lambda: self.shelf, tables=lambda: self.tables)
        return reproduce_version(settings, MODEL, version, lambda line: None)[0]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def trees(workshop: Workshop, version: str, kind: str) -> int:
    return len(workshop.shelf.kept[version][1][kind]["probability.txt"].decode().split("\nTree=")) - 1


def test_what_went_on_from_the_champion_is_recorded_and_made_again_to_the_bit(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workshop.train(20, GO_ON)
    assert workshop.shelf.manifest(MODEL, first).began == {}
    assert workshop.shelf.tags["perennial/began_from"] == "nothing: there is no champion yet"
    workshop.shelf.standing = first

    second = workshop.train(36, GO_ON)  # judged by the last eight days, of which the champion knows nothing
    manifest, champion = (workshop.shelf.manifest(MODEL, version) for version in (second, first))
    assert {kind: (one.version, one.fit) for kind, one in manifest.began.items()} == {
        "evaluation": (first, "shipped"),
        "shipped": (first, "shipped"),
    }
    assert champion.shipped.cut_at <= manifest.evaluation.cut_at < manifest.shipped.cut_at
    assert {trees(workshop, second, kind) for kind in ("evaluation", "shipped")} == {12 + 15}
    assert manifest.train_on == GO_ON.to_dict()
    *_, tags = workshop.shelf.kept[second]
    assert tags[names.TAG_TRAIN_ON] == tag_of(GO_ON)
    assert (
        tags["perennial/began_from"]
        == "version 1: its shipped fit for the evaluation one, its shipped fit for the shipped one"
    )

    third = workshop.train(
        24, GO_ON
    )  # whose window the shipped fit of the first has seen, and its evaluation fit has not
    manifest = workshop.shelf.manifest(MODEL, third)
    assert champion.evaluation.cut_at <= manifest.evaluation.cut_at < champion.shipped.cut_at <= manifest.shipped.cut_at
    assert {kind: one.fit for kind, one in manifest.began.items()} == {"evaluation": "evaluation", "shipped": "shipped"}
    for version in (first, second, third):
        answer = workshop.reproduced(version, monkeypatch)
        assert answer["verdict"] == "equal", answer

    workshop.shelf.kept.pop(first)
    with pytest.raises(RegistryError, match="went on from the shipped fit of version 1, which cannot be had"):
        workshop.reproduced(second, monkeypatch)
    workshop.shelf.kept[first] = workshop.shelf.kept[third]
    with pytest.raises(RegistryError, match=r"of version 1 with weights .*, found "):
        workshop.reproduced(second, monkeypatch)


def test_a_window_is_made_again_to_the_bit_from_each_fits_own_rows(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = workshop.train(36, TrainOn(window_days=12))
    manifest = workshop.shelf.manifest(MODEL, version)
    assert manifest.evaluation.row_count > manifest.shipped.row_count  # of before the window of the one that is shipped
    assert workshop.reproduced(version, monkeypatch)["verdict"] == "equal"


def test_a_trainer_that_cannot_go_on_says_so_when_a_run_asks_it_to(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = importlib.import_module(workshop.spec.module)
    monkeypatch.setattr(
        trainer, "DEFAULTS", {name: value for name, value in trainer.DEFAULTS.items() if name != "further_rounds"}
    )
    with pytest.raises(ConfigurationError, match="its trainer cannot go on from a model"):
        workshop.train(20, GO_ON)
    assert EVENLY.start == "scratch"
