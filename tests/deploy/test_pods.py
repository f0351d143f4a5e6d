"""The Jobs that the API server receives for a run and for steps of each profile, against reviewed golden files.

Nothing is simulated but the API server: launcher and executor configuration come from deploy/k8s/dagster.yaml and
`executor_for`, and dagster-k8s merges them with the profile's op tags.
Rewrite the files after a review: UPDATE_GOLDEN=1 make test
"""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from resources.compute import PROFILES, ComputeProfiles
from resources.deployment import Settings, executor_for

PROJECT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
INSTANCE = PROJECT / "deploy" / "k8s" / "dagster.yaml"
STEP = "demand__candidate"
GPU_STEPS: list[str] = []
VARIABLES = {
    "DEPLOYMENT": "k8s",
    "PERENNIAL_TABLES": "s3://lake/tables",
    "PERENNIAL_ARTIFACTS": "s3://lake/artifacts",
    "PERENNIAL_LEDGER": "postgresql://ledger:hunter2@db/ledger",
    "PERENNIAL_MLFLOW": "postgresql://mlflow:hunter2@db/mlflow",
    "PERENNIAL_MLFLOW_ARTIFACTS": "s3://lake/mlflow",
    "PERENNIAL_FEAST_REGISTRY": "postgresql://feast:hunter2@db/feast",
    "PERENNIAL_FEAST_ONLINE": "redis://:hunter2@cache:6379/0",
    "PERENNIAL_IMAGE": "images/perennial:1",
    "PERENNIAL_GPU_IMAGE": "images/perennial:1-gpu",
    "PERENNIAL_NAMESPACE": "ml",
    "PERENNIAL_SERVICE_ACCOUNT": "perennial",
    "DAGSTER_POSTGRES_URL": "postgresql://dagster:hunter2@db/dagster",
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return Settings.from_mapping(VARIABLES)


def launcher_config() -> dict[str, Any]:
    """The launcher's part of the instance file, as Dagster resolves it."""
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher

    section = yaml.safe_load(INSTANCE.read_text())["run_launcher"]
    assert (section["module"], section["class"]) == ("dagster_k8s", "K8sRunLauncher")
    result = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), section["config"])
    assert result.success, result.errors
    return dict(result.value or {})


def context_of(settings: Settings, monkeypatch: pytest.MonkeyPatch, op_tags: dict[str, Any] | None) -> Any:
    """What dagster-k8s merges for a run (no op tags) or a step, and the launcher."""
    import kubernetes
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import UserDefinedDagsterK8sConfig, get_user_defined_k8s_config

    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    launcher = K8sRunLauncher(**launcher_config())
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(dg.job(name="retrain_demand")(lambda: None))
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=op_tags is None)
    if op_tags is None:
        return context, launcher, None
    config = executor_config(settings)
    context = context.merge(
        K8sContainerContext(
            service_account_name=config.get("service_account_name"),
            namespace=config.get("job_namespace"),
            run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(config["step_k8s_config"]),
        )
    )
    step = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(step_tags(op_tags)))
    override = UserDefinedDagsterK8sConfig.from_dict(config["per_step_k8s_config"].get(STEP, {}))
    merged = context.merge(step).merge(K8sContainerContext(run_k8s_config=override))
    return merged, launcher, config["job_image"]


def step_tags(op_tags: dict[str, Any]) -> dict[str, str]:
    """The tags of an asset's step, as Dagster keeps them."""

    @dg.asset(key=STEP.split("__"), op_tags=op_tags)
    def candidate() -> None: ...

    graph = dg.Definitions(assets=[candidate]).resolve_implicit_global_asset_job_def()
    return dict(graph.get_node_named(STEP).definition.tags)


def executor_config(settings: Settings) -> dict[str, Any]:
    """The executor's configuration as the definitions carry it."""
    executor = executor_for(settings, gpu_steps=GPU_STEPS)
    assert executor.name == "k8s"
    result = executor.apply_config_mapping({"config": {}})
    assert result.success, result.errors
    return (result.value or {})["config"]


