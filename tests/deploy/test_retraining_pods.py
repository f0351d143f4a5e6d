"""From an alarm of demand_deep to the pods that its retraining starts: the sensor's own request, on the cluster's definitions.

Nothing is simulated but the API server. Rewrite the golden files after a review: UPDATE_GOLDEN=1 make test
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from platform_assets import names
from platform_assets.components.model_assets import STAGES, model_names
from platform_assets.definitions import assemble
from resources.clock import Clock
from resources.deployment import Settings
from resources.ledger import Ledger
from tests.deploy.test_pods import VARIABLES, launcher_config

GOLDEN = Path(__file__).parent / "golden" / "retraining"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "demand_deep"


class Cluster:
    """The definitions of the cluster, and what a daemon there would do with the sensor's request."""

    def __init__(self, state: Path) -> None:
        settings = Settings.from_mapping({**VARIABLES, "PERENNIAL_STATE": str(state), "PERENNIAL_SOURCE": "simulator"})
        assert settings.deployment == "k8s"
        self.definitions = assemble(settings)
        self.repository = self.definitions.get_repository_def()
        self.ledger = Ledger(f"sqlite:///{state / 'ledger.db'}")  # the cluster's is PostgreSQL, by URL

    def request(self, instance: dg.DagsterInstance, model: str) -> tuple[str, dg.RunRequest]:
        """Job and run that the model's sensor asks for once its errors alarm under champion 1."""
        monitoring = dg.AssetKey(names.model_key(model, "monitoring"))
        self.ledger.promote(model, from_version=None, to_version="1", reason="better", evidence={}, at=NOW)
        for day in ("2025-12-13", "2025-12-27"):  # the alarm, and that it has settled
            facts: dict[str, Any] = {"champion": "1", "as_of": day, "statistic": 0.9, "threshold": 0.5}
            said = dg.AssetCheckEvaluation(monitoring, "error", passed=False, metadata=facts)
            instance.report_runless_asset_event(said)
        sensor = self.repository.get_sensor_def(f"{model}_retraining")
        context = dg.build_sensor_context(
            instance=instance,
            repository_def=self.repository,
            resources={"ledger": self.ledger, "clock": Clock(NOW), "tables": None},
        )
        found = sensor(context)
        assert isinstance(found, dg.RunRequest), found
        return str(found.job_name or sensor.job_name), found

    def pods(self, model: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
        """Step to the Job that the executor would hand to the API server; `run` is the run's own."""
        with dg.DagsterInstance.ephemeral() as instance:
            name, request = self.request(instance, model)
            job = self.definitions.resolve_job_def(name)
            run = instance.create_run_for_job(job, tags=dict(request.tags))
        executor = job.executor_def.apply_config_mapping({"config": {}})
        assert job.executor_def.name == "k8s"
        assert executor.success
        config: Any = (executor.value or {})["config"]
        found = {"run": self._job(run, None, {}, monkeypatch)}
        for node in job.nodes:
            found[node.name] = self._job(run, dict(node.definition.tags), config, monkeypatch, node.name)
        return found

    def _job(
        self,
        run: dg.DagsterRun,
        step_tags: dict[str, str] | None,
        config: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        step: str = "",
    ) -> dict[str, Any]:
        """Merged as dagster-k8s merges it: launcher, executor, the step's tags, the executor's word on that step."""
        import kubernetes
        from dagster_k8s import K8sRunLauncher
        from dagster_k8s.container_context import K8sContainerContext
        from dagster_k8s.job import (
            UserDefinedDagsterK8sConfig,
            construct_dagster_k8s_job,
            get_user_defined_k8s_config,
        )
        from kubernetes.client import ApiClient

        monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
        launcher = K8sRunLauncher(**launcher_config())
        context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=step_tags is None)
        image = None
        if step_tags is not None:
            image = config["job_image"]
            own = UserDefinedDagsterK8sConfig.from_dict(config["step_k8s_config"])
            context = context.merge(
                K8sContainerContext(
                    service_account_name=config.get("service_account_name"),
                    namespace=config.get("job_namespace"),
                    run_k8s_config=own,
                )
            )
            context = context.merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(step_tags)))
            override = UserDefinedDagsterK8sConfig.from_dict(config["per_step_k8s_config"].get(step, {}))
            context = context.merge(K8sContainerContext(run_k8s_config=override))
        job = construct_dagster_k8s_job(
            job_config=context.get_k8s_job_config(image, launcher),
            args=["dagster", "api", "execute_run" if step_tags is None else "execute_step"],
            job_name="dagster-job",
            component="run_worker" if step_tags is None else "step_worker",
            user_defined_k8s_config=context.run_k8s_config,
            labels={"dagster/job": run.job_name, **({"dagster/op": step} if step else {})},
        )
        body: Any = ApiClient().sanitize_for_serialization(job)
        for labels in (body["metadata"]["labels"], body["spec"]["template"]["metadata"]["labels"]):
            labels.pop("app.kubernetes.io/version", None)  # dagster-k8s's own
        return body


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)  # the instance file names them
    made = Cluster(tmp_path)
    yield made
    made.ledger.close()


