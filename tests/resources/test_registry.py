"""The MLflow gateway: one run per training through dagster-mlflow, whole versions only, no file parsed unchecked."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from platform_assets.errors import CorruptModelError, RegistryError
from platform_assets.science.constant import Constant
from platform_assets.science.fingerprint import sha256
from platform_assets.science.fitting import FitSettings
from platform_assets.science.manifest import Code, Manifest, fit_of
from resources.mlflow_run import TAG_PROCESS
from resources.registry import Registry, Run

ROWS = pl.DataFrame(
    {
        "x": [1.0, 2.0, None],
        "recent_units": pl.Series([[1.0], [], None], dtype=pl.List(pl.Float32)),
        "units": [0.0, 2.0, 4.0],
    }
)
SETTINGS = FitSettings(("x", "recent_units"), "units", ("q500", "q990"), levels=(0.5, 0.99))
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def manifest_of(model: Constant, name: str = "demand") -> Manifest:
    return Manifest(
        model=name, format=model.format, task="quantiles", reason="first training", created_at=NOW,
        tables={"sales": 3}, views={"demand_history": "0" * 64}, code=Code("1" * 64, "2" * 64, "3" * 64, "abc"),
        image="local", platform="test", features=SETTINGS.features, label="units", outputs=SETTINGS.outputs,
        levels=SETTINGS.levels, parameters={}, seed=0, threads=1, device="cpu",
        shipped=fit_of(model, ROWS, NOW), evaluation=fit_of(model, ROWS[:2], NOW),
    )  # fmt: skip


def register(registry: Registry, run: Run, factor: float = 1.0):
    shipped = Constant({"q500": 1.0 * factor, "q990": 2.0 * factor})
    judged = Constant({"q500": 1.5 * factor, "q990": 2.5 * factor})
    inputs = ROWS.select(SETTINGS.features)
    return registry.register(
        run, manifest=manifest_of(shipped, run.model), shipped=shipped.files(), evaluation=judged.files(),
        inputs=inputs, answers=shipped.predict(ROWS), tags={"perennial/cause": "test"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: 2 s."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert Registry(tracking_uri=f"sqlite:///{path}", artifact_root="unused").versions("none") == []
    return path


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Registry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root=str(tmp_path / "artifacts"))


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def client_of(registry: Registry):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=registry.tracking_uri)


def runs_of(registry: Registry, model: str):
    client = client_of(registry)
    return client.search_runs([client.get_experiment_by_name(model).experiment_id], order_by=["attributes.start_time"])


def test_one_dagster_run_that_trains_two_models_makes_two_runs_through_dagster_mlflow(
    registry: Registry, working_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """dagster-mlflow looks its run up by Dagster run and experiment: with one experiment both models would share a run."""
    from dagster_mlflow.resources import MlFlow

    made: list[MlFlow] = []
    setup = MlFlow._setup
    monkeypatch.setattr(MlFlow, "_setup", lambda self: (made.append(self), setup(self))[1])

    def trainer(model: str):
        @dg.asset(name=model)
        def train(context: dg.AssetExecutionContext, registry: Registry) -> None:
            with registry.open_run(model, context=context, tags={"perennial/reason": "drift"}) as run:
                assert run.mlflow is made[-1]
                run.log(
                    params={f"p{index}": index for index in range(150)},
                    metrics={"loss": 1.5},
                    datasets={"sales": 7},
                    artifacts={"report/summary.json": {"a": 1}},
                )

        return train

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [trainer("demand"), trainer("dormant")],
            resources={"registry": registry},
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    for model in ("demand", "dormant"):
        (run,) = runs_of(registry, model)
        assert run.info.status == "FINISHED"
        assert run.data.tags["dagster_run_id"] == result.run_id  # dagster-mlflow's own tag
        assert run.info.run_name == f"{model}-{result.run_id[:8]}"  # not Dagster's __ASSET_JOB
        assert run.data.tags["perennial/reason"] == "drift"
        assert len(run.data.params) == 150  # MLflow takes 100 at once; dagster-mlflow sends them in parts
        assert run.data.metrics == {"loss": 1.5}
        assert [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs] == [("sales", "v7")]
        assert (
            Path(run.info.artifact_uri.removeprefix("file://")) / "report/summary.json"
        ).read_text() == '{\n  "a": 1\n}'
    assert len(made) == 2
    assert list(working_folder.iterdir()) == []  # no ./mlruns, no ./mlflow.db


def test_a_step_that_is_tried_again_gets_a_run_of_its_own(registry: Registry):
    def train_and_fail() -> None:
        with registry.open_run("demand", dagster_run_id="4b8f4f0e-0000-4000-8000-000000000000") as run:
            run.log(params={"seed": 0})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_and_fail()
    with registry.open_run("demand", dagster_run_id="4b8f4f0e-0000-4000-8000-000000000000") as run:
        run.log(params={"seed": 1})
    failed, finished = runs_of(registry, "demand")
    assert (failed.info.status, finished.info.status) == ("FAILED", "FINISHED")
    assert (failed.data.params, finished.data.params) == ({"seed": "0"}, {"seed": "1"})


def test_a_run_that_is_interrupted_is_killed_not_failed(registry: Registry):
    with pytest.raises(KeyboardInterrupt), registry.open_run("demand"):
        raise KeyboardInterrupt
    assert [run.info.status for run in runs_of(registry, "demand")] == ["KILLED"]


def test_a_second_run_in_the_same_process_is_refused(registry: Registry):
    """dagster-mlflow would log the second model's figures into the first one's run."""
    with (
        registry.open_run("demand"),
        pytest.raises(RegistryError, match="is active in this process"),
        registry.open_run("dormant"),
    ):
        pass
    assert [run.info.status for run in runs_of(registry, "demand")] == ["FINISHED"]


def test_the_process_is_left_as_it_was(registry: Registry):
    import mlflow

    before = (mlflow.get_tracking_uri(), dict(os.environ))
    with registry.open_run("demand"):
        assert mlflow.get_tracking_uri() == registry.tracking_uri
    assert (mlflow.get_tracking_uri(), dict(os.environ)) == before
    assert mlflow.active_run() is None


def test_runs_of_dead_processes_are_closed_and_those_of_living_ones_are_not(registry: Registry):
    with registry.open_run("demand") as run:
        pass
    client = client_of(registry)
    experiment = client.get_experiment_by_name("demand").experiment_id
    process = client.get_run(run.run_id).data.tags[TAG_PROCESS]
    host, _, own = process.rpartition("/")
    other = {
        name: client.create_run(experiment, tags={TAG_PROCESS: tag}).info.run_id
        for name, tag in {
            "own": process,
            "gone": f"{host}/4194303@1",
            "number used again": f"{host}/{own.partition('@')[0]}@1",
            "another host": "elsewhere/1@1",
        }.items()
    }
    with registry.open_run("demand"):
        pass
    found = {name: client.get_run(run_id).info.status for name, run_id in other.items()}
    assert found == {"own": "RUNNING", "gone": "KILLED", "number used again": "KILLED", "another host": "RUNNING"}


def test_a_run_on_another_host_is_closed_when_its_dagster_run_has_ended(registry: Registry):
    with dg.DagsterInstance.ephemeral() as instance:
        for name, status in (("ended", dg.DagsterRunStatus.CANCELED), ("going on", dg.DagsterRunStatus.STARTED)):
            instance.add_run(dg.DagsterRun(job_name=name, run_id=name, status=status))

        @dg.asset
        def train(context: dg.AssetExecutionContext, registry: Registry) -> None:
            with registry.open_run("demand", context=context):
                pass

        with registry.open_run("demand"):
            pass
        client = client_of(registry)
        experiment = client.get_experiment_by_name("demand").experiment_id
        runs = {
            name: client.create_run(experiment, tags={TAG_PROCESS: "elsewhere/1@1", "dagster_run_id": name}).info.run_id
            for name in ("ended", "going on", "unknown")
        }
        dg.materialize(
            [train],
            resources={"registry": registry},
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    found = {name: client.get_run(run_id).info.status for name, run_id in runs.items()}
    assert found == {"ended": "KILLED", "going on": "RUNNING", "unknown": "RUNNING"}


def test_a_version_round_trips_with_signature_manifest_and_both_fits(registry: Registry):
    with registry.open_run("demand") as run:
        version = register(registry, run)
    assert str(version) == "demand@1"
    assert registry.versions("demand") == [version] == [registry.version("demand", "1")]
    assert version.tags["perennial/reason"] == "first training"
    assert registry.load("demand", "1").predict(ROWS[:1]).row(0) == (1.0, 2.0)
    assert registry.load("demand", "1", "evaluation").predict(ROWS[:1]).row(0) == (1.5, 2.5)
    manifest = registry.manifest("demand", "1")
    assert manifest.tables == {"sales": 3}
    (trained,) = runs_of(registry, "demand")
    assert [(one.dataset.name, one.dataset.digest) for one in trained.inputs.dataset_inputs] == [("sales", "v3")]
    assert {trained.data.tags[f"perennial/{name}"] for name in ("code", "commit", "lock")} == {
        "1" * 64,
        "abc",
        "3" * 64,
    }
    assert [(one.name, one.dtype) for one in manifest.inputs] == [("x", "Float64"), ("recent_units", "List(Float32)")]

    import mlflow

    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(registry.tracking_uri)
    try:
        info = mlflow.models.get_model_info(version.uri)
        with pytest.raises(mlflow.exceptions.MlflowException, match="python_function"):
            mlflow.pyfunc.load_model(version.uri)  # nothing in a version is code
    finally:
        mlflow.set_tracking_uri(previous)
    assert info.signature.inputs.input_names() == ["x", "recent_units"]
    assert info.signature.outputs.input_names() == ["q500", "q990"]
    assert set(info.flavors) == {"perennial"}
    folder = Path(version.source.removeprefix("file://"))
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        "evaluation/constant.json",
        "manifest.json",
        "shipped/constant.json",
    ]
    assert info.flavors["perennial"]["files"]["manifest.json"] == sha256((folder / "manifest.json").read_bytes())


def test_versions_come_in_order_of_number(registry: Registry):
    for _ in range(11):
        with registry.open_run("demand") as run:
            register(registry, run)
    assert [one.version for one in registry.versions("demand")] == [str(number) for number in range(1, 12)]
    assert registry.versions("dem") == []


@pytest.fixture
def moved(registry: Registry, tmp_path: Path) -> Registry:
    """The registry of a state directory in which a version was registered, and which was moved afterwards."""
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "mlflow.db").rename(state / "mlflow.db")
    before = Registry(tracking_uri=f"sqlite:///{state}/mlflow.db", artifact_root=str(state / "mlflow artifacts"))
    with before.open_run("demand") as run:
        register(before, run)
    state.rename(tmp_path / "elsewhere")
    state = tmp_path / "elsewhere"
    return Registry(tracking_uri=f"sqlite:///{state}/mlflow.db", artifact_root=str(state / "mlflow artifacts"))


def test_a_version_is_found_where_its_state_directory_is_now(moved: Registry, tmp_path: Path):
    """MLflow keeps absolute paths: a moved state lost its versions."""
    version = moved.version("demand", "1")
    assert version.source.startswith(f"file://{tmp_path}/elsewhere/mlflow%20artifacts/demand/")
    assert moved.load("demand", "1").predict(ROWS[:1]).row(0) == (1.0, 2.0)
    assert moved.manifest("demand", "1").tables == {"sales": 3}
    model = Path(moved.artifact_root) / "demand" / version.run_id / "artifacts/model/shipped/constant.json"
    model.write_bytes(model.read_bytes().replace(b"1.0", b"1.1"))
    with pytest.raises(CorruptModelError):
        moved.load("demand", "1")


def test_after_a_move_nothing_is_written_where_the_state_was(moved: Registry, tmp_path: Path):
    moved.annotate(moved.version("demand", "1"), artifacts={"late.json": {"a": 1}})
    with moved.open_run("demand") as run:
        version = register(moved, run, factor=2)
    with moved.open_run("demand") as run:  # a third time in the same experiment
        register(moved, run, factor=3)
    assert not (tmp_path / "state").exists()
    root = Path(moved.artifact_root) / "demand"
    assert (root / moved.version("demand", "1").run_id / "artifacts/late.json").exists()
    assert (root / version.run_id / "artifacts/model/manifest.json").exists()
    assert [moved.load("demand", v).predict(ROWS[:1]).row(0)[0] for v in "123"] == [1.0, 2.0, 3.0]
    names = [one.name for one in client_of(moved).search_experiments() if one.name != "Default"]
    assert sorted(names) == ["demand", "demand (before the move, 1)"]


def test_of_two_copies_of_a_state_each_reads_its_own(moved: Registry, tmp_path: Path):
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "copy")
    copy = Registry(
        tracking_uri=f"sqlite:///{tmp_path}/copy/mlflow.db", artifact_root=str(tmp_path / "copy/mlflow artifacts")
    )
    shutil.rmtree(
        tmp_path / "copy/mlflow artifacts/demand" / copy.version("demand", "1").run_id / "artifacts/model/shipped"
    )
    with pytest.raises(CorruptModelError):
        copy.load("demand", "1")
    assert moved.load("demand", "1").predict(ROWS[:1]).row(0) == (1.0, 2.0)


def test_a_version_that_lies_elsewhere_by_intent_is_read_there(moved: Registry, tmp_path: Path):
    """Another root in the settings, and the files left where they were."""
    other = Registry(tracking_uri=moved.tracking_uri, artifact_root=str(tmp_path / "new root"))
    (tmp_path / "elsewhere").rename(tmp_path / "state")  # where MLflow says
    other = Registry(tracking_uri=f"sqlite:///{tmp_path}/state/mlflow.db", artifact_root=other.artifact_root)
    assert other.load("demand", "1").predict(ROWS[:1]).row(0) == (1.0, 2.0)


@pytest.mark.parametrize("damage", ["altered", "missing", "added", "manifest", "no manifest", "no folder"])
def test_a_damaged_version_is_refused_before_it_is_parsed(
    registry: Registry, damage: str, monkeypatch: pytest.MonkeyPatch
):
    """LightGBM's text with an edited digit loads and answers otherwise; cut short it aborts the process."""
    with registry.open_run("demand") as run:
        version = register(registry, run)
    folder = Path(version.source.removeprefix("file://"))
    model = folder / "shipped/constant.json"
    manifest = folder / "manifest.json"
    match damage:
        case "altered":
            model.write_bytes(model.read_bytes().replace(b"1.0", b"1.1"))
        case "missing":
            model.unlink()
        case "added":
            (folder / "shipped/extra.pkl").write_bytes(b"")
        case "manifest":  # the attacker who edits the model edits its hash too
            altered = model.read_bytes().replace(b"1.0", b"1.1")
            manifest.write_text(manifest.read_text().replace(sha256(model.read_bytes()), sha256(altered)))
            model.write_bytes(altered)
        case "no manifest":
            manifest.unlink()
        case "no folder":
            shutil.rmtree(folder)
    monkeypatch.setattr(Constant, "from_files", lambda files: pytest.fail("parsed"))
    with pytest.raises(CorruptModelError, match="demand@1"):
        registry.load("demand", "1")