def job_of(settings: Settings, monkeypatch: pytest.MonkeyPatch, op_tags: dict[str, Any] | None) -> dict[str, Any]:
    from dagster_k8s.job import construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    context, launcher, image = context_of(settings, monkeypatch, op_tags)
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(image, launcher),
        args=["dagster", "api", "execute_run" if op_tags is None else "execute_step"],
        job_name="dagster-job",
        component="run_worker" if op_tags is None else "step_worker",
        user_defined_k8s_config=context.run_k8s_config,
    )
    body = ApiClient().sanitize_for_serialization(job)
    labels = [body["metadata"]["labels"], body["spec"]["template"]["metadata"]["labels"]]
    for found in labels:  # dagster-k8s's own version must not change the files
        found.pop("app.kubernetes.io/version", None)
    return body


CASES = ["run", *PROFILES]


@pytest.mark.parametrize("case", CASES)
def test_the_job_is_the_reviewed_one(case: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    op_tags = None if case == "run" else PROFILES[case].op_tags()
    found, golden = job_of(settings, monkeypatch, op_tags), GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(yaml.safe_dump(found, sort_keys=True))
    assert found == yaml.safe_load(golden.read_text()), "review the difference, then UPDATE_GOLDEN=1 make test"


def test_every_golden_file_has_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_no_pod_is_restarted_and_no_secret_stands_in_it(
    case: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(settings, monkeypatch, None if case == "run" else PROFILES[case].op_tags())
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert "hunter2" not in yaml.safe_dump(job)


def test_only_the_gpu_profile_asks_for_a_gpu(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU in a run's tags would be held by the run's pod while the step waits for it for ever."""
    for case in CASES:
        job = job_of(settings, monkeypatch, None if case == "run" else PROFILES[case].op_tags())
        container = job["spec"]["template"]["spec"]["containers"][0]
        gpus = container["resources"].get("limits", {}).get("nvidia.com/gpu")
        assert gpus == ("1" if case == "gpu" else None), case


def test_the_image_of_gpu_steps_can_differ(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {}
    for name, steps in (("small", []), ("gpu", [STEP])):
        monkeypatch.setitem(globals(), "GPU_STEPS", steps)
        job = job_of(settings, monkeypatch, PROFILES[name].op_tags())
        images[name] = job["spec"]["template"]["spec"]["containers"][0]["image"]
    assert images == {"small": "images/perennial:1", "gpu": "images/perennial:1-gpu"}
    profiles = ComputeProfiles("k8s", settings.image, settings.gpu_image)  # what a manifest remembers
    assert {name: profiles.image(name) for name in images} == images


def test_the_instance_names_variables_instead_of_secrets(settings: Settings, tmp_path: Path) -> None:
    """The instance's reference is written into every run pod's arguments."""
    from dagster._core.instance.ref import InstanceRef

    (tmp_path / "dagster.yaml").write_text(INSTANCE.read_text())
    reference = dg.serialize_value(InstanceRef.from_dir(str(tmp_path)))
    assert "DAGSTER_POSTGRES_URL" in reference
    assert "hunter2" not in reference


@pytest.mark.parametrize("path", ["dagster.yaml", "deploy/k8s/dagster.yaml"])
def test_both_instances_run_one_training_of_a_model_at_a_time(path: str) -> None:
    from platform_assets import names

    limits = yaml.safe_load((PROJECT / path).read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert {"key": names.TAG_MODEL, "value": {"applyLimitPerUniqueValue": True}, "limit": 1} in limits


def test_the_local_instance_opens(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((PROJECT / "dagster.yaml").read_bytes())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled


def test_the_workspace_has_the_one_code_location() -> None:
    workspace = yaml.safe_load((PROJECT / "workspace.yaml").read_text())
    expected = {"module_name": "platform_assets.definitions", "location_name": "perennial"}
    assert workspace == {"load_from": [{"python_module": expected}]}


def test_the_image_holds_every_package() -> None:
    import tomllib

    packages = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"][
        "include"
    ]
    folders = [name.rstrip("*") for name in packages if (PROJECT / name.rstrip("*")).is_dir()]
    dockerfile = (PROJECT / "deploy/docker/Dockerfile").read_text()
    ignored = (PROJECT / "deploy/docker/Dockerfile.dockerignore").read_text().splitlines()
    for folder in folders:
        assert f"COPY {folder} {folder}" in dockerfile
        assert f"!{folder}" in ignored


def test_the_readme_names_every_variable_that_a_cluster_needs() -> None:
    from resources.deployment import _NEEDED_ON_K8S, VARIABLES

    readme = (PROJECT / "deploy/README.md").read_text()
    for name in _NEEDED_ON_K8S:
        assert f"`{VARIABLES[name]}`" in readme
