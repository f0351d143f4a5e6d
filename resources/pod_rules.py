"""Rules of a Kubernetes pod that dagster-k8s and its JSON schema let pass and the API server refuses.

Dagster would show each as a raw 422 at the step's launch, after its upstreams have run. Every rule is one of those
seen to fail on a real cluster (1.36).
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from platform_assets.errors import ConfigurationError

_SUFFIXES: Final = {
    **{"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18},
    **{suffix: 1024**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i)?\Z")
_LABEL_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_DNS_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\Z")
_PLAIN_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def parse_quantity(text: str) -> Decimal:
    """A Kubernetes quantity such as 500m or 2Gi as a number.

    Raises: ConfigurationError for what the API server would refuse, such as 1GB.
    """
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ConfigurationError(
            f"compute: {text!r} is no Kubernetes quantity", hint="write memory as 2Gi or 512Mi, cores as 2 or 500m"
        )
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def check_pod(config: Mapping[str, Any]) -> None:
    """Refuse a `dagster-k8s/config` whose pod the API server would refuse.

    Raises: ConfigurationError listing every rule that is broken.
    """
    pod, container = config.get("pod_spec_config", {}), config.get("container_config", {})
    broken = [
        *_resources(container.get("resources", {})),
        *_tolerations(pod.get("tolerations", ())),
        *_volumes(pod, container),
        *_labels(config, pod),
    ]
    if pod.get("restart_policy", "Never") not in ("Never", "OnFailure"):
        broken.append(f"restart_policy is {pod['restart_policy']!r}, expected Never: a Job's pod does not run for ever")
    if broken:
        raise ConfigurationError(
            f"compute: Kubernetes would refuse this pod: {'; '.join(broken)}", hint="mend it in resources/compute.py"
        )


def _resources(resources: Mapping[str, Any]) -> Iterable[str]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in sorted({*requests, *limits}):
        is_extended = "/" in name
        if not is_extended and name not in _PLAIN_RESOURCES and not name.startswith("hugepages-"):
            yield f"resource {name!r} has no vendor, such as nvidia.com/gpu"
            continue
        asked, capped = (parse_quantity(part[name]) if name in part else None for part in (requests, limits))
        if is_extended and any(value is not None and value != int(value) for value in (asked, capped)):
            yield f"{name} is {requests.get(name, limits.get(name))}, expected a whole number"
        elif is_extended and capped is None:
            yield f"{name} has a request and no limit"
        elif is_extended and asked is not None and asked != capped:
            yield f"{name} has request {requests[name]} and limit {limits[name]}, expected the same"
        elif asked is not None and capped is not None and asked > capped:
            yield f"{name} has request {requests[name]} above limit {limits[name]}"
    claims = {claim.get("name") for claim in resources.get("claims", ())}
    if claims:
        yield f"resource claims {sorted(map(str, claims))} are resolved by no pod claim"


def _tolerations(tolerations: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for toleration in tolerations:
        operator, effect = toleration.get("operator", "Equal"), toleration.get("effect")
        if operator not in ("Equal", "Exists"):
            yield f"toleration operator {operator!r}, expected Equal or Exists"
        if operator == "Exists" and toleration.get("value"):
            yield f"toleration of {toleration.get('key')}: `Exists` takes no value"
        if effect is not None and effect not in _EFFECTS:
            yield f"toleration effect {effect!r}, expected one of {', '.join(_EFFECTS)}"


def _volumes(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterable[str]:
    volumes = {volume.get("name") for volume in pod.get("volumes", ())}
    for name in volumes:
        if not _DNS_NAME.match(str(name)):
            yield f"volume name {name!r}, expected lower-case letters, digits and dashes"
    for mount in container.get("volume_mounts", ()):
        if mount.get("name") not in volumes:
            yield f"volume {mount.get('name')!r} is mounted and not declared"


def _labels(config: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterable[str]:
    template = config.get("pod_template_spec_metadata", {})
    for key, value in {**template.get("labels", {}), **pod.get("node_selector", {})}.items():
        prefix, _, name = str(key).rpartition("/")
        if not _LABEL_NAME.match(name) or (prefix and not _DNS_NAME.match(prefix)):
            yield f"label {key!r} is no label name"
        if not isinstance(value, str) or not _LABEL_VALUE.match(value):
            yield f"label {key} is {value!r}, expected a short text of letters, digits, '-', '_' and '.'"
    for name in (config.get("job_metadata", {}).get("name"), template.get("name"), pod.get("service_account_name")):
        if name is not None and not _DNS_NAME.match(str(name)):
            yield f"name {name!r}, expected lower-case letters, digits and dashes"