def container(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def gpus(job: dict[str, Any]) -> str | None:
    resources = container(job).get("resources", {})
    asked = resources.get("requests", {}).get("nvidia.com/gpu")
    assert asked == resources.get("limits", {}).get("nvidia.com/gpu"), (
        "the API server refuses a request without its limit"
    )
    return asked


def test_the_request_of_the_sensor_says_why(cluster: Cluster) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job, request = cluster.request(instance, MODEL)
    assert job == names.retraining_job(MODEL)
    assert request.tags[names.TAG_MODEL] == MODEL
    assert request.tags[names.TAG_CAUSE].startswith("error/")
    assert "0.9" in request.tags[names.TAG_REASON]


def test_the_pods_of_the_retraining_are_the_reviewed_ones(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cluster.pods(MODEL, monkeypatch)
    lifecycle = {"__".join(names.model_key(MODEL, stage)) for stage in STAGES[:5]}
    assert set(found) == {"run", *lifecycle}
    for case in ("run", f"{MODEL}__training_set", f"{MODEL}__candidate"):
        golden = GOLDEN / f"{case}.yaml"
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_text(yaml.safe_dump(found[case], sort_keys=True))
        assert found[case] == yaml.safe_load(golden.read_text()), (
            "review the difference, then UPDATE_GOLDEN=1 make test"
        )


def test_training_the_network_alone_asks_for_a_gpu(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        (model, step): gpus(job) for model in model_names() for step, job in cluster.pods(model, monkeypatch).items()
    }
    assert {key: count for key, count in asked.items() if count} == {(MODEL, f"{MODEL}__candidate"): "1"}


def test_the_gpu_step_runs_in_the_gpu_image(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor has to be told which steps these are; a torch built for the CPU would leave the GPU idle."""
    images = {step: container(job)["image"] for step, job in cluster.pods(MODEL, monkeypatch).items() if step != "run"}
    expected = dict.fromkeys(images, VARIABLES["PERENNIAL_IMAGE"])
    assert images == {**expected, f"{MODEL}__candidate": VARIABLES["PERENNIAL_GPU_IMAGE"]}


def test_no_pod_of_the_retraining_restarts_or_shows_a_secret(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for step, job in cluster.pods(MODEL, monkeypatch).items():
        assert job["spec"]["backoffLimit"] == 0, step
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never", step
        assert "hunter2" not in yaml.safe_dump(job), step


def test_the_cluster_has_the_same_graph(cluster: Cluster) -> None:
    from tests.test_definitions import graph

    there = {spec.key for spec in cluster.definitions.resolve_all_asset_specs()}
    assert there == {spec.key for spec in graph("simulator").resolve_all_asset_specs()}
