"""What a trainer receives and what it returns.

A model's folder holds `train.py` with one function, `fit(rows, settings) -> FittedModel`. Everything else of a model's life
(training set, evaluation, gate, registry, predictions) is the platform's. A fitted model is a set of files in a registered
format, so that it loads in a process that has never seen `train.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl


@dataclass(frozen=True)
class FitSettings:
    """All that a trainer may depend on, besides the rows: same rows and settings give the same bytes.

    `features` are the columns in the order in which the model will read them; `outputs` the columns that it must predict;
    `levels` the quantile levels in the order of `outputs` (empty for other tasks). `start` is a model of the same recipe to
    go on from, None to begin from nothing; only a trainer whose `DEFAULTS` name `further_rounds` is ever given one.
    """

    features: tuple[str, ...]
    label: str
    outputs: tuple[str, ...]
    levels: tuple[float, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    progress: Callable[[str], None] = lambda line: None
    start: "FittedModel | None" = None


class FittedModel(Protocol):
    """A model that predicts and that can be written to files and read back by `science.formats.load`."""

    format: str

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per row of `rows`, in order; the columns are the outputs, Float64, no nulls."""
        ...

    def files(self) -> dict[str, bytes]:
        """File name to content; the same model gives the same bytes."""
        ...


Trainer = Callable[[pl.DataFrame, FitSettings], FittedModel]
