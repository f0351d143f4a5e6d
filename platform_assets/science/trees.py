"""Gradient-boosted trees (LightGBM) as fitted models: one booster for each output, written as text.

LightGBM aborts the process on columns that are not numbers, and reads polars columns by position whatever they are
called. So rows pass through a `Design` first: it checks types, orders the columns by name, and measures everything
that is in units of the series by the series' own backward-looking level, so that one tree serves series of every
size.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, CorruptModelError, EmptyFrameError, SchemaError

if TYPE_CHECKING:
    import lightgbm as lgb

Array = NDArray[np.float64]
Matrix = NDArray[np.float32]

_META: Final = "model.json"
# Everything of the text that does not touch the trees: paths, thread counts, verbosity.
_PARAMETERS: Final = re.compile(r"\nparameters:.*?\nend of parameters\n", re.DOTALL)
_FIXED: Final = {"verbosity": -1, "deterministic": True, "force_row_wise": True}


@dataclass(frozen=True)
class Design:
    """How rows become numbers: the columns in order, those measured by `level`, and the power that the target is taken to.

    `level` names a column > 0, or is None where nothing is scaled. The target that trees see is (label / level) **
    power: quantiles pass through any increasing map, and a root keeps a bulk order from outweighing every other row.
    """

    features: tuple[str, ...]
    scaled: tuple[str, ...] = ()
    level: str | None = None
    power: float = 1.0

    def matrix(self, rows: pl.DataFrame) -> Matrix:
        """(rows, features); null is NaN. Raises: SchemaError for a missing column or one that is no number."""
        self._check(rows)
        level, scaled = self.levels(rows), set(self.scaled)
        matrix = np.empty((rows.height, len(self.features)), dtype=np.float32)
        for number, name in enumerate(self.features):
            column = rows[name].cast(pl.Float64).to_numpy()
            matrix[:, number] = column / level if name in scaled else column
        return matrix

    def levels(self, rows: pl.DataFrame) -> Array:
        """(rows,): what the target is measured by; 1 where nothing is scaled or a row has no level."""
        if self.level is None:
            return np.ones(rows.height)
        if self.level not in rows.columns:
            raise SchemaError(f"column {self.level!r} is missing, the model's scale; found: {', '.join(rows.columns)}")
        level = rows[self.level].cast(pl.Float64).fill_null(1.0).fill_nan(1.0).to_numpy()
        return np.where(level > 0, level, 1.0)

    def target(self, rows: pl.DataFrame, label: str) -> Array:
        """(rows,): what trees learn."""
        scaled = rows[label].cast(pl.Float64).to_numpy() / self.levels(rows)
        return np.sign(scaled) * np.abs(scaled) ** self.power

    def restore(self, target: Array, levels: Array) -> Array:
        """The inverse of `target`: (rows, outputs) in the label's unit."""
        return np.sign(target) * np.abs(target) ** (1.0 / self.power) * levels[:, None]

    def _check(self, rows: pl.DataFrame) -> None:
        if missing := [name for name in self.features if name not in rows.columns]:
            raise SchemaError(
                f"{len(missing)} of {len(self.features)} features are missing: {', '.join(missing[:3])}; "
                f"found: {', '.join(rows.columns)}",
                hint="join the views that the model was trained on",
            )
        kinds = {name: rows.schema[name] for name in self.features}
        is_number = {name: kind.is_numeric() or kind == pl.Boolean for name, kind in kinds.items()}
        if wrong := [f"{name} is {kinds[name]}" for name in self.features if not is_number[name]]:
            raise SchemaError(
                f"{len(wrong)} features are no numbers: {', '.join(wrong[:3])}; expected number or boolean",
                hint="encode them as whole numbers, or leave them out of `features`",
            )


