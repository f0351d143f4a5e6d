"""The simplest model: the same answer for every row. It shows the contract, and every other model must beat it."""

import json
from collections.abc import Mapping
from typing import Self

import polars as pl

from platform_assets.errors import EmptyFrameError
from platform_assets.science.fitting import FitSettings


class Constant:
    """Empirical quantiles of the label at the levels, or its mean where there are no levels."""

    format: str = "constant/1"

    def __init__(self, answers: Mapping[str, float]) -> None:
        self._answers = dict(answers)

    @classmethod
    def fit(cls, rows: pl.DataFrame, settings: FitSettings) -> Self:
        """Fits on the rows with a label. Raises: EmptyFrameError where there are none."""
        label = rows[settings.label].cast(pl.Float64).drop_nulls()
        if label.is_empty():
            raise EmptyFrameError(f"label `{settings.label}`: no row of {rows.height} has one")
        if settings.levels:
            answers = [label.quantile(level, "higher") or 0.0 for level in settings.levels]
        else:
            answers = [label.to_numpy().mean()] * len(settings.outputs)
        return cls({name: float(value) for name, value in zip(settings.outputs, answers, strict=True)})

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The constants, once per row."""
        return pl.DataFrame(
            {name: pl.repeat(value, rows.height, dtype=pl.Float64, eager=True) for name, value in self._answers.items()}
        )

    def files(self) -> dict[str, bytes]:
        """One JSON file."""
        return {"constant.json": json.dumps(self._answers).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The model written by `files`."""
        return cls({name: float(value) for name, value in json.loads(files["constant.json"]).items()})
