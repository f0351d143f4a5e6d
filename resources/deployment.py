"""Typed settings of a deployment, and the resources and the executor that follow from them.

    local   everything in one state directory, one process for a run
    k8s     tables and artifacts on S3, ledger and registry on PostgreSQL, a pod for each step

Nothing here reads the environment: `definitions.py` passes it to `Settings.from_mapping`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import dagster as dg

from platform_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from resources.artifacts import Artifacts
    from resources.feature_store import FeatureStoreResource
    from resources.ledger import Ledger
    from resources.registry import Registry
    from resources.tables import Tables

Deployment = Literal["local", "k8s"]
Window = tuple[date, date | None]

PROJECT: Final = Path(__file__).parents[1]

# The days of the simulated world that stands in where nothing else is named.
SIMULATED: Final[Window] = (date(2024, 1, 1), date(2025, 12, 30))

# Setting -> environment variable. Each of these wins over what the state directory or the deployment implies.
VARIABLES: Final[Mapping[str, str]] = {
    "deployment": "DEPLOYMENT",
    "state": "PERENNIAL_STATE",
    "source": "PERENNIAL_SOURCE",
    "data": "PERENNIAL_DATA",
    "starts_on": "PERENNIAL_STARTS_ON",
    "ends_on": "PERENNIAL_ENDS_ON",
    "now": "PERENNIAL_NOW",
    "tables_uri": "PERENNIAL_TABLES",
    "artifacts_uri": "PERENNIAL_ARTIFACTS",
    "ledger_url": "PERENNIAL_LEDGER",
    "mlflow_uri": "PERENNIAL_MLFLOW",
    "mlflow_artifacts_uri": "PERENNIAL_MLFLOW_ARTIFACTS",
    "feast_registry_url": "PERENNIAL_FEAST_REGISTRY",
    "feast_online_url": "PERENNIAL_FEAST_ONLINE",
    "image": "PERENNIAL_IMAGE",
    "gpu_image": "PERENNIAL_GPU_IMAGE",
    "namespace": "PERENNIAL_NAMESPACE",
    "service_account": "PERENNIAL_SERVICE_ACCOUNT",
    "s3_endpoint": "AWS_ENDPOINT_URL",
    "s3_region": "AWS_REGION",
    "s3_key": "AWS_ACCESS_KEY_ID",
    "s3_secret": "AWS_SECRET_ACCESS_KEY",
}

# A pod has no disk that outlives it, so these must be named there.
_NEEDED_ON_K8S: Final = (
    "tables_uri",
    "artifacts_uri",
    "ledger_url",
    "mlflow_uri",
    "mlflow_artifacts_uri",
    "feast_registry_url",
    "feast_online_url",
    "image",
)

_PASSWORD: Final = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")
_MASKED: Final = r"\1:***@"


@dataclass(frozen=True, repr=False)
class Settings:
    """Where everything is. Build it with `local` or `from_mapping`; `repr` hides keys and passwords.

    `window` is the source's first and last local day, the last None where the source goes on.
    """

    deployment: Deployment
    state: Path
    source: str
    data: Path | None
    window: Window
    tables_uri: str
    artifacts_uri: str
    ledger_url: str
    mlflow_uri: str
    mlflow_artifacts_uri: str
    feast_registry_url: str
    feast_online_url: str
    now: datetime | None = None
    image: str | None = None
    gpu_image: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    s3_endpoint: str | None = None
    s3_region: str | None = None
    s3_key: str | None = None
    s3_secret: str | None = None

    def __repr__(self) -> str:
        shown = {part.name: getattr(self, part.name) for part in fields(self)}
        shown["s3_secret"] = self.s3_secret and "***"
        texts = (f"{name}={value!r}" for name, value in shown.items() if value is not None)
        return f"Settings({_PASSWORD.sub(_MASKED, ', '.join(texts))})"

    @classmethod
    def local(
        cls,
        state: Path,
        source: str,
        data: Path | None = None,
        *,
        window: Window = SIMULATED,
        now: datetime | None = None,
    ) -> "Settings":
        """Everything below one state directory."""
        return cls(
            deployment="local",
            state=state,
            source=source,
            data=data,
            window=window,
            tables_uri=str(state / "tables"),
            artifacts_uri=str(state),
            ledger_url=f"sqlite:///{state / 'ledger.db'}",
            mlflow_uri=f"sqlite:///{state / 'mlflow' / 'mlflow.db'}",
            mlflow_artifacts_uri=str(state / "mlflow" / "artifacts"),
            feast_registry_url=f"sqlite:///{state / 'feast' / 'registry.db'}",
            feast_online_url=f"sqlite:///{state / 'feast' / 'online.db'}",
            now=now,
        )

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> "Settings":
        """Settings from environment variables (`VARIABLES`); the state directory's `source.json` fills what they leave.

        Raises: ConfigurationError naming the variable, what it holds and what it may hold.
        """
        given = {name: environment[variable] for name, variable in VARIABLES.items() if environment.get(variable)}
        deployment = given.pop("deployment", "local")
        if deployment not in get_args(Deployment):
            raise ConfigurationError(
                f"DEPLOYMENT is {deployment!r}, expected one of {', '.join(get_args(Deployment))}",
                hint="leave it out for a local run",
            )
        state = Path(given.pop("state", PROJECT / ".state" / "simulator")).absolute()
        pin = _pin(state)
        data = given.pop("data", pin.get("data"))
        starts_on, ends_on = given.pop("starts_on", pin.get("starts_on")), given.pop("ends_on", pin.get("ends_on"))
        window: Window = SIMULATED
        if starts_on is not None:
            window = (_day("starts_on", starts_on), None if ends_on is None else _day("ends_on", ends_on))
        settings = cls.local(
            state,
            given.pop("source", pin.get("source", "simulator")),
            Path(data).absolute() if data else None,
            window=window,
            now=_instant(given.pop("now")) if "now" in given else None,
        )
        if deployment == "k8s" and (missing := [VARIABLES[name] for name in _NEEDED_ON_K8S if name not in given]):
            raise ConfigurationError(f"DEPLOYMENT is k8s, and these are not set: {', '.join(missing)}")
        return replace(settings, deployment=deployment, **given)

    def environment(self) -> dict[str, str]:
        """Variables from which `from_mapping` makes these settings again; holds the secrets."""
        values: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(self)}
        values["starts_on"], values["ends_on"] = (day and day.isoformat() for day in values.pop("window"))
        values["now"] = self.now and self.now.isoformat()
        return {VARIABLES[name]: str(value) for name, value in values.items() if value is not None}

    def dagster_home(self) -> Path:
        """Folder of the local Dagster instance."""
        return self.state / "dagster"

    def dagster_instance(self) -> dg.DagsterInstance | None:
        """The local Dagster instance, to be closed by `with`; None where no Dagster has worked on this state."""
        home = self.dagster_home()
        return dg.DagsterInstance.from_config(str(home)) if (home / "dagster.yaml").exists() else None

    def data_digest(self) -> str:
        """Digest of the source's name, days and bytes: equal where the same data comes in."""
        digest = hashlib.sha256(f"{self.source} {self.window[0]} {self.window[1]}".encode())
        files = [self.data] if self.data and self.data.is_file() else sorted(self.data.rglob("*")) if self.data else []
        for file in files:
            if file.is_file():
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()[:16]

    def storage_options(self) -> dict[str, str] | None:
        """What delta-rs and polars need to reach S3; None for local tables."""
        if not self.tables_uri.startswith("s3://"):
            return None
        options = {
            "aws_endpoint_url": self.s3_endpoint,
            "aws_region": self.s3_region or "us-east-1",
            "aws_access_key_id": self.s3_key,
            "aws_secret_access_key": self.s3_secret,
            "aws_allow_http": "true" if (self.s3_endpoint or "").startswith("http://") else None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def source_ends_at(self) -> datetime | None:
        """When the source's last local day is over everywhere on earth; None where it goes on.

        Online, now is never later: a source that ended in 2011 stays served as it was then, TTLs and all.
        """
        last = self.window[1]
        return last and datetime.combine(last + timedelta(days=1), time(12), UTC)

    def tables(self) -> "Tables":
        """The offline tables."""
        from resources.tables import Tables

        return Tables(self.tables_uri, self.storage_options())

    def ledger(self) -> "Ledger":
        """The ledger."""
        from resources.ledger import Ledger

        return Ledger(self.ledger_url)

    def artifacts(self) -> "Artifacts":
        """Values and reports."""
        from resources.artifacts import Artifacts

        if not self.artifacts_uri.startswith("s3://"):
            return Artifacts(self.artifacts_uri)
        from dagster_aws.s3 import S3Resource  # .73 CPU s, so only where artifacts lie on S3

        s3 = S3Resource(
            endpoint_url=self.s3_endpoint,
            region_name=self.s3_region or "us-east-1",
            aws_access_key_id=self.s3_key,
            aws_secret_access_key=self.s3_secret,
        )
        return Artifacts(self.artifacts_uri, s3)

    def registry(self) -> "Registry":
        """MLflow's runs and model versions."""
        from resources.registry import Registry

        variables = {
            "MLFLOW_S3_ENDPOINT_URL": self.s3_endpoint,
            "AWS_DEFAULT_REGION": self.s3_region,
            "AWS_ACCESS_KEY_ID": self.s3_key,
            "AWS_SECRET_ACCESS_KEY": self.s3_secret,
        }
        return Registry(
            tracking_uri=self.mlflow_uri,
            artifact_root=self.mlflow_artifacts_uri,
            environment={name: value for name, value in variables.items() if value is not None},
        )

    def feature_store(self) -> "FeatureStoreResource":
        """Feast's registry, offline and online store."""
        from resources.feature_store import FeatureStoreResource

        # feature_repo/feature_store.yaml follows this link, so that feast's own commands see the last demo.
        link = PROJECT / ".state" / "feast" if self.state.is_relative_to(PROJECT / ".state") else None
        return FeatureStoreResource(
            state=str(self.state / "feast"),
            tables=self.tables_uri,
            storage_options=self.storage_options() or {},
            registry_url=self.feast_registry_url,
            online_url=self.feast_online_url,
            as_of=self.now.isoformat() if self.now else "",
            ends_at=ends.isoformat() if (ends := self.source_ends_at()) else "",
            link=str(link or ""),
        )


def resources_for(settings: Settings, source: object = None) -> dict[str, Any]:
    """Every resource that assets and sensors ask for, by key; `source` holds the facts of the active source.

    Nothing is opened before its first use.
    """
    from resources.clock import Clock
    from resources.compute import ComputeProfiles
    from resources.table_io import DeltaIOManager, JsonIOManager

    tables, artifacts = settings.tables(), settings.artifacts()
    return {
        "tables": tables,
        "artifacts": artifacts,
        "io_manager": DeltaIOManager(tables),
        "json_io_manager": JsonIOManager(artifacts),
        "ledger": settings.ledger(),
        "registry": _hidden(settings.registry(), settings),
        "feature_store": _hidden(settings.feature_store(), settings),
        "clock": Clock(settings.now),
        "compute": ComputeProfiles(settings.deployment, settings.image, settings.gpu_image),
        "source": source,
    }


def executor_for(settings: Settings, *, gpu_steps: Iterable[str] = ()) -> dg.ExecutorDefinition:
    """One process for a whole run locally, a pod for each step on a cluster.

    `gpu_steps` are steps such as `demand__candidate` that run in the GPU image, if there is one.
    """
    if settings.deployment == "local":
        return dg.in_process_executor
    from dagster_k8s import k8s_job_executor  # .53 CPU s, so only on a cluster

    config: dict[str, Any] = {
        "job_image": settings.image,
        "job_namespace": settings.namespace,
        "service_account_name": settings.service_account,
        # Profiles are op tags and win over this; what has none must not be restarted by its Job either.
        "step_k8s_config": {"job_spec_config": {"backoff_limit": 0}},
    }
    if settings.gpu_image:
        config["per_step_k8s_config"] = {
            step: {"container_config": {"image": settings.gpu_image}} for step in gpu_steps
        }
    return k8s_job_executor.configured({name: value for name, value in config.items() if value is not None})


def _hidden(resource: dg.ConfigurableResource[Any], settings: Settings) -> object:
    """The resource, without its configuration in the UI where that would show a key or a password."""
    texts = [value for part in fields(settings) if isinstance(value := getattr(settings, part.name), str)]
    has_secrets = bool(settings.s3_secret) or any(_PASSWORD.search(text) for text in texts)
    return dg.ResourceDefinition.hardcoded_resource(resource) if has_secrets else resource


def _pin(state: Path) -> dict[str, Any]:
    """What the state directory is bound to, if anything."""
    file = state / "source.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{VARIABLES[name]} is {text!r}, expected a day such as 2024-05-01") from error


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"PERENNIAL_NOW is {text!r}, expected 2024-05-01T00:00:00Z") from error
    if instant.tzinfo is None:
        raise ConfigurationError(f"PERENNIAL_NOW is {text!r}, without a time zone", hint="end it with Z for UTC")
    return instant