def boost(
    matrix: Matrix,
    target: Array,
    *,
    objective: Mapping[str, Any],
    rounds: int,
    learning_rate: float,
    leaves: int,
    min_leaf_rows: int,
    column_share: float,
    row_share: float,
    bins: int,
    seed: int,
    threads: int,
    weight: Array | None = None,
) -> str:
    """Text of a booster fitted to `target`; the same arguments give the same text, for any number of threads.

    Shapes: matrix (n, features), target and weight (n,).
    """
    import lightgbm as lgb  # 1.4 CPU s

    parameters = {
        **_FIXED,
        **objective,
        "learning_rate": learning_rate,
        "num_leaves": leaves,
        # A leaf of more than a tenth of the rows would leave a small frame without a split.
        "min_data_in_leaf": max(1, min(min_leaf_rows, len(target) // 10)),
        "min_data_in_bin": 1 if len(target) < 1000 else 3,
        "feature_fraction": column_share,
        "bagging_fraction": row_share,
        "bagging_freq": 1 if row_share < 1 else 0,
        "max_bin": bins,
        "seed": seed,
        "num_threads": threads,
        "feature_pre_filter": False,
    }
    data = lgb.Dataset(matrix, target, weight=weight, params={"max_bin": bins, "verbosity": -1})
    return _PARAMETERS.sub("\n", lgb.train(parameters, data, num_boost_round=rounds).model_to_string())


def known_parameters(parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`defaults` with `parameters` over them. Raises: ConfigurationError for a parameter that has no default."""
    if unknown := sorted(set(parameters) - set(defaults)):
        raise ConfigurationError(
            f"parameters {', '.join(unknown)} are unknown; known: {', '.join(defaults)}", hint="correct defs.yaml"
        )
    return {**defaults, **parameters}


def labelled(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    """The rows with a finite label. Raises: EmptyFrameError where there are none."""
    kept = rows.filter(pl.col(label).cast(pl.Float64).is_finite())
    if kept.is_empty():
        raise EmptyFrameError(f"label {label!r}: no row of {rows.height} has one", hint="widen the training window")
    return kept


class _Trees:
    """Boosters by output, and the design that their rows pass through."""

    format: str = ""

    def __init__(self, design: Design, texts: Mapping[str, str]) -> None:
        self.design = design
        self.outputs = tuple(texts)
        self._texts = dict(texts)
        self._boosters = {output: _parse(text, output, len(design.features)) for output, text in texts.items()}

    def _raw(self, rows: pl.DataFrame) -> Array:
        matrix = self.design.matrix(rows)
        if not rows.height:
            return np.empty((0, len(self.outputs)))
        predicted = [booster.predict(matrix, num_threads=1) for booster in self._boosters.values()]
        return np.column_stack([np.asarray(output, dtype=np.float64) for output in predicted])

    def files(self) -> dict[str, bytes]:
        """The design as JSON, and each output's trees as LightGBM's text without its parameters."""
        meta = json.dumps({"outputs": self.outputs, "design": asdict(self.design)}, indent=1)
        return {_META: meta.encode(), **{f"{output}.txt": text.encode() for output, text in self._texts.items()}}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The model written by `files`, whose hashes must have been checked: LightGBM may abort on damaged text."""
        meta = json.loads(files[_META])
        design = meta["design"]
        return cls(
            Design(tuple(design["features"]), tuple(design["scaled"]), design["level"], float(design["power"])),
            {output: files[f"{output}.txt"].decode() for output in meta["outputs"]},
        )

    def gains(self) -> dict[str, float]:
        """Feature to its share of the gain of all splits, largest first."""
        gain = np.sum([booster.feature_importance("gain") for booster in self._boosters.values()], axis=0)
        total = float(gain.sum()) or 1.0
        shares = {name: float(share) / total for name, share in zip(self.design.features, gain, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


class TreeQuantiles(_Trees):
    """Quantiles of demand: never negative, never crossing (sorted, as sorted quantiles have no larger loss).

    Source: Chernozhukov, Fernandez-Val, Galichon (2010), Quantile and probability curves without crossing.
    """

    format: str = "lightgbm-quantiles/1"

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per row, in order: the outputs in ascending order of their levels."""
        quantiles = self.design.restore(self._raw(rows), self.design.levels(rows))
        return pl.DataFrame(np.sort(np.maximum(quantiles, 0.0), axis=1), schema=dict.fromkeys(self.outputs, pl.Float64))


class TreeProbability(_Trees):
    """A probability."""

    format: str = "lightgbm-probability/1"

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per row, in order: the probability, kept off 0 and 1 where the log loss is infinite."""
        return pl.DataFrame(np.clip(self._raw(rows), 1e-6, 1 - 1e-6), schema=dict.fromkeys(self.outputs, pl.Float64))


def fit_each(outputs: Sequence[str], progress: Callable[[str], None], fit: Callable[[int], str]) -> dict[str, str]:
    """Output to the text that `fit` returns for its number, with a line of progress for each."""
    texts = {}
    for number, output in enumerate(outputs):
        texts[output] = fit(number)
        progress(f"{output}: fitted ({number + 1} of {len(outputs)})")
    return texts


def _parse(text: str, output: str, features: int) -> "lgb.Booster":
    import lightgbm as lgb  # 1.4 CPU s

    if not text.startswith("tree\n") or "\nend of trees\n" not in text:
        raise CorruptModelError(f"{output}.txt is no LightGBM model, or is cut off ({len(text)} characters)")
    booster = lgb.Booster(model_str=text)
    if booster.num_feature() != features:
        raise CorruptModelError(f"{output}.txt reads {booster.num_feature()} features, the design has {features}")
    return booster
