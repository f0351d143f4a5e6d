"""Files that are no tables: values, reports, model folders; on a local path, or on S3 through dagster-aws.

A file is replaced whole: after a kill there is the old content or the new one.
"""

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from uuid import uuid4

from platform_assets.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    import polars as pl
    from dagster_aws.s3 import S3Resource


@dataclass(frozen=True)
class Stored:
    """A file below a root: its key, its bytes, and when they were written."""

    key: str
    size: int
    modified_at: datetime


class Artifacts:
    """Bytes by key below one root, such as `values/demand/evaluation.json`."""

    def __init__(self, root: str | Path, s3: "S3Resource | None" = None) -> None:
        self.root = os.fspath(root).rstrip("/")
        self.is_remote = "://" in self.root
        self._s3 = s3
        if self.is_remote and (not self.root.startswith("s3://") or s3 is None):
            raise ConfigurationError(f"artifacts at {self.root}: expected a local path, or s3:// with an S3 resource")

    def uri(self, key: str) -> str:
        """Where a key lies."""
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise DataError(f"artifact key {key!r} is not a path below {self.root}")
        return f"{self.root}/{key}"

    def put(self, key: str, content: bytes) -> str:
        """Store the content, and return its URI."""
        uri = self.uri(key)
        if self.is_remote:
            bucket, name = self._address(uri)
            self._client().put_object(Bucket=bucket, Key=name, Body=content)
        else:
            _replace(Path(uri), content)
        return uri

    def get(self, key: str) -> bytes:
        """Content of a key.

        Raises: DataError if there is none.
        """
        uri = self.uri(key)
        missing = DataError(f"no artifact {key} below {self.root}", hint="materialize the asset that writes it")
        if not self.is_remote:
            try:
                return Path(uri).read_bytes()
            except FileNotFoundError as error:
                raise missing from error
        bucket, name = self._address(uri)
        client = self._client()
        try:
            return client.get_object(Bucket=bucket, Key=name)["Body"].read()
        except client.exceptions.NoSuchKey as error:
            raise missing from error

    def keys(self, prefix: str) -> list[str]:
        """Keys in a folder, sorted."""
        uri = self.uri(prefix)
        if not self.is_remote:
            files = (path for path in Path(uri).rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
            return sorted(str(path.relative_to(self.root)) for path in files)
        bucket, name = self._address(uri)
        above = name.removesuffix(prefix)
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{name}/")
        return sorted(found["Key"].removeprefix(above) for page in pages for found in page.get("Contents", []))

    def listing(self, prefix: str) -> list[Stored]:
        """Files that lie in a folder itself, the oldest first; those of one instant by key."""
        uri, found = self.uri(prefix), []
        if self.is_remote:
            bucket, name = self._address(uri)
            above = name.removesuffix(prefix)
            pages = (
                self._client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=bucket, Prefix=f"{name}/", Delimiter="/")
            )
            for entry in (entry for page in pages for entry in page.get("Contents", [])):
                found.append(Stored(entry["Key"].removeprefix(above), entry["Size"], entry["LastModified"]))
        elif Path(uri).is_dir():
            for path in Path(uri).iterdir():
                with suppress(FileNotFoundError):  # it was taken away meanwhile
                    if path.is_file():
                        state = path.stat()
                        at = datetime.fromtimestamp(state.st_mtime, tz=UTC)
                        found.append(Stored(f"{prefix}/{path.name}", state.st_size, at))
        return sorted(found, key=lambda stored: (stored.modified_at, stored.key))

    def put_folder(self, key: str, files: Mapping[str, bytes]) -> str:
        """Store several files below a key, and return its URI; not atomic as a whole."""
        for name, content in files.items():
            self.put(f"{key}/{name}", content)
        return self.uri(key)

    def get_folder(self, key: str) -> dict[str, bytes]:
        """Files below a key, by their path in it.

        Raises: DataError if there is none.
        """
        keys = self.keys(key)
        if not keys:
            raise DataError(f"no artifacts in {key} below {self.root}")
        return {found.removeprefix(f"{key}/"): self.get(found) for found in keys}

    def put_frame(self, key: str, rows: "pl.DataFrame") -> str:
        """Store a frame as Parquet, and return its URI."""
        content = io.BytesIO()
        rows.write_parquet(content)
        return self.put(key, content.getvalue())

    def get_frame(self, key: str) -> "pl.DataFrame":
        """What `put_frame` stored.

        Raises: DataError if there is none.
        """
        import polars as pl

        return pl.read_parquet(io.BytesIO(self.get(key)))

    def _client(self):
        assert self._s3 is not None
        return self._s3.get_client()

    @staticmethod
    def _address(uri: str) -> tuple[str, str]:
        parts = urlparse(uri)
        return parts.netloc, parts.path.lstrip("/")


def _replace(path: Path, content: bytes) -> None:
    """Write beside, force to disk, rename: the only order that survives a kill and a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
