"""Files on their way to and from MLflow's artifact stores."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platform_assets.errors import RegistryError


def as_bytes(content: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    return json.dumps(content, indent=2, sort_keys=True, default=str).encode()


@contextmanager
def written(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary folder that holds the files; names may have folders, but stay inside."""
    with tempfile.TemporaryDirectory(prefix="perennial-") as name:
        folder = Path(name).resolve()
        for path, content in files.items():
            target = (folder / path).resolve()
            if not target.is_relative_to(folder):
                raise RegistryError(f"artifact {path!r} would lie outside of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield folder


def read(folder: Path) -> dict[str, bytes]:
    """All files under a folder, by relative name; none where there is no folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def as_uri(root: str) -> str:
    """The root as a URI; what is none already (s3://..., mlflow-artifacts:/...) is a local folder."""
    return root.rstrip("/") if re.match(r"[a-z][a-z0-9+.-]+:/", root) else Path(root).resolve().as_uri()
