"""Gradient-boosted trees (LightGBM) as fitted models: one booster for each output, written as text.

LightGBM aborts the process on columns that are not numbers, and reads polars columns by position whatever they are
called. So rows pass through a `Design` first: it checks types, orders the columns by name, and measures everything
that is in units of the series by the series' own backward-looking level, so that one tree serves series of every
size.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, CorruptModelError, EmptyFrameError, SchemaError
from platform_assets.science.side_by_side import side_by_side

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
    start: str | None = None,
) -> str:
    """Text of a booster fitted to `target`; the same arguments give the same text, for any number of threads.

    With `start`, a booster's text, `rounds` further trees stand after its own, fitted to what these leave; rows and columns
    are drawn as for trees of that number, not as for its first ones again.
    Shapes: matrix (n, features), target and weight (n,).
    """
    import lightgbm as lgb  # 1.4 CPU s

    first = None if start is None else _parse(start, features=matrix.shape[1])

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
        "seed": seed + (0 if first is None else first.num_trees()),
        "num_threads": threads,
        "feature_pre_filter": False,
    }
    data = lgb.Dataset(matrix, target, weight=weight, params={"max_bin": bins, "verbosity": -1})
    fitted = lgb.train(parameters, data, num_boost_round=rounds, init_model=first)
    return _PARAMETERS.sub("\n", fitted.model_to_string())


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


@dataclass(frozen=True)
class Foundation:
    """A first look at the target that other boosters read as one more feature: a booster for each half of the series.

    Fitting, each half's rows are answered by the booster of the other half, so that what the next boosters read is as
    wrong as it will be on unseen rows; afterwards both answer, and their mean counts.
    """

    texts: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        matrix: Matrix,
        target: Array,
        halves: NDArray[np.bool_],
        fit: Callable[[Matrix, Array, str | None], str],
        start: Self | None = None,
    ) -> tuple[Self, Array]:
        """The foundation, and its answers for the rows that it was fitted on. Shapes: (n, features), (n,), (n,).

        `fit` is given the booster of `start` for the same half of the series, so that neither ever sees the other's.
        """
        answers, both = np.empty(len(target)), (halves, ~halves)
        before = start.texts if start else (None, None)
        texts = [*side_by_side(lambda side: fit(matrix[both[side]], target[both[side]], before[side]), (0, 1))]
        for half, text in zip(both, texts, strict=True):
            answers[~half] = _answers(_parse(text), matrix[~half])
        return cls(tuple(texts)), answers


def halves_of(rows: pl.DataFrame) -> NDArray[np.bool_]:
    """(rows,): which half a row belongs to: whole series where there are enough, else every other row."""
    if "series_id" in rows.columns:
        half = {name: bool(zlib.crc32(str(name).encode()) & 1) for name in rows["series_id"].unique()}
        halves = np.array([half[name] for name in rows["series_id"]], dtype=bool)
        if 0.25 < halves.mean() < 0.75:
            return halves
    return np.arange(rows.height) % 2 == 0


class _Trees:
    """Boosters by output, the design that their rows pass through, and the foundations that they stand on."""

    format: str = ""

    def __init__(
        self, design: Design, texts: Mapping[str, str], foundations: Mapping[str, Foundation] | None = None
    ) -> None:
        self.design = design
        self.outputs = tuple(texts)
        self.foundations = dict(foundations or {})
        self._texts = dict(texts)
        width = len(design.features)
        self._first = {
            name: [_parse(text, name, width) for text in foundation.texts]
            for name, foundation in self.foundations.items()
        }
        self._boosters = {output: _parse(text, output, width + len(self._first)) for output, text in texts.items()}

    def _raw(self, rows: pl.DataFrame) -> Array:
        matrix = self.design.matrix(rows)
        if not rows.height:
            return np.empty((0, len(self.outputs)))
        first = [
            np.mean([*side_by_side(lambda booster: _answers(booster, matrix), pair)], axis=0)
            for pair in self._first.values()
        ]
        wide = stand_on(matrix, first)
        return np.column_stack([*side_by_side(lambda booster: _answers(booster, wide), self._boosters.values())])

    def text(self, output: str) -> str:
        """The trees of an output."""
        return self._texts[output]

    def files(self) -> dict[str, bytes]:
        """The design as JSON, and each output's trees as LightGBM's text without its parameters."""
        first = {name: len(foundation.texts) for name, foundation in self.foundations.items()}
        meta = {"outputs": self.outputs, "foundations": first, "design": asdict(self.design)}
        texts = {**self._texts}
        for name, foundation in self.foundations.items():
            texts |= {f"{name}_{number}": text for number, text in enumerate(foundation.texts)}
        return {
            _META: json.dumps(meta, indent=1).encode(),
            **{f"{name}.txt": text.encode() for name, text in texts.items()},
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The model written by `files`, whose hashes must have been checked: LightGBM may abort on damaged text."""
        meta = json.loads(files[_META])
        design = meta["design"]
        return cls(
            Design(tuple(design["features"]), tuple(design["scaled"]), design["level"], float(design["power"])),
            {output: files[f"{output}.txt"].decode() for output in meta["outputs"]},
            {
                name: Foundation(tuple(files[f"{name}_{number}.txt"].decode() for number in range(count)))
                for name, count in meta.get("foundations", {}).items()
            },
        )

    def gains(self) -> dict[str, float]:
        """Feature, or foundation, to its share of the gain of all outputs' splits, largest first."""
        gain = np.sum([booster.feature_importance("gain") for booster in self._boosters.values()], axis=0)
        total = float(gain.sum()) or 1.0
        names = [*self.design.features, *self.foundations]
        shares = {name: float(share) / total for name, share in zip(names, gain, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


Kept = TypeVar("Kept", bound=_Trees)


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


def going_on(start: object, kind: type[Kept], design: Design, outputs: Sequence[str]) -> Kept | None:
    """The trees to go on from, None where there are none.

    Raises: ConfigurationError if they are of another kind, design or outputs.
    """
    if start is None:
        return None
    if not isinstance(start, kind) or start.design != design or start.outputs != tuple(outputs):
        raise ConfigurationError(
            "the model to go on from is of another kind, or reads or answers other columns",
            hint="train from scratch once: `perennial retrain MODEL --reason ... --start scratch`",
        )
    return start


def stand_on(matrix: Matrix, first: Sequence[Array]) -> Matrix:
    """(n, features + foundations): `matrix` with the answers of the foundations beside it."""
    return np.column_stack([matrix, *first]).astype(np.float32) if first else matrix


def fit_each(outputs: Sequence[str], progress: Callable[[str], None], fit: Callable[[int], str]) -> dict[str, str]:
    """Output to the text that `fit` returns for its number, with a line of progress for each."""
    texts = {}
    for number, text in enumerate(side_by_side(fit, range(len(outputs)))):
        texts[outputs[number]] = text
        progress(f"{outputs[number]}: fitted ({number + 1} of {len(outputs)})")
    return texts


def _answers(booster: "lgb.Booster", matrix: Matrix) -> Array:
    return np.asarray(booster.predict(matrix, num_threads=1), dtype=np.float64)


def _parse(text: str, name: str = "booster", features: int | None = None) -> "lgb.Booster":
    import lightgbm as lgb  # 1.4 CPU s

    if not text.startswith("tree\n") or "\nend of trees\n" not in text:
        raise CorruptModelError(f"{name}.txt is no LightGBM model, or is cut off ({len(text)} characters)")
    booster = lgb.Booster(model_str=text)
    if features is not None and booster.num_feature() != features:
        raise CorruptModelError(f"{name}.txt reads {booster.num_feature()} features, the design has {features}")
    return booster
