"""What a model's folder says of itself to who parses it: parameters with a default. Nothing is imported."""

import ast
from collections.abc import Mapping
from pathlib import Path

NAME = "DEFAULTS"


def declared_parameters(folder: Path) -> set[str] | None:
    """Keys of the module-level `DEFAULTS` of the folder's modules; None where none has it, or one cannot be read so."""
    known: set[str] = set()
    for file in sorted(folder.glob("*.py")):
        dicts: dict[str, ast.expr] = {}
        for statement in ast.parse(file.read_text()).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    dicts[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    dicts[name] = value
                case _:
                    pass
        if NAME in dicts:
            keys = _keys(dicts[NAME], dicts)
            if keys is None:
                return None
            known |= keys
    return known or None


def _keys(value: ast.expr, named: Mapping[str, ast.expr]) -> set[str] | None:
    """String keys of a dict display, `**NAME` of dicts of the same module included."""
    if not isinstance(value, ast.Dict):
        return None
    found: set[str] = set()
    for key, inner in zip(value.keys, value.values, strict=True):
        match key, inner:
            case ast.Constant(value=str(text)), _:
                found.add(text)
            case None, ast.Name(id=name) if name in named and (spread := _keys(named[name], named)) is not None:
                found |= spread
            case _:
                return None
    return found
