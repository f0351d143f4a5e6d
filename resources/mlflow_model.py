"""How a version describes itself to MLflow: signature, flavor, datasets and tags; none of it can be executed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from platform_assets.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from platform_assets.science.manifest import Manifest

FLAVOR: Final = "perennial"
FOLDER: Final = "model"


def mlmodel(run_id: str, manifest: "Manifest", hashes: Mapping[str, str]) -> bytes:
    """The MLmodel file: a signature that MLflow's tools read, and a flavor that none of its loaders takes."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec(_mlflow_type(one.dtype), one.name, required=False) for one in manifest.inputs]),
        outputs=Schema([ColSpec(_mlflow_type(one.dtype), one.name) for one in manifest.answers]),
    )
    model = Model(artifact_path=FOLDER, run_id=run_id, signature=signature)
    model.add_flavor(FLAVOR, format=manifest.format, files=dict(hashes))
    return model.to_yaml().encode()


def _mlflow_type(dtype: str) -> Any:
    """MLflow's type for a polars type's name."""
    from mlflow.types import DataType
    from mlflow.types.schema import Array

    if dtype.startswith("List("):
        return Array(_mlflow_type(dtype.removeprefix("List(").removesuffix(")")))
    plain = dtype.partition("(")[0]
    known = {
        "Float64": DataType.double,
        "Float32": DataType.float,
        "Int64": DataType.long,
        "UInt32": DataType.long,
        "Boolean": DataType.boolean,
        "String": DataType.string,
        "Date": DataType.datetime,
        "Datetime": DataType.datetime,
        **dict.fromkeys(("Int8", "Int16", "Int32", "UInt8", "UInt16"), DataType.integer),
    }
    if plain not in known:
        raise RegistryError(f"a model's signature cannot have a column of type {dtype}; known: {', '.join(known)}")
    return known[plain]


def dataset(name: str, version: int) -> Any:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    return MetaDataset(CodeDatasetSource({"table": name, "version": str(version)}), name=name, digest=f"v{version}")


def environment_tags(manifest: "Manifest") -> dict[str, str]:
    """Code and environment as tags of the run, so that MLflow's search finds them; the manifest has them too."""
    return {
        "perennial/code": manifest.code.package_sha256,
        "perennial/commit": manifest.code.commit or "unknown",
        "perennial/lock": manifest.code.lock_sha256,
        "perennial/image": manifest.image,
        "perennial/platform": manifest.platform,
    }


def quieten() -> None:
    """MLflow and alembic tell of every table that they create; errors still show."""
    import logging

    for name in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)


def ensure_model(client: "MlflowClient", model: str) -> None:
    """The registered model exists afterwards, whoever makes it."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        try:
            client.create_registered_model(model)
        except MlflowException:
            client.get_registered_model(model)  # another process was first
