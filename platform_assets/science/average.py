"""Several fitted models as one: the mean of their answers.

Models that err in different places are together better than the best of them. Quantiles are averaged level by level: a
mean of quantiles that do not cross does not cross, and each stays in the range of its members.
"""

import json
from collections.abc import Mapping
from typing import Final, Self

import polars as pl

from platform_assets.errors import ConfigurationError
from platform_assets.science import formats
from platform_assets.science.fitting import FittedModel

_META: Final = "average.json"


class Average:
    """Members by name, each with its weight; the weights sum to 1. Files: each member's own, under its name and a dot."""

    format: str = "average/1"

    def __init__(self, members: Mapping[str, FittedModel], weights: Mapping[str, float]) -> None:
        if not members or set(members) != set(weights) or not all(name.isidentifier() for name in members):
            raise ConfigurationError(
                f"an average of {list(members)} has weights of {list(weights)}; expected one weight for each, by plain names"
            )
        if min(weights.values()) < 0 or abs(sum(weights.values()) - 1.0) > 1e-9:
            raise ConfigurationError(f"weights of an average are {dict(weights)}; expected none below 0, with sum 1")
        self.members = dict(members)
        self.weights = {name: float(weights[name]) for name in self.members}

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per row, in order: the weighted mean of the members' outputs, in the order of the first one's."""
        said = {name: member.predict(rows) for name, member in self.members.items()}
        outputs = next(iter(said.values())).columns
        return pl.DataFrame(
            {output: sum(weight * said[name][output] for name, weight in self.weights.items()) for output in outputs},
            schema=dict.fromkeys(outputs, pl.Float64),
        )

    def files(self) -> dict[str, bytes]:
        """The members' files, and which they are."""
        meta = {name: {"format": member.format, "weight": self.weights[name]} for name, member in self.members.items()}
        inner = {
            f"{name}.{file}": text for name, member in self.members.items() for file, text in member.files().items()
        }
        return {_META: json.dumps(meta, indent=1).encode(), **inner}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The model written by `files`, whose hashes must have been checked."""
        meta = json.loads(files[_META])
        members = {
            name: formats.load(
                told["format"],
                {file.removeprefix(f"{name}."): text for file, text in files.items() if file.startswith(f"{name}.")},
            )
            for name, told in meta.items()
        }
        return cls(members, {name: told["weight"] for name, told in meta.items()})
