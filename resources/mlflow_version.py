"""A registered version, and where its files are.

MLflow keeps the absolute place of every run's artifacts. A state directory that was moved has them below its present
root, at the same path: `<model>/<run>/artifacts`; they are looked for there, and where MLflow says only if there is none.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

from platform_assets.errors import CorruptModelError
from resources.mlflow_artifacts import as_uri
from resources.mlflow_model import FOLDER

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_MANIFEST: Final = "perennial/manifest_sha256"


@dataclass(frozen=True)
class ModelVersion:
    """A registered version. `source` is the URI of its artifacts, `run_id` the MLflow run that trained it."""

    model: str
    version: str
    run_id: str
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """MLflow's name of the version."""
        return f"models:/{self.model}/{self.version}"

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


def version_of(found: Any, artifact_root: str) -> ModelVersion:
    """MLflow's model version, with its artifacts where they are now."""
    source = str(found.source)
    relative = f"{found.name}/{found.run_id}/artifacts/{FOLDER}"
    here = f"{as_uri(artifact_root)}/{relative}"
    was_moved = source != here and source.endswith(f"/{relative}")
    if was_moved and (folder := local_folder(here)) is not None and folder.is_dir():
        source = here
    return ModelVersion(found.name, str(found.version), found.run_id, source, dict(found.tags))


def local_folder(uri: str) -> Path | None:
    """The folder that a URI names, None where it lies in an object store."""
    parts = urlparse(uri)
    return Path(unquote(parts.path)) if parts.scheme in {"", "file"} else None


def run_folder(version: ModelVersion) -> Path | None:
    """Local folder of the artifacts of the run that trained the version; None where they lie in an object store."""
    folder = local_folder(version.source)
    return None if folder is None else folder.parent


@contextmanager
def downloaded(version: ModelVersion, path: str, tracking_uri: str) -> Iterator[Path]:
    """A temporary copy of the version's artifacts, or of one of them in its folder."""
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory(prefix="perennial-") as folder:
        uri = f"{version.source}/{path}" if path else version.source
        got = Path(download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=tracking_uri))
        yield got.parent if path else got


def checked_manifest(version: ModelVersion, folder: Path) -> bytes:
    """The manifest's bytes. Raises: CorruptModelError where they are not those that were registered."""
    from platform_assets.science.fingerprint import sha256

    path = folder / "manifest.json"
    if not path.is_file():
        raise CorruptModelError(f"{version}: manifest.json is missing in {version.source}")
    content = path.read_bytes()
    expected = version.tags.get(TAG_MANIFEST)
    if sha256(content) != expected:
        raise CorruptModelError(
            f"{version}: manifest.json is altered: SHA-256 {sha256(content)}, expected {expected}; nothing was parsed"
        )
    return content


def experiment_of(client: "MlflowClient", model: str, artifact_root: str) -> str:
    """The model's experiment, which keeps artifacts below this root; made on first use.

    One that keeps them elsewhere is of before a move: it stays under another name, so that no run writes there.
    """
    from mlflow.exceptions import MlflowException

    found, location = client.get_experiment_by_name(model), f"{as_uri(artifact_root)}/{model}"
    if found is not None and local_folder(location) is not None and found.artifact_location != location:
        client.rename_experiment(found.experiment_id, f"{model} (before the move, {found.experiment_id})")
        found = None
    if found is None:
        try:
            return client.create_experiment(model, artifact_location=location)
        except MlflowException:
            found = client.get_experiment_by_name(model)  # another process was first
            if found is None:
                raise
    return found.experiment_id
