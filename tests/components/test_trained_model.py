"""A model is one folder: what the scaffold writes works as it stands, and what is misspelt in it is named with file and line."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox

from platform_assets.components.judged_window import Window, evaluation_window
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.service_features import features_of, services
from platform_assets.components.trained_model import TrainedModel
from platform_assets.errors import ConfigurationError
from tests.models.contract import CHECKS, Fitted

PROJECT = Path(__file__).parents[2]
ANY_LINE = r"defs\.yaml:\d+"


class Project:
    """A project that holds one scaffolded model."""

    def __init__(self, sandbox: Any, **parameters: Any) -> None:
        self.sandbox = sandbox
        self.folder: Path = sandbox.scaffold_component(
            component_cls=TrainedModel, defs_path="models/footfall", scaffold_params=parameters or None
        )

    @contextmanager
    def loaded(self) -> Iterator[ModelSpec]:
        with self.sandbox.load_component_and_build_defs(self.folder) as (component, _):
            yield component.spec(self.folder, f"{self.sandbox.project_name}.defs.models.footfall")

    def change(self, found: str, put: str) -> None:
        file = self.folder / "defs.yaml"
        assert found in file.read_text()
        file.write_text(file.read_text().replace(found, put, 1))

    def line_of(self, text: str) -> int:
        lines = (self.folder / "defs.yaml").read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture
def project() -> Iterator[Project]:
    with create_defs_folder_sandbox() as sandbox:
        yield Project(sandbox)


@pytest.mark.parametrize("task", ["quantiles", "probability"])
def test_a_scaffolded_model_keeps_the_contract_of_models(task: str) -> None:
    label = "units" if task == "quantiles" else "is_dormant"
    with create_defs_folder_sandbox() as sandbox:
        project = Project(sandbox, task=task)
        assert {file.name for file in project.folder.iterdir()} == {"defs.yaml", "train.py", "card.md"}
        with project.loaded() as spec:
            assert (spec.name, spec.task, spec.label) == ("footfall", task, label)
            model = Fitted(spec, importlib.import_module(spec.module).__dict__[spec.trainer])
            for check in CHECKS:
                check(model)


def test_the_examples_that_stand_commented_in_a_scaffolded_model_load(project: Project) -> None:
    file = project.folder / "defs.yaml"
    text = re.sub(
        r"^  # (?=(features|parameters|gate|retraining|tuning): )", "  ", file.read_text(), flags=re.MULTILINE
    )
    file.write_text(text)
    with project.loaded() as spec:
        assert spec.features == ("level", "mean_28", "weekday_mean_target")
        assert (spec.parameters, spec.gate["undecided"]) == ({"rounds": 300, "leaves": 15}, "keep")
        assert {"new_data": {"rows": 5000}} in spec.retraining["when"]
        assert spec.tuning["trials"] == 20


def test_an_edited_policy_leaves_the_models_code_version_and_an_edited_recipe_does_not(project: Project) -> None:
    def version() -> str:
        with project.loaded() as spec:
            return spec.code_version

    first = version()
    project.change(
        "  kind:", "  retraining: {when: [code], cooldown_days: 1}\n  gate: {undecided: keep}\n  # why\n  kind:"
    )
    assert version() == first
    project.change("  kind:", "  rows: 9000\n  kind:")
    assert version() != first


@pytest.mark.parametrize("key", ["train_on", "after_alarm"])
def test_a_window_must_reach_further_back_than_the_horizon_ahead(project: Project, key: str) -> None:
    project.change("  kind:", f"  retraining: {{{key}: {{window_days: 28}}}}\n  kind:")
    told = f"`{key}` has a window of 28 days, no longer than the horizon of 28"
    with pytest.raises(ComponentTreeException) as error, project.loaded():
        pass
    assert told in "".join(traceback.format_exception(error.value))


def test_a_trainer_that_cannot_go_on_is_not_asked_to(project: Project) -> None:
    project.change("  kind:", "  retraining: {train_on: {start: champion}}\n  kind:")
    with pytest.raises(ComponentTreeException) as error, project.loaded():
        pass
    told = "".join(traceback.format_exception(error.value))
    assert "`start: champion`, but its trainer cannot go on from a model: its DEFAULTS name no `further_rounds`" in told
    train = project.folder / "train.py"
    train.write_text(train.read_text().replace("DEFAULTS = {", 'DEFAULTS = {\n    "further_rounds": 15,', 1))
    with project.loaded() as spec:
        assert spec.retraining["train_on"] == {"start": "champion"}


MISSPELT = {
    "label": ("label: units", "label: unit", "unknown label 'unit'; known: units, is_dormant"),
    "task": ("task: quantiles", "task: quantile", "unknown task 'quantile'; known: quantiles, probability"),
    "trainer": ("trainer: train.fit", "trainer: train.fitt", "train.py defines ['fit'], not 'fitt'"),
    "trainer's file": ("trainer: train.fit", "trainer: trian.fit", "no file trian.py in footfall/"),
    "trainer's form": ("trainer: train.fit", "trainer: fit", "write it as `train.fit`"),
    "feature": ("kind:", "features: [zero_share_28, levl]\n  kind:", "unknown features 'levl' (did you mean level"),
    "feature twice": ("kind:", "features: [level, level]\n  kind:", "features named twice: ['level']"),
    "service": ("demand_v1", "demand_v2", "unknown feature service 'demand_v2'; known: "),
    "compute profile": ("compute: small", "compute: smal", "unknown compute profile 'smal'; known: small, medium"),
    "gate key": ("kind:", "gate: {min_improvment: 0.1}\n  kind:", "gate policy: unknown keys ['min_improvment']"),
    "gate value": ("kind:", "gate: {undecided: perhaps}\n  kind:", "`undecided` is 'perhaps'"),
    "retraining key": ("kind:", "retraining: {cooldwn_days: 3}\n  kind:", "retraining: unknown key `cooldwn_days`"),
    "backtest key": ("kind:", "backtest: {rowz: 3}\n  kind:", "backtest: unknown keys ['rowz']; known: rows, seq"),
    "backtest parameter": ("kind:", "backtest: {parameters: {leafs: 7}}\n  kind:", "unknown parameters 'leafs'"),
    "on what": (
        "kind:",
        "retraining: {after_alarm: {density: 7}}\n  kind:",
        "unknown key `after_alarm.density`",
    ),
    "parameter": (
        "kind:",
        "parameters: {rounds: 50, leafs: 7}\n  kind:",
        "unknown parameters 'leafs' (did you mean leaves?); the trainer's DEFAULTS: bins, column_share",
    ),
    "tuning key": ("kind:", "tuning: {trils: 3}\n  kind:", "tuning: unknown keys ['trils']"),
    "baseline": (
        "kind:",
        "baselines: [moving_avg]\n  kind:",
        "unknown baselines ['moving_avg']; known: moving_average",
    ),
    "key": ("trainer:", "trainr:", "trainr"),
    "kind": ("kind: lightgbm", "kind: lgbm", "unknown kind 'lgbm'; known: lightgbm, torch, python"),
    "horizon": ("horizon_days: 28", "horizon_days: 0", "horizon_days"),
}


@pytest.mark.parametrize("what", MISSPELT)
def test_what_is_misspelt_is_named_with_file_and_line(project: Project, what: str) -> None:
    found, put, says = MISSPELT[what]
    project.change(found, put)
    with pytest.raises(ComponentTreeException) as error, project.loaded():
        pass
    told = "".join(traceback.format_exception(error.value))
    assert says in told
    assert f"{project.folder}/defs.yaml:{project.line_of(put.splitlines()[0])}" in told


def test_a_feature_that_the_service_lacks_is_named(project: Project) -> None:
    """It is spelt right, so no line is wrong: the message names model, service and feature, and what to change."""
    project.change("feature_service: demand_v1", "feature_service: dormant_v1\n  features: [level, planned_price]")
    with pytest.raises(ComponentTreeException) as error, project.loaded():
        pass
    told = "".join(traceback.format_exception(error.value))
    assert "model footfall: feature service dormant_v1 does not offer ['planned_price']" in told
    assert "hint: add their view to the service" in told


def test_a_label_that_the_task_cannot_be_judged_on_is_refused(project: Project) -> None:
    project.change("task: quantiles", "task: probability")
    with pytest.raises(ComponentTreeException) as error, project.loaded():
        pass
    told = "".join(traceback.format_exception(error.value))
    assert "model footfall: task probability has the label is_dormant, not units" in told


def test_features_are_all_of_the_service_unless_they_are_named(project: Project) -> None:
    offered = features_of("demand_v1")
    with project.loaded() as spec:
        assert set(spec.features) == set(offered) - {"recent_units"}
    project.change("kind:", "sequences: true\n  kind:")
    with project.loaded() as spec:
        assert spec.features == offered
    project.change("kind:", "features: [mean_28, level, target_weekday]\n  kind:")
    with project.loaded() as spec:
        assert spec.features == ("mean_28", "level", "target_weekday")


def test_changed_code_or_settings_are_another_code_version(project: Project) -> None:
    versions = []
    for change in (lambda: None, lambda: project.change("small", "medium"), lambda: _append(project.folder)):
        change()
        with project.loaded() as spec:
            versions.append(spec.code_version)
    assert len(set(versions)) == 3


def _append(folder: Path) -> None:
    with (folder / "train.py").open("a") as file:
        file.write("\n")


def test_services_are_what_feast_applies() -> None:
    """The reader of feature_repo/services.py, which spares Feast's import at load, against Feast itself."""
    from feast import FeatureService

    from feature_repo import services as repository
    from platform_assets.science.demand import columns

    found = [value for value in vars(repository).values() if isinstance(value, FeatureService)]
    applied = {
        service.name: [
            (part.name, [field.name for field in part.features]) for part in service.feature_view_projections
        ]
        for service in found
    }
    assert set(applied) == set(services())
    for name, projections in applied.items():
        assert [view for view, _ in projections] == list(services()[name])
        own = {feature for _, features in projections for feature in features}
        assert own == {feature for view, _ in projections for feature in columns.VIEWS[view]}
        assert own <= set(features_of(name))


