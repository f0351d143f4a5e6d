"""Hash of the function that computes a view, found by parsing: nothing is imported."""

import ast
import hashlib
import sys
from pathlib import Path

from platform_assets.errors import ConfigurationError
from resources.source_digest import module_file, source_digest


def function_digest(function: str) -> str:
    """SHA-256 of the code behind `package.module:function`.

    Of this project: the code that it reaches. Of another one: its module, with all that it imports of its own package.
    Raises: ConfigurationError if the module or the function is not there.
    """
    module, _, name = function.partition(":")
    if module_file(module) is not None:
        return source_digest(function)
    path = _file(module)
    if path is None:
        raise ConfigurationError(f"function {function}: there is no module {module} on the import path")
    defined = [node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    if name not in defined:
        raise ConfigurationError(f"function {function}: {path} defines no `{name}`; it defines {', '.join(defined)}")
    digest = hashlib.sha256(function.encode())
    for part in sorted(_reached(module)):
        file = _file(part)
        digest.update(part.encode() + b"\0" + (file.read_bytes() if file else b""))
    return digest.hexdigest()


def _reached(module: str) -> set[str]:
    package, seen, todo = f"{module.split('.', maxsplit=1)[0]}.", set(), [module]
    while todo:
        if (name := todo.pop()) in seen:
            continue
        seen.add(name)
        file = _file(name)
        for node in ast.walk(ast.parse(file.read_bytes())) if file else ():
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                above = name.split(".")[: -node.level] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                found = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            todo += [imported for imported in found if imported.startswith(package) and _file(imported)]
    return seen


def _file(module: str) -> Path | None:
    for root in map(Path, sys.path):
        place = root.joinpath(*module.split("."))
        if found := next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None):
            return found
    return None