def test_an_unknown_version_is_named(registry: Registry):
    with registry.open_run("demand") as run:
        register(registry, run)
    with pytest.raises(RegistryError, match=r"demand@2 is not in the registry .*\n\nhint: versions: 1"):
        registry.load("demand", "2")
    with pytest.raises(RegistryError, match="versions: none"):
        registry.manifest("nothing", "1")


def test_a_registry_whose_database_is_gone_is_not_a_missing_version(registry: Registry, tmp_path: Path):
    """Every error of MLflow read "not in the registry": a lost database looked like a lost model."""
    with registry.open_run("demand") as run:
        register(registry, run)
    database = Path(registry.tracking_uri.removeprefix("sqlite:///"))
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE model_versions")
    with pytest.raises(RegistryError, match="does not answer"):
        registry.version("demand", "1")


def test_nothing_is_visible_until_all_is_written(registry: Registry, monkeypatch: pytest.MonkeyPatch):
    """MLflow's own `log_model` makes a version first and its files afterwards."""
    from mlflow import MlflowClient

    monkeypatch.setattr(
        MlflowClient, "log_artifacts", lambda *arguments, **named: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"), registry.open_run("demand") as run:
        register(registry, run)
    assert registry.versions("demand") == []
    assert [one.info.status for one in runs_of(registry, "demand")] == ["FAILED"]


def test_aliases_tags_and_later_figures(registry: Registry):
    with registry.open_run("demand") as run:
        version = register(registry, run)
    assert registry.aliased("demand") is None
    registry.mirror_alias("demand", "1")
    assert registry.aliased("demand") == "1"
    registry.tag_version("demand", "1", {"perennial/gate": "better"})
    assert registry.version("demand", "1").tags["perennial/gate"] == "better"
    registry.annotate(
        version,
        metrics={"evaluation/pinball": 12.5},
        tags={"gate": "better"},
        artifacts={"evaluation/report.html": "<p>"},
    )
    assert registry.run_metrics(version.run_id) == {"evaluation/pinball": 12.5}
    (found,) = runs_of(registry, "demand")
    assert found.info.status == "FINISHED"
    assert (Path(found.info.artifact_uri.removeprefix("file://")) / "evaluation/report.html").read_text() == "<p>"


def test_an_artifact_stays_in_its_folder(registry: Registry):
    with registry.open_run("demand") as run, pytest.raises(RegistryError, match="outside"):
        run.log(artifacts={"../../escaped.txt": "x"})


def test_secrets_are_not_shown():
    shown = Registry(tracking_uri="postgresql://me:secret@db/mlflow", artifact_root="s3://b/a")
    from resources.registry import _shown

    assert _shown(shown.tracking_uri) == "postgresql://me:***@db/mlflow"


KILLED_WHILE_REGISTERING = """
import sys
sys.path.insert(0, {here!r})
import importlib.util
spec = importlib.util.spec_from_file_location("registry_tests", {this!r})
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
registry = tests.Registry(tracking_uri={tracking!r}, artifact_root={artifacts!r})
for number in range(1_000):
    with registry.open_run("demand") as run:
        tests.register(registry, run, number + 1.0)
    print("registered", flush=True)
"""


@pytest.mark.long
def test_killed_at_any_moment_every_version_that_shows_also_loads(registry: Registry):
    """`log_model` killed half-way leaves runs RUNNING for ever and versions that are READY and do not load."""
    script = KILLED_WHILE_REGISTERING.format(
        here=str(Path(__file__).parent), this=__file__, tracking=registry.tracking_uri, artifacts=registry.artifact_root
    )
    moments = random.Random(0)
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "registered\n"
        time.sleep(moments.uniform(0.0, 1.0))  # one version takes 0.2 s on a quiet machine
        child.kill()
        child.communicate()
    versions = registry.versions("demand")
    assert len(versions) >= 6
    for version in versions:
        registry.load("demand", version.version)
        registry.load("demand", version.version, "evaluation")
    statuses = [run.info.status for run in runs_of(registry, "demand")]
    assert statuses.count("RUNNING") <= 1  # each child closed its predecessor's
    with registry.open_run("demand"):
        pass
    statuses = [run.info.status for run in runs_of(registry, "demand")]
    assert "RUNNING" not in statuses
    assert "KILLED" in statuses


@pytest.mark.long
def test_artifacts_on_s3_round_trip(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Over real HTTP against moto's server; the endpoint is the resource's setting, not the environment's."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        storage = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        storage.create_bucket(Bucket="perennial")
        remote = Registry(
            tracking_uri=registry.tracking_uri,
            artifact_root="s3://perennial/artifacts",
            environment={"MLFLOW_S3_ENDPOINT_URL": endpoint, **keys},
        )
        with remote.open_run("demand") as run:
            version = register(remote, run)
        assert version.source.startswith("s3://perennial/artifacts/demand/")
        assert remote.load("demand", "1").predict(ROWS[:1]).row(0) == (1.0, 2.0)
        assert remote.manifest("demand", "1").model == "demand"
        assert "MLFLOW_S3_ENDPOINT_URL" not in os.environ
        key = version.source.removeprefix("s3://perennial/") + "/shipped/constant.json"
        storage.put_object(Bucket="perennial", Key=key, Body=b"{}")
        with pytest.raises(CorruptModelError, match=r"constant.json: altered"):
            remote.load("demand", "1")
    finally:
        server.stop()


REGISTERING_TOGETHER = KILLED_WHILE_REGISTERING.replace("range(1_000)", "range(4)")


@pytest.mark.long
def test_processes_that_register_together_each_get_their_version(registry: Registry, tmp_path: Path):
    """The experiment, the registered model and the version numbers are all made by whoever comes first."""
    children = []
    for number in range(3):
        script = REGISTERING_TOGETHER.format(
            here=str(Path(__file__).parent),
            this=__file__,
            tracking=registry.tracking_uri,
            artifacts=registry.artifact_root,
        )
        with (tmp_path / f"{number}.err").open("w") as errors:
            children.append(subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=errors))
    for number, child in enumerate(children):
        assert child.wait(timeout=240) == 0, (tmp_path / f"{number}.err").read_text()[-2_000:]
    versions = registry.versions("demand")
    assert [one.version for one in versions] == [str(number) for number in range(1, 13)]
    assert len({one.run_id for one in versions}) == 12
    for one in versions:
        registry.load("demand", one.version)
    assert {run.info.status for run in runs_of(registry, "demand")} == {"FINISHED"}