def test_dormancy_of_less_than_a_week_ahead_is_refused(tmp_path: Path) -> None:
    """The label is of seven days: with a horizon of three, four of them are known when the forecast is issued."""
    model = TrainedModel(description="x", task="probability", label="is_dormant", horizon_days=3)
    with pytest.raises(ConfigurationError, match="would begin before the forecast is issued"):
        model.spec(tmp_path / "silence", "x")


# --- the window that a candidate is judged in ------------------------------------------------------------------------

ORIGINS = [datetime(2025, 3, day, tzinfo=UTC) for day in (1, 8, 15)]
A, B, C = ORIGINS
EARLY, LATE = A - timedelta(days=30), C + timedelta(days=30)
WINDOWS = [
    # champion's shipped cut, its evaluation cut -> window
    (None, None, A, None),  # nobody to be compared with: every origin
    (EARLY, EARLY - timedelta(days=28), A, "shipped"),  # everything came after the champion's last label
    (A, EARLY, A, "shipped"),  # known at A is not known after A: the forecast issued at A is unseen
    (B, EARLY, B, "shipped"),  # a part came after: only that part, by the fit that answers now
    (B - timedelta(hours=1), EARLY, B, "shipped"),
    (LATE, A, A, "evaluation"),  # nothing is new: the fit that had not seen the window, on all of it
    (LATE, B, B, "evaluation"),
    (LATE, B + timedelta(hours=1), C, "evaluation"),
    (LATE, LATE, C, "evaluation"),  # it has seen everything; the gate will say that there is no evidence
]


