"""The MLflow gateway: runs, model versions, manifests, the mirror of the champion.

A version is a folder of artifacts that is written whole before MLflow hears of it:

    model/MLmodel              signature and flavor `perennial` (files and hashes; nothing that MLflow could execute)
    model/manifest.json        all that made the version; its own hash is a tag of the version
    model/shipped/...          the model fitted on everything
    model/evaluation/...       the same recipe fitted up to the cut before the evaluation window

`load` checks every file against the manifest, and the manifest against the tag, before anything is parsed.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlparse

import dagster as dg
from pydantic import Field

from platform_assets.errors import RegistryError
from resources.mlflow_artifacts import as_bytes, read, written
from resources.mlflow_model import FOLDER, ensure_model, environment_tags, mlmodel, quieten
from resources.mlflow_run import Run, opened
from resources.mlflow_version import (
    TAG_MANIFEST,
    ModelVersion,
    checked_manifest,
    downloaded,
    experiment_of,
    local_folder,
    run_folder,
    version_of,
)

if TYPE_CHECKING:
    import polars as pl
    from mlflow import MlflowClient

    from platform_assets.science.fitting import FittedModel
    from platform_assets.science.manifest import Kind, Manifest

CHAMPION: Final = "champion"
# What MLflow says of a model or version that it does not know, or whose number is none.
UNKNOWN: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# What MLflow's fluent interface writes into the environment of the process, and leaves there.
_WRITTEN: Final = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


class Registry(dg.ConfigurableResource):
    """MLflow's tracking server and model registry, and the place of the artifacts."""

    tracking_uri: str = Field(description="sqlite:///<file>, postgresql://... or the URL of an MLflow server")
    artifact_root: str = Field(description="folder or s3:// prefix under which runs keep their artifacts")
    environment: dict[str, str] = Field(
        default={},
        description="variables that MLflow's artifact stores read, such as MLFLOW_S3_ENDPOINT_URL; set while they work",
    )

    # --- runs -----------------------------------------------------------------------------------------------------

    @contextmanager
    def open_run(
        self,
        model: str,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext | None = None,
        dagster_run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[Run]:
        """The one MLflow run of this training, in the model's experiment; FAILED if the block raises.

        In a step give its `context`; outside one, `dagster_run_id` may name the run that it belongs to.
        Raises: RegistryError where another MLflow run is active in this process.
        """
        with (
            self._working() as client,
            opened(
                client,
                experiment_id=experiment_of(client, model, self.artifact_root),
                tracking_uri=self.tracking_uri,
                context=context,
                dagster_run_id=dagster_run_id,
                tags=tags or {},
            ) as tracking,
        ):
            info = tracking.active_run().info
            yield Run(model, info.run_id, info.artifact_uri, tracking)

    def run_metrics(self, run_id: str) -> dict[str, float]:
        """Last value of each metric of a run."""
        with self._working() as client:
            return dict(client.get_run(run_id).data.metrics)

    def annotate(
        self,
        version: ModelVersion,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, bytes | str | Mapping[str, Any]] | None = None,
    ) -> None:
        """Adds what was learned later, such as an evaluation, to the run that trained the version."""
        from mlflow.entities import Metric, RunTag
        from mlflow.utils.time import get_current_time_millis

        with self._working() as client:
            now = get_current_time_millis()
            client.log_batch(
                version.run_id,
                metrics=[Metric(name, value, now, 0) for name, value in (metrics or {}).items()],
                tags=[RunTag(name, value) for name, value in (tags or {}).items()],
            )
            if artifacts:
                beside = run_folder(version)  # MLflow would write to where the run was before a move
                with written({name: as_bytes(content) for name, content in artifacts.items()}) as folder:
                    if beside is None:
                        client.log_artifacts(version.run_id, str(folder))
                    else:
                        shutil.copytree(folder, beside, dirs_exist_ok=True)

    # --- versions -------------------------------------------------------------------------------------------------

    def register(
        self,
        run: Run,
        *,
        manifest: "Manifest",
        shipped: Mapping[str, bytes],
        evaluation: Mapping[str, bytes],
        inputs: "pl.DataFrame",
        answers: "pl.DataFrame",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """A new version of the run's model. `inputs` and `answers` are frames whose schemas make the signature.

        The version becomes visible in one step, after all its artifacts are written; a process killed before that
        leaves artifacts of a run, and no version.
        """
        from platform_assets.science.fingerprint import file_hashes, sha256

        manifest = manifest.with_files(file_hashes(shipped), file_hashes(evaluation), inputs, answers)
        content = manifest.to_json()
        files = {
            "manifest.json": content,
            **{f"shipped/{name}": one for name, one in shipped.items()},
            **{f"evaluation/{name}": one for name, one in evaluation.items()},
        }
        run.log(datasets=manifest.tables, tags=environment_tags(manifest))
        with self._working() as client:
            files["MLmodel"] = mlmodel(run.run_id, manifest, file_hashes(files))
            with written(files) as folder:
                client.log_artifacts(run.run_id, str(folder), FOLDER)
            ensure_model(client, run.model)
            created = client.create_model_version(
                run.model,
                source=f"{run.artifact_uri}/{FOLDER}",
                run_id=run.run_id,
                tags={**(tags or {}), TAG_MANIFEST: sha256(content), "perennial/reason": manifest.reason},
            )
            return self._version(created)

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a model, the oldest first; none where the model was never registered."""
        with self._working() as client:
            found = client.search_model_versions(f"name = '{_quoted(model)}'", max_results=10_000)
        return sorted((self._version(one) for one in found), key=lambda one: int(one.version))

    def version(self, model: str, version: str) -> ModelVersion:
        """One version. Raises: RegistryError where it does not exist."""
        from mlflow.exceptions import MlflowException

        with self._working() as client:
            try:
                return self._version(client.get_model_version(model, version))
            except MlflowException as missing:
                if missing.error_code not in UNKNOWN:
                    raise RegistryError(
                        f"the registry {_shown(self.tracking_uri)} does not answer: {missing.message}",
                        hint="see that its database can be reached, then try again",
                    ) from missing
                raise RegistryError(
                    f"{model}@{version} is not in the registry {_shown(self.tracking_uri)}",
                    hint=f"versions: {', '.join(one.version for one in self.versions(model)) or 'none'}",
                ) from missing

    def manifest(self, model: str, version: str) -> "Manifest":
        """The version's manifest, checked against the hash in the registry."""
        from platform_assets.science.manifest import Manifest

        return Manifest.from_json(self._manifest_bytes(self.version(model, version)))

    def load(self, model: str, version: str, kind: "Kind" = "shipped") -> "FittedModel":
        """The fitted model. Files are checked against the manifest before they are parsed; MLflow's loaders are unused.

        Raises: CorruptModelError where a file is missing, altered or added; RegistryError for an unknown version.
        """
        from platform_assets.science import formats

        manifest, files = self.files(model, version, kind)
        return formats.load(manifest.format, files)

    def files(self, model: str, version: str, kind: "Kind" = "shipped") -> tuple["Manifest", dict[str, bytes]]:
        """Manifest and checked files of one fit of a version, not parsed."""
        from platform_assets.science.fingerprint import check_files
        from platform_assets.science.manifest import Manifest

        found = self.version(model, version)
        with self._downloaded(found, "") as folder:
            manifest = Manifest.from_json(checked_manifest(found, folder))
            files = read(folder / kind)
        check_files(files, manifest.fit(kind).files, where=f"{found} ({kind})")
        return manifest, files

    def tag_version(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Sets tags on a version."""
        with self._working() as client:
            for name, value in tags.items():
                client.set_model_version_tag(model, version, name, value)

    def mirror_alias(self, model: str, version: str, alias: str = CHAMPION) -> None:
        """Points MLflow's alias at the version: a mirror of the ledger for those who look at MLflow."""
        with self._working() as client:
            client.set_registered_model_alias(model, alias, version)

    def aliased(self, model: str, alias: str = CHAMPION) -> str | None:
        """Version that the alias points at, or None."""
        from mlflow.exceptions import MlflowException

        with self._working() as client:
            try:
                return str(client.get_model_version_by_alias(model, alias).version)
            except MlflowException:
                return None

    # --- inside ---------------------------------------------------------------------------------------------------

    def _manifest_bytes(self, version: ModelVersion) -> bytes:
        with self._downloaded(version, "manifest.json") as folder:
            return checked_manifest(version, folder)

    @contextmanager
    def _downloaded(self, version: ModelVersion, path: str) -> Iterator[Path]:
        """Local folder with the version's artifacts; the very folder where they are local, else a temporary copy."""
        local = local_folder(version.source)
        if local is not None:
            yield local
            return
        with self._working(), downloaded(version, path, self.tracking_uri) as folder:
            yield folder

    def _version(self, found: Any) -> ModelVersion:
        return version_of(found, self.artifact_root)

    @contextmanager
    def _working(self) -> Iterator["MlflowClient"]:
        """A client, with the artifact stores' variables set and MLflow's telemetry off; the environment as it was after."""
        wanted = {"MLFLOW_DISABLE_TELEMETRY": "true", **self.environment}
        before = {name: os.environ.get(name) for name in (*wanted, *_WRITTEN)}
        os.environ.update(wanted)
        try:
            from mlflow import MlflowClient  # 1.3 s

            quieten()
            yield MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _shown(uri: str) -> str:
    """A tracking URI without its password."""
    parts = urlparse(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def _quoted(name: str) -> str:
    return name.replace("'", "''")
