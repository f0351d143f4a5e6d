"""Hash of the code that computes something: a function's module and all of science/ that it imports. Imports nothing."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from platform_assets.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parents[1]
SCIENCE: Final = "platform_assets.science"


def source_digest(function: str) -> str:
    """SHA-256 of the sources behind `package.module:function`; changes when one of them changes, comments included.

    Raises: ConfigurationError if the module or the function is not there.
    """
    module, _, name = function.partition(":")
    path = _path(module)
    if path is None:
        raise ConfigurationError(f"function {function}: there is no module {module} below {ROOT}")
    defined = [node.name for node in _tree(path).body if isinstance(node, ast.FunctionDef)]
    if name not in defined:
        raise ConfigurationError(
            f"function {function}: {path.name} defines no `{name}`; it defines {', '.join(defined)}"
        )
    digest = hashlib.sha256(name.encode())
    for part in sorted(_closure(module)):
        digest.update(part.encode() + b"\0" + hashlib.sha256(_source(part)).digest())
    return digest.hexdigest()


def _closure(module: str) -> set[str]:
    seen, todo = set(), [module]
    while todo:
        if (name := todo.pop()) in seen:
            continue
        seen.add(name)
        path = _path(name)
        for imported in _imports(path) if path else ():
            if imported.startswith(f"{SCIENCE}.") and _path(imported):
                todo.append(imported)
    return seen


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _path(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def _source(module: str) -> bytes:
    path = _path(module)
    return path.read_bytes() if path else b""


def _tree(path: Path) -> ast.Module:
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, _changed: int) -> ast.Module:
    return ast.parse(path.read_bytes())