@pytest.mark.parametrize(("shipped", "evaluation", "opens_at", "fit"), WINDOWS)
def test_the_window_holds_what_the_champion_has_not_seen(
    shipped: datetime | None, evaluation: datetime | None, opens_at: datetime, fit: str | None
) -> None:
    champion: Any = None
    if shipped is not None:
        champion = SimpleNamespace(
            shipped=SimpleNamespace(cut_at=shipped), evaluation=SimpleNamespace(cut_at=evaluation)
        )
    issued = [C, A, B, A, C]  # one per row, in any order
    assert evaluation_window(issued, champion) == Window(opens_at, fit)  # pyright: ignore[reportArgumentType]


def test_a_champion_that_has_seen_the_window_gives_no_evidence() -> None:
    """The gate refuses what such a window shows, however large the improvement looks."""
    from platform_assets.science.bootstrap import Interval
    from platform_assets.science.gate import GateEvidence, GatePolicy, decide

    evidence = GateEvidence(
        model="footfall",
        against="1",
        is_against_champion=True,
        improvement=Interval(0.3, 0.2, 0.4),
        segments=(),
        rows=10_000,
        series=300,
        judged_from=C,
        candidate_cut=C,
        against_cut=LATE,
        has_contract_passed=True,
        contract_failure="",
    )
    decision = decide(evidence, GatePolicy())
    assert not decision.promotes
    assert "the champion has seen labels up to" in decision.reasons[0]


# --- through the command line ----------------------------------------------------------------------------------------


@pytest.mark.long
def test_dg_scaffolds_a_model_and_checks_it(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.md", "benchmarks", "docs", "tests", "shared")
    shutil.copytree(PROJECT, copy, ignore=ignored)
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONWARNINGS": "ignore",
        "PERENNIAL_STATE": str(tmp_path / "state"),
    }

    def dg(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("dg")
        return subprocess.run(
            [str(program), *arguments], capture_output=True, text=True, cwd=copy, env=environment, check=False
        )

    done = dg(
        *("scaffold", "defs", "platform_assets.components.TrainedModel", "models/footfall"),
        *("--task", "probability", "--label", "is_dormant", "--horizon-days", "7"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = copy / "platform_assets" / "defs" / "models" / "footfall"
    assert {file.name for file in folder.iterdir()} >= {"defs.yaml", "train.py", "card.md"}

    listed = dg("list", "defs", "--json")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "footfall/champion" in listed.stdout
    assert "footfall_retraining" in listed.stdout

    good = dg("check", "defs")
    assert good.returncode == 0, good.stdout + good.stderr

    file = folder / "defs.yaml"
    for found, put in (("compute: small", "compute: smal"), ("trainer: train.fit", "trainer: train.fitt")):
        text = file.read_text()
        file.write_text(text.replace(found, put))
        bad = dg("check", "defs")
        file.write_text(text)
        assert bad.returncode != 0
        told = re.sub(r"\s+", " ", bad.stdout + bad.stderr)
        line = next(number for number, row in enumerate(text.splitlines(), 1) if found in row)
        assert f"footfall/defs.yaml:{line}" in told.replace(" ", ""), told[-3000:]
        assert put.split(": ")[1] in told
