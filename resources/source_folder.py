"""The Python of a source's folder: imported when data is read, never when definitions load."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from platform_assets.errors import ConfigurationError
from platform_assets.science.source import Source

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.intake import Rulebook


def rulebook(source: Source) -> "Rulebook":
    """The source with its contract and its adapter's expressions.

    Raises: ConfigurationError naming the folder where the contract or the adapter is not what defs.yaml says.
    """
    from platform_assets.science.contract import columns_of, schema_of
    from platform_assets.science.intake import Rulebook
    from platform_assets.science.quarantine import nothing_aside

    if source.contract is None:
        schema = schema_of(source)
    else:
        module, _, name = source.contract.rpartition(".")
        lines = getattr(_module(source, module), name, None)
        if lines is None or not hasattr(lines, "to_schema"):
            raise ConfigurationError(
                f"{source.folder}: `contract: {source.contract}` names no pandera DataFrameModel in {module}.py"
            )
        schema = lines.to_schema()
    adapter = None if source.adapter is None else _module(source, source.adapter)
    set_aside = getattr(adapter, "set_aside", nothing_aside)
    instant: pl.Expr | None = getattr(adapter, "sold_at", lambda: None)()
    return Rulebook(source, schema, columns_of(schema, source), set_aside, instant)


def _module(source: Source, stem: str) -> ModuleType:
    file = Path(source.folder) / f"{stem}.py"
    if not file.is_file():
        raise ConfigurationError(f"{source.folder}: defs.yaml names {stem}.py, which is not there")
    name = f"perennial_source_{source.name}_{stem}"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # pandera resolves annotations through it
    specification.loader.exec_module(module)
    return module
