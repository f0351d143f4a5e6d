"""Settings: every variable arrives, wrong ones are named, secrets stay hidden; every resource can be made."""

import json
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from platform_assets.errors import ConfigurationError
from resources.deployment import VARIABLES, Deployment, Settings, executor_for, resources_for

K8S = {
    "DEPLOYMENT": "k8s",
    "PERENNIAL_TABLES": "s3://lake/tables",
    "PERENNIAL_ARTIFACTS": "s3://lake/artifacts",
    "PERENNIAL_LEDGER": "postgresql://ledger:hunter2@db/ledger",
    "PERENNIAL_MLFLOW": "postgresql://mlflow:hunter2@db/mlflow",
    "PERENNIAL_MLFLOW_ARTIFACTS": "s3://lake/mlflow",
    "PERENNIAL_FEAST_REGISTRY": "postgresql+psycopg://feast:hunter2@db/feast",
    "PERENNIAL_FEAST_ONLINE": "redis://:hunter2@cache:6379/0",
    "PERENNIAL_IMAGE": "registry/perennial:1",
    "PERENNIAL_GPU_IMAGE": "registry/perennial:1-gpu",
    "PERENNIAL_NAMESPACE": "ml",
    "PERENNIAL_SERVICE_ACCOUNT": "perennial",
    "PERENNIAL_STATE": "/tmp/perennial",
    "PERENNIAL_SOURCE": "retail",
    "PERENNIAL_DATA": "/data/retail.csv",
    "PERENNIAL_STARTS_ON": "2024-01-01",
    "PERENNIAL_ENDS_ON": "2024-12-31",
    "PERENNIAL_NOW": "2024-06-01T00:00:00+00:00",
    "AWS_ENDPOINT_URL": "http://minio:9000",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
}


def test_every_variable_arrives_and_returns() -> None:
    settings = Settings.from_mapping(K8S)
    assert settings.environment() == K8S
    assert Settings.from_mapping(settings.environment()) == settings
    assert settings.window == (date(2024, 1, 1), date(2024, 12, 31))
    assert settings.now == datetime(2024, 6, 1, tzinfo=UTC)


def test_every_setting_has_a_variable() -> None:
    named = {part.name for part in fields(Settings)} - {"window"} | {"starts_on", "ends_on"}
    assert named == set(VARIABLES)
    assert set(K8S) == set(VARIABLES.values())


def test_secrets_stay_out_of_repr() -> None:
    shown = repr(Settings.from_mapping(K8S))
    assert "hunter2" not in shown
    assert "postgresql://ledger:***@db/ledger" in shown
    assert "s3_secret='***'" in shown


def test_local_settings_lie_in_one_directory(tmp_path: Path) -> None:
    settings = Settings.local(tmp_path, "retail", window=(date(2024, 1, 1), None))
    for name in (
        "tables_uri",
        "artifacts_uri",
        "ledger_url",
        "mlflow_uri",
        "mlflow_artifacts_uri",
        "feast_registry_url",
        "feast_online_url",
    ):
        assert str(tmp_path) in getattr(settings, name), name
    assert Settings.from_mapping(settings.environment()) == settings
    assert settings.storage_options() is None


def test_a_state_directory_remembers_its_source(tmp_path: Path) -> None:
    pin = {"source": "retail", "data": "/data/a.csv", "starts_on": "2023-01-01", "ends_on": "2023-12-31"}
    (tmp_path / "source.json").write_text(json.dumps(pin))
    settings = Settings.from_mapping({"PERENNIAL_STATE": str(tmp_path)})
    assert (settings.source, settings.data) == ("retail", Path("/data/a.csv"))
    assert settings.window == (date(2023, 1, 1), date(2023, 12, 31))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DEPLOYMENT": "prod"}, "DEPLOYMENT is 'prod', expected one of local, k8s"),
        ({"DEPLOYMENT": "k8s"}, "not set: PERENNIAL_TABLES, PERENNIAL_ARTIFACTS, PERENNIAL_LEDGER"),
        ({"PERENNIAL_STARTS_ON": "yesterday"}, "PERENNIAL_STARTS_ON is 'yesterday'"),
        ({"PERENNIAL_NOW": "2024-06-01T00:00:00"}, "without a time zone"),
        ({"PERENNIAL_NOW": "soon"}, "PERENNIAL_NOW is 'soon'"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_mapping({"PERENNIAL_STATE": str(tmp_path), **environment})
    assert message in str(error.value)


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    assert Settings.from_mapping({"DEPLOYMENT": "", "PERENNIAL_STATE": str(tmp_path)}).deployment == "local"


def test_a_state_has_an_instance_once_dagster_has_worked_on_it(tmp_path: Path) -> None:
    settings = Settings.local(tmp_path, "simulator")
    assert settings.dagster_instance() is None
    settings.dagster_home().mkdir()
    assert settings.dagster_instance() is None
    (settings.dagster_home() / "dagster.yaml").write_text("")
    instance = settings.dagster_instance()
    assert instance is not None
    with instance:
        assert instance.root_directory == str(settings.dagster_home())


@pytest.mark.parametrize("deployment", get_args(Deployment))
def test_every_deployment_has_resources_and_an_executor(deployment: str, tmp_path: Path) -> None:
    """The set of keys is what assets and sensors ask for."""
    settings = Settings.from_mapping(K8S) if deployment == "k8s" else Settings.local(tmp_path, "retail")
    resources = resources_for(settings, source="facts")
    assert set(resources) == {
        "tables", "artifacts", "io_manager", "json_io_manager", "ledger", "registry", "feature_store", "clock", "compute", "source",
    }  # fmt: skip
    executor = executor_for(settings)
    assert executor.name == {"local": "in_process", "k8s": "k8s"}[deployment]

    @dg.asset(required_resource_keys=set(resources))
    def nothing() -> None: ...

    definitions = dg.Definitions(assets=[nothing], resources=resources, executor=executor)
    dg.Definitions.validate_loadable(definitions)


def test_no_secret_reaches_the_ui() -> None:
    """Dagster shows the configuration of a resource, defaults included, on its page."""
    from dagster._core.remote_representation.external_data import RepositorySnap

    definitions = dg.Definitions(resources=resources_for(Settings.from_mapping(K8S)))
    snap = RepositorySnap.from_def(definitions.get_repository_def())
    assert {"registry", "feature_store"} <= {resource.name for resource in snap.resources or []}
    assert "hunter2" not in dg.serialize_value(snap)


def test_resources_cost_no_heavy_import(tmp_path: Path) -> None:
    """Each of these costs half a second to five of every code location's load and every pod's start."""
    code = f"""
import sys, pathlib
from resources.deployment import Settings, resources_for, executor_for
settings = Settings.local(pathlib.Path({str(tmp_path)!r}), "retail")
resources_for(settings); executor_for(settings)
heavy = {{"polars", "numpy", "pandas", "deltalake", "feast", "mlflow", "dagster_mlflow", "dagster_k8s", "dagster_aws", "torch", "lightgbm", "sklearn", "boto3"}}
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]", "import it inside the function that needs it"


def test_the_data_digest_tells_data_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.csv").write_text("2")
    a, b, folder, none = (
        Settings.local(tmp_path, "retail", data) for data in (tmp_path / "a.csv", tmp_path / "b.csv", tmp_path, None)
    )
    digests = [settings.data_digest() for settings in (a, b, folder, none, Settings.local(tmp_path, "other"))]
    assert len(set(digests)) == 5
    assert a.data_digest() == Settings.local(tmp_path / "elsewhere", "retail", tmp_path / "a.csv").data_digest()
