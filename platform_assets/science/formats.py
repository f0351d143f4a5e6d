"""The formats that a model's files may have; none of them runs code when it is read.

A format is a name with a version, such as `lightgbm-quantiles/1`, and a class with `from_files`. Files whose format
is not named here do not load: there is no pickle and no import by a path that a file names.
"""

import importlib
import re
from collections.abc import Mapping
from typing import Final

from platform_assets.errors import CorruptModelError, ModelError
from platform_assets.science.fingerprint import files_hash
from platform_assets.science.fitting import FittedModel

# Module and class by format; imported on use, because LightGBM and torch cost a second each.
_HOMES: Final[Mapping[str, tuple[str, str]]] = {
    "constant/1": ("platform_assets.science.constant", "Constant"),
    "lightgbm-quantiles/1": ("platform_assets.science.trees", "TreeQuantiles"),
    "lightgbm-probability/1": ("platform_assets.science.trees", "TreeProbability"),
    "quantile-network/1": ("platform_assets.science.network", "QuantileNetwork"),
    "average/1": ("platform_assets.science.average", "Average"),
}

FORMATS: Final = tuple(_HOMES)


def load(format: str, files: Mapping[str, bytes]) -> FittedModel:
    """The model that was written as `files`. Check their hashes first: LightGBM aborts the process on cut text.

    Raises: ModelError for an unknown format, CorruptModelError where the files cannot be read as that format.
    """
    if format not in _HOMES:
        raise ModelError(
            f"format {format!r} is unknown; known: {', '.join(FORMATS)}",
            hint="name the format's class in science/formats.py",
        )
    module, name = _HOMES[format]
    home = getattr(importlib.import_module(module), name)
    try:
        model: FittedModel = home.from_files(files)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as broken:
        raise CorruptModelError(f"files {sorted(files)} are no {format}: {type(broken).__name__}: {broken}") from broken
    return model


def weights_hash(files: Mapping[str, bytes]) -> str:
    """Hash of what the model learned: LightGBM's text without its `parameters:` part, every other file whole.

    LightGBM writes all parameters, the thread count among them, into the model's text; the trees are what counts.
    """
    return files_hash({name: _learned(content) for name, content in files.items()})


_PARAMETERS: Final = re.compile(rb"\nparameters:.*?\nend of parameters\n", re.DOTALL)


def _learned(content: bytes) -> bytes:
    return _PARAMETERS.sub(b"\n", content) if content.startswith(b"tree\n") else content
