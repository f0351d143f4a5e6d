"""What a step may use: cores, memory, a GPU. One file for every profile; a model names one in its defs.yaml.

Locally a profile limits threads. On Kubernetes it becomes the step's `dagster-k8s/config`, checked here for what the
API server would refuse only at launch (`resources/pod_rules.py`).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from platform_assets.errors import ConfigurationError
from resources.pod_rules import check_pod, parse_quantity

GPU_RESOURCE: Final = "nvidia.com/gpu"
OP_TAG: Final = "dagster-k8s/config"

# Without it cuBLAS may sum in another order each time, and torch's deterministic mode refuses or warns. Read when CUDA starts.
CUBLAS_WORKSPACE: Final = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# A pod that was preempted and restarted by its Job exits 0 without having run: Dagster retries, Kubernetes does not.
_NO_RESTART: Final = {"backoff_limit": 0}


@dataclass(frozen=True)
class Compute:
    """Resources of one step: `cpu` cores, `memory` such as 2Gi, whole `gpu`s, and `threads` for its libraries."""

    cpu: float
    memory: str
    gpu: int = 0
    threads: int = 1
    image: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.gpu, int) or self.gpu < 0:
            raise ConfigurationError(f"compute: gpu is {self.gpu}, expected a whole number; a GPU is not shared")
        if self.threads < 1:
            raise ConfigurationError(f"compute: threads is {self.threads}, expected at least 1")
        if self.cpu <= 0 or parse_quantity(self.memory) <= 0:
            raise ConfigurationError(f"compute: {self.cpu} cores and {self.memory} of memory, expected more than 0")
        check_pod(self.config())

    @contextmanager
    def limits(self) -> Iterator[None]:
        """Thread pools of BLAS, OpenMP and torch hold `threads` threads inside; as they were afterwards."""
        import sys

        from threadpoolctl import threadpool_limits

        with ExitStack() as stack:
            stack.enter_context(threadpool_limits(self.threads))
            torch = sys.modules.get("torch")  # 1.4 CPU s: limited where something loaded it, never loaded for it
            if torch is not None:
                before = torch.get_num_threads()
                torch.set_num_threads(self.threads)
                stack.callback(torch.set_num_threads, before)
            yield

    def device(self) -> str:
        """`cuda` where the profile has a GPU and this machine shows one, else `cpu`."""
        return gpu_device() if self.gpu else "cpu"

    def config(self) -> dict[str, Any]:
        """The `dagster-k8s/config` of a step: memory and GPU limits equal their requests, cores may burst."""
        requests = {"cpu": f"{self.cpu:g}", "memory": self.memory}
        limits = {"memory": self.memory}  # a limit on cores would throttle a step that could use idle ones
        if self.gpu:
            requests[GPU_RESOURCE] = limits[GPU_RESOURCE] = str(self.gpu)
        threads = [{"name": name, "value": str(self.threads)} for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")]
        env = [*threads, {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"}]
        if self.gpu:
            env.append(dict(zip(("name", "value"), CUBLAS_WORKSPACE, strict=True)))
        container: dict[str, Any] = {"resources": {"requests": requests, "limits": limits}, "env": env}
        if self.image:
            container["image"] = self.image
        pod: dict[str, Any] = {"restart_policy": "Never"}
        if self.node_selector:
            pod["node_selector"] = dict(self.node_selector)
        if self.tolerations:
            pod["tolerations"] = [dict(toleration) for toleration in self.tolerations]
        return {"container_config": container, "pod_spec_config": pod, "job_spec_config": dict(_NO_RESTART)}

    def op_tags(self, deployment: str = "k8s") -> dict[str, Any]:
        """Op tags of an asset of this profile; none locally. Only `k8s_job_executor` reads them."""
        return {OP_TAG: self.config()} if deployment == "k8s" else {}


PROFILES: Final[Mapping[str, Compute]] = {
    "small": Compute(cpu=1, memory="2Gi", threads=1),
    "medium": Compute(cpu=4, memory="8Gi", threads=4),
    "large": Compute(cpu=16, memory="64Gi", threads=16),
    "gpu": Compute(
        cpu=4,
        memory="16Gi",
        gpu=1,
        threads=4,
        node_selector={"nvidia.com/gpu.present": "true"},
        tolerations=({"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},),
    ),
}


@dataclass(frozen=True)
class ComputeProfiles:
    """The profiles on this deployment: locally threads never outnumber the cores, on a cluster images may differ."""

    deployment: str = "local"
    default_image: str | None = None
    gpu_image: str | None = None

    def profile(self, name: str) -> Compute:
        """The profile as it runs here.

        Raises: ConfigurationError listing the profiles.
        """
        if name not in PROFILES:
            raise ConfigurationError(f"unknown compute profile {name!r}; known: {', '.join(PROFILES)}")
        profile = replace(PROFILES[name], image=self.image(name))
        if self.deployment != "local":
            return profile
        return replace(profile, threads=min(profile.threads, cores()))

    def image(self, name: str) -> str | None:
        """Container image of a profile's steps; None where steps run in no container."""
        is_gpu = name in PROFILES and PROFILES[name].gpu > 0
        return (self.gpu_image if is_gpu else None) or self.default_image


def gpu_device() -> str:
    """`cuda` where this machine shows a GPU, else `cpu`; to be asked before anything starts CUDA in this process.

    Sums on the GPU are deterministic afterwards, unless the environment says otherwise already.
    """
    import os

    os.environ.setdefault(*CUBLAS_WORKSPACE)
    import torch  # 1.4 CPU s, and only GPU profiles pay it

    return "cuda" if torch.cuda.is_available() else "cpu"


def cores() -> int:
    """Cores that this process may use, at least one."""
    import os

    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
