"""Hash of the code that computes or declares something, and of what it reaches in science/ and feature_repo/. Imports nothing.

A module's functions, classes and constants count one by one, so that a feature which is added to one view leaves the
digest of its neighbours as it was. Where a name cannot be followed (a module handed on whole, `getattr`, `import *`),
the whole module counts.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from platform_assets.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parents[1]
SCIENCE: Final = "platform_assets.science"
FEATURES: Final = "feature_repo"
_FOLLOWED: Final = (SCIENCE, FEATURES)
WHOLE: Final = "*"  # stands for every name of a module
# With these a function may reach any name of its module.
_BLIND: Final = frozenset({"globals", "locals", "vars", "eval", "exec"})

Symbol = tuple[str, str]  # module, name


def source_digest(function: str) -> str:
    """SHA-256 of the code behind `package.module:function`; comments and layout do not count.

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
    return _digest(module, name)


def definition_digest(module: str, name: str) -> str:
    """SHA-256 of what a module binds a name to, as `source_digest` has it of a function.

    Raises: ConfigurationError if the module or the name is not there.
    """
    path = _path(module)
    if path is None or name not in _module(path).bound:
        raise ConfigurationError(f"{path or f'{module}, of which there is no file below {ROOT},'} defines no `{name}`")
    return _digest(module, name)


def _digest(module: str, name: str) -> str:
    digest = hashlib.sha256(name.encode())
    for part in sorted(_reached((module, name))):
        digest.update(f"{':'.join(part)}\0".encode() + _text(part).encode())
    return digest.hexdigest()


def modules_behind(modules: Iterable[str], packages: tuple[str, ...] = (SCIENCE,)) -> set[str]:
    """The modules with all that they import from these packages, wherever in their code."""
    seen, todo = set(), list(modules)
    while todo:
        if (name := todo.pop()) in seen:
            continue
        seen.add(name)
        path = _path(name)
        for imported in _imports(path) if path else ():
            if imported.startswith(tuple(f"{package}." for package in packages)) and _path(imported):
                todo.append(imported)
    return seen


def module_file(module: str) -> Path | None:
    """The file of a module of this project, None where there is none."""
    return _path(module)


@dataclass
class _Module:
    """Top-level names with the statements that bind them, and what other names stand for."""

    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, set[Symbol]] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)  # statements that bind no plain name: they may touch any


def _reached(start: Symbol) -> set[Symbol]:
    seen: set[Symbol] = set()
    todo = [start]
    while todo:
        if (symbol := todo.pop()) in seen:
            continue
        seen.add(symbol)
        todo += _uses(*symbol)
    return seen


def _uses(name: str, symbol: str) -> Iterator[Symbol]:
    """What a name of a module refers to, in this and other modules."""
    path = _path(name)
    if path is None:
        return
    module = _module(path)
    if symbol != WHOLE and symbol not in module.bound:
        # Imported there and passed on, or not to be found: then the whole module counts.
        yield from module.imported.get(symbol, {(name, WHOLE)})
        return
    names = _Names(module)
    for statement in _statements(module, symbol):
        names.visit(statement)
    for found in names.found:
        if found in _BLIND:
            yield name, WHOLE
        elif found in module.bound:
            yield name, found
        yield from module.imported.get(found, ())
    yield from module.imported.get(WHOLE, ())  # `import *`: any name may come from there
    for alias, attribute in names.attributes:
        for target, of in module.imported[alias]:
            submodule = f"{target}.{attribute}"
            yield (submodule, WHOLE) if of == WHOLE and _path(submodule) else (target, attribute)


class _Names(ast.NodeVisitor):
    """Names that code reads, and attributes that it reads of modules."""

    def __init__(self, module: _Module) -> None:
        self.module, self.found, self.attributes = module, set[str](), set[tuple[str, str]]()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        of = node.value.id if isinstance(node.value, ast.Name) else ""
        if any(symbol == WHOLE for _, symbol in self.module.imported.get(of, ())):
            self.attributes.add((of, node.attr))
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.found.add(node.id)


def _statements(module: _Module, symbol: str) -> list[ast.stmt]:
    if symbol == WHOLE:
        return [*(statement for bound in module.bound.values() for statement in bound), *module.loose]
    return [*module.bound[symbol], *module.loose]


def _text(symbol: Symbol) -> str:
    path = _path(symbol[0])
    if path is None:
        return ""
    module = _module(path)
    if symbol[1] != WHOLE and symbol[1] not in module.bound:
        return ""
    return "\n".join(ast.unparse(statement) for statement in _statements(module, symbol[1]))


def _module(path: Path) -> _Module:
    return _parsed_module(path, path.stat().st_mtime_ns)


@cache
def _parsed_module(path: Path, _changed: int) -> _Module:
    tree, module = _tree(path), _Module()
    for statement in tree.body:
        names = _bound_by(statement)
        for name in names:
            module.bound.setdefault(name, []).append(statement)
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not names and not is_text and not isinstance(statement, ast.Import | ast.ImportFrom):
            module.loose.append(statement)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(_FOLLOWED):
                    bound = alias.asname or alias.name.partition(".")[0]
                    # Without `as` the first package is bound: whoever names it may mean this module.
                    module.imported.setdefault(bound, set()).add((alias.name, WHOLE))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_FOLLOWED):
            for alias in node.names:
                is_module = _path(f"{node.module}.{alias.name}") is not None
                target = (f"{node.module}.{alias.name}", WHOLE) if is_module else (node.module, alias.name)
                module.imported.setdefault(alias.asname or alias.name, set()).add(target)
    return module


def _bound_by(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


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


def _tree(path: Path) -> ast.Module:
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, _changed: int) -> ast.Module:
    return ast.parse(path.read_bytes())
