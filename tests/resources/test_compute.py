"""Profiles: threads are limited and given back, and no pod leaves that the API server would refuse."""

import os
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from platform_assets.errors import ConfigurationError
from resources.compute import CUBLAS_WORKSPACE, OP_TAG, PROFILES, Compute, ComputeProfiles
from resources.pod_rules import check_pod, parse_quantity


def pod(**parts: Any) -> dict[str, Any]:
    return {"container_config": parts.pop("container", {}), **parts}


def resources(**parts: Any) -> dict[str, Any]:
    return pod(container={"resources": parts})


GPU = "nvidia.com/gpu"

# The thirteen that a 1.36 API server refused although dagster-k8s and the JSON schema accept them.
REFUSED = {
    "GPU request without limit": (resources(requests={GPU: "1"}), "no limit"),
    "GPU limit is not its request": (resources(requests={GPU: "1"}, limits={GPU: "2"}), "expected the same"),
    "half a GPU": (resources(requests={GPU: "0.5"}, limits={GPU: "0.5"}), "whole number"),
    "1GB": (resources(requests={"memory": "1GB"}), "'1GB' is no Kubernetes quantity"),
    "bare gpu": (resources(limits={"gpu": "1"}), "'gpu' has no vendor"),
    "request above limit": (resources(requests={"memory": "2Gi"}, limits={"memory": "1Gi"}), "above limit"),
    "bad taint effect": (pod(pod_spec_config={"tolerations": [{"key": "a", "effect": "NoRun"}]}), "effect 'NoRun'"),
    "Exists with a value": (
        pod(pod_spec_config={"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
        "`Exists` takes no value",
    ),
    "restartPolicy: Always": (pod(pod_spec_config={"restart_policy": "Always"}), "restart_policy is 'Always'"),
    "missing volume": (pod(container={"volume_mounts": [{"name": "data", "mount_path": "/d"}]}), "not declared"),
    "bad label": (pod(pod_template_spec_metadata={"labels": {"team": "de mand"}}), "label team is 'de mand'"),
    "upper-case name": (pod(job_metadata={"name": "Train"}), "name 'Train'"),
    "unresolved claim": (resources(claims=[{"name": "gpu"}]), "resource claims"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_api_server_refuses_is_refused_here(case: str) -> None:
    config, message = REFUSED[case]
    with pytest.raises(ConfigurationError) as error:
        check_pod(config)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        {},
        resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "1024Mi"}),
        resources(limits={GPU: "2"}),  # a limit alone is its own request
        pod(pod_spec_config={"tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]}),
        pod(
            container={"volume_mounts": [{"name": "data", "mount_path": "/d"}]},
            pod_spec_config={"volumes": [{"name": "data", "empty_dir": {}}], "service_account_name": "nobody"},
        ),
        pod(pod_template_spec_metadata={"labels": {"app.kubernetes.io/name": "perennial", "empty": ""}}),
    ],
)
def test_what_the_api_server_accepts_passes(config: dict[str, Any]) -> None:
    check_pod(config)


def test_every_broken_rule_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"no limit; .*NoRun.*; restart_policy"):
        check_pod(
            {
                **resources(requests={GPU: "1"}),
                "pod_spec_config": {"restart_policy": "Always", "tolerations": [{"key": "a", "effect": "NoRun"}]},
            }
        )


@pytest.mark.parametrize(
    ("text", "value"), [("500m", 0.5), ("2", 2), ("2Gi", 2 * 1024**3), ("1.5G", 1.5e9), ("64Ki", 65536), (".5", 0.5)]
)
def test_quantities(text: str, value: float) -> None:
    assert float(parse_quantity(text)) == value


@pytest.mark.parametrize("text", ["1GB", "2gi", "", "-1", "1 Gi", "1e3", "Gi"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no Kubernetes quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cpu": 1, "memory": "1Gi", "gpu": 0.5}, "whole number"),
        ({"cpu": 1, "memory": "1Gi", "gpu": -1}, "whole number"),
        ({"cpu": 1, "memory": "1GB"}, "no Kubernetes quantity"),
        ({"cpu": 0, "memory": "1Gi"}, "more than 0"),
        ({"cpu": 1, "memory": "1Gi", "threads": 0}, "at least 1"),
        ({"cpu": 1, "memory": "1Gi", "node_selector": {"bad key": "x"}}, "no label name"),
    ],
)
def test_a_wrong_profile_is_refused_when_it_is_written(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Compute(**arguments)


def test_memory_and_gpu_limits_equal_their_requests() -> None:
    for name, profile in PROFILES.items():
        asked = profile.op_tags()[OP_TAG]["container_config"]["resources"]
        for resource, limit in asked["limits"].items():
            assert asked["requests"][resource] == limit, name
        assert asked["limits"].get(GPU) == ("1" if name == "gpu" else None)
    assert PROFILES["gpu"].op_tags("local") == {}


def test_a_gpu_profile_has_an_image_of_its_own() -> None:
    profiles = ComputeProfiles("k8s", "perennial:1", "perennial:1-gpu")
    assert profiles.profile("gpu").op_tags()[OP_TAG]["container_config"]["image"] == "perennial:1-gpu"
    assert profiles.profile("small").op_tags()[OP_TAG]["container_config"]["image"] == "perennial:1"
    assert ComputeProfiles("k8s", "perennial:1").image("gpu") == "perennial:1"
    assert ComputeProfiles().image("gpu") is None
    with pytest.raises(ConfigurationError, match="unknown compute profile 'huge'; known: small"):
        profiles.profile("huge")


def test_threads_are_limited_inside_and_given_back() -> None:
    import numpy as np
    import torch

    np.ones((2, 2)) @ np.ones((2, 2))  # loads BLAS, so that there is a pool to limit
    before, threads = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}, torch.get_num_threads()
    for wanted in (1, 2):
        with Compute(cpu=1, memory="1Gi", threads=wanted).limits():
            assert {pool["num_threads"] for pool in threadpool_info()} <= {1, wanted}
            assert torch.get_num_threads() == wanted
    assert {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()} == before
    assert torch.get_num_threads() == threads


def test_locally_threads_never_outnumber_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.compute.cores", lambda: 2)
    assert ComputeProfiles().profile("large").threads == 2
    assert ComputeProfiles().profile("small").threads == 1
    assert ComputeProfiles("k8s").profile("large").threads == 16


def test_without_a_gpu_the_device_is_the_cpu() -> None:
    assert PROFILES["small"].device() == "cpu"


@pytest.mark.parametrize(("stated", "expected"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_a_gpu_profile_makes_cuda_deterministic_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, stated: str | None, expected: str
) -> None:
    """Locally in this process's environment, in which a value of the user's own wins; on a cluster in the pod's."""
    import torch

    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen.append(os.environ.get(name)) or True)
    name, value = CUBLAS_WORKSPACE
    monkeypatch.setenv(name, "so that it is absent again afterwards")
    monkeypatch.delenv(name)
    if stated is not None:
        monkeypatch.setenv(name, stated)
    assert PROFILES["small"].device() == "cpu"
    assert os.environ.get(name) == stated
    assert PROFILES["gpu"].device() == "cuda"
    assert seen == [expected]
    in_pods = {
        profile: {one["name"]: one["value"] for one in PROFILES[profile].config()["container_config"]["env"]}.get(name)
        for profile in PROFILES
    }
    assert in_pods == {"small": None, "medium": None, "large": None, "gpu": value}
