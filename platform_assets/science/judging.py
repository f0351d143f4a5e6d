"""Computes the parts of an evaluation: every sum over a series once, every interval from the same draws."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science import metrics
from platform_assets.science.bootstrap import Interval, Resampler
from platform_assets.science.findings import Comparison, Figures, LevelFigures, Slice
from platform_assets.science.segments import ORDER
from platform_assets.science.stock_cost import UnitCosts
from platform_assets.science.tasks import Ratio, Task

Array = NDArray[np.float64]

AUC_DRAWS = 400  # each takes a pass over the rows


def _place(name: str) -> tuple[int, str]:
    """Known segments in their own order, others by name."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


class Judged:
    """Rows with labels and every model's predictions, with all sums over series computed once."""

    def __init__(
        self,
        task: Task,
        rows: pl.DataFrame,
        label: pl.Series,
        predictions: Mapping[str, pl.DataFrame],
        price: pl.Series | None,
        costs: UnitCosts,
        candidate: str,
        resampler: Resampler,
        is_whole: pl.Series | None = None,
    ) -> None:
        self.task, self.rows, self.label, self.candidate = task, rows, label, candidate
        self.predictions, self.resampler = predictions, resampler
        self.is_covered = {
            name: ~frame.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()
            for name, frame in predictions.items()
        }
        self.sums: dict[tuple[str, str], tuple[Array, Array]] = {}  # (model, figure) -> (clusters,) each
        self.loss: dict[str, Array] = {}
        self.above: dict[tuple[str, str], Array] = {}  # what models can be compared by, of each row
        self.ours: dict[str, Ratio] = {}  # the candidate's figures, of each row
        for name, frame in predictions.items():
            covered = self.is_covered[name]
            for figure, ratio in task.ratios(label, frame, price, costs, is_whole).items():
                above = np.where(covered, ratio.above, 0.0)
                self.sums[name, figure] = resampler.sums(above), resampler.sums(np.where(covered, ratio.below, 0.0))
                if figure == task.primary:
                    self.loss[name] = above
                if figure in task.compared:
                    self.above[name, figure] = above
                if name == candidate:
                    self.ours[figure] = ratio
        self.opponents = [name for name in predictions if name != candidate]

    def best(self, baselines: Sequence[str]) -> str | None:
        """The baseline with the least primary loss among those that predicted every row; the first of equals."""
        whole = [name for name in baselines if self.is_covered[name].all()]
        return min(whole, key=lambda name: self.loss[name].sum(), default=None)

    def figures(self) -> dict[str, Figures]:
        """Every figure of every model: ratios, and those that are computed from them."""
        found: dict[str, Figures] = {name: {} for name in self.predictions}
        for (name, figure), interval in self.resampler.ratios(self.sums).items():
            found[name][figure] = interval
        for name, figures in found.items():
            figures.update(_with_root(figures))
            if not self.task.levels and self.is_covered[name].all():
                figures["auc"] = self._auc(name)
                figures["calibration_error"] = self._calibration_error(name)
        return found

    def comparisons(self) -> dict[str, Comparison]:
        """The candidate against every other model, on the rows that both cover."""
        sums: dict[tuple[str, str], tuple[Array, Array]] = {}
        for name in self.opponents:
            both = self.is_covered[name]
            for figure in self.compared:
                ours = self.above[self.candidate, figure]
                sums[name, figure] = self.resampler.sums(ours * both), self.sums[name, figure][0]
            difference = (self.loss[self.candidate] - self.loss[name]) * both
            sums[name, ""] = self.resampler.sums(difference), self.resampler.sums(both.astype(np.float64))
        intervals = self.resampler.ratios(sums)
        return {
            name: Comparison(
                opponent=name,
                rows=int(self.is_covered[name].sum()),
                series=self.rows["series_id"].filter(pl.Series(self.is_covered[name])).n_unique(),
                improvements=_improvements({figure: intervals[name, figure] for figure in self.compared}),
                difference=intervals[name, ""],
                calibration=self._calibration_gain(name) if self.is_covered[name].all() and self.task.levels else None,
            )
            for name in self.opponents
        }

    def slices(self, segments: pl.DataFrame | None) -> list[Slice]:
        """Every figure and every comparison in every segment, origin and week of the horizon."""
        whole = [name for name in self.predictions if self.is_covered[name].all()]
        return [self._slice(kind, name, mask, whole) for kind, name, mask in self._masks(segments)]

    def _slice(self, kind: str, part: str, mask: NDArray[np.bool_], whole: list[str]) -> Slice:
        total, primary = self.resampler.sums, self.task.primary
        sums: dict[tuple[str, str], tuple[Array, Array]] = {
            ("figure", figure): (total(ratio.above * mask), total(ratio.below * mask))
            for figure, ratio in self.ours.items()
        }
        count = total(mask.astype(np.float64))
        for name in whole:
            sums[name, ""] = total(self.loss[name] * mask), count
            if name != self.candidate:
                sums |= {
                    (name, figure): (sums["figure", figure][0], total(self.above[name, figure] * mask))
                    for figure in self.compared
                }
        found = self.resampler.ratios(sums)
        compared = {
            name: _improvements({figure: found[name, figure] for figure in self.compared})
            for name in whole
            if name != self.candidate
        }
        return Slice(
            kind=kind,
            name=part,
            rows=int(mask.sum()),
            series=self.rows["series_id"].filter(pl.Series(mask)).n_unique(),
            loss={name: found[name, ""] for name in whole},
            improvements={name: figures[primary] for name, figures in compared.items()},
            figures=_with_root({figure: found["figure", figure] for figure in self.ours}),
            compared=compared,
        )

    @property
    def compared(self) -> list[str]:
        """Losses by which models are compared here: without prices none is weighted by them."""
        return [figure for figure in self.task.compared if figure in self.ours]

    def _calibration_gain(self, name: str) -> Interval:
        """How much further from calibration the opponent is, as a mean over the levels, on the same draws."""
        drawn, estimates = [], []
        for model in (name, self.candidate):
            sums = [
                np.column_stack([self.sums[model, f"{side}_{output}"][0] for output in self.task.outputs])
                for side in ("below", "not_above")
            ]
            rows = self.sums[model, f"below_{self.task.outputs[0]}"][1]
            count = self.resampler.drawn(rows[:, None])
            levels = np.asarray(self.task.levels)
            below, not_above = (self.resampler.drawn(side) / count for side in sums)
            drawn.append(_distance(levels, below, not_above))
            estimates.append(_distance(levels, *(side.sum(axis=0) / rows.sum() for side in sums)))
        return self.resampler.interval(float(estimates[0] - estimates[1]), drawn[0] - drawn[1])

    def _masks(self, segments: pl.DataFrame | None) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
        columns: dict[str, pl.Series] = {}
        if segments is not None:
            columns = {kind: segments[kind] for kind in segments.columns if segments[kind].dtype == pl.String}
        columns["origin"] = (
            self.rows.select(pl.col("target_on") - pl.duration(days=pl.col("horizon_days"))).to_series().cast(pl.String)
        )
        columns["horizon"] = self.rows.select(
            pl.format("week {}", (pl.col("horizon_days").cast(pl.Int32) - 1) // 7 + 1)
        ).to_series()
        for kind, values in columns.items():
            for name in sorted(values.drop_nulls().unique(), key=_place):
                yield kind, name, (values == name).fill_null(value=False).to_numpy()

    def calibration(self) -> dict[str, list[LevelFigures]]:
        """Both sides of every level for every model that covers all rows."""
        whole = [name for name in self.predictions if self.is_covered[name].all()]
        sides = [f"{side}_{output}" for output in self.task.outputs for side in ("below", "not_above")]
        sums = {(name, side): self.sums[name, side] for name in whole for side in sides}
        intervals = self.resampler.ratios(sums)
        found: dict[str, list[LevelFigures]] = {}
        for name in whole:
            found[name] = []
            for output, level in zip(self.task.outputs, self.task.levels, strict=True):
                below, not_above = intervals[name, f"below_{output}"], intervals[name, f"not_above_{output}"]
                distance = metrics.LevelCalibration(level, below.estimate, not_above.estimate).distance
                found[name].append(LevelFigures(level, below, not_above, distance))
        return found

    def _probability(self, name: str) -> tuple[Array, Array]:
        return metrics.column(self.label), metrics.column(self.predictions[name]["probability"])

    def reliability(self) -> dict[str, list[metrics.ReliabilityBin]]:
        """What was said and what came, for every model that covers all rows."""
        return {
            name: metrics.reliability(*self._probability(name))
            for name in self.predictions
            if self.is_covered[name].all()
        }

    def roc(self) -> dict[str, list[tuple[float, float]]]:
        """At most 101 points of the ROC curve, for every model that covers all rows."""
        found = {}
        for name in self.predictions:
            if self.is_covered[name].all():
                false_rate, true_rate = metrics.roc_curve(*self._probability(name))
                shown = np.unique(np.linspace(0, false_rate.size - 1, 101).round().astype(int))
                found[name] = [(float(false_rate[at]), float(true_rate[at])) for at in shown]
        return found

    def _auc(self, name: str) -> Interval:
        label, score = self._probability(name)
        counts = self.resampler.counts[:AUC_DRAWS]
        place = np.unique(score, return_inverse=True)[1]
        weights = (draw[self.resampler.codes].astype(np.float64) for draw in counts)
        drawn = [metrics.auc_of_places(label, place, weight) for weight in weights]
        return self.resampler.interval(metrics.auc(label, score), np.array(drawn))

    def _calibration_error(self, name: str) -> Interval:
        label, probability = self._probability(name)
        place = metrics.bin_of(probability)
        surplus = [(probability - label) * (place == at) for at in range(metrics.RELIABILITY_BINS)]
        sums = np.column_stack([self.resampler.sums(values) for values in [*surplus, np.ones_like(label)]])
        totals = self.resampler.drawn(sums)  # (draws, bins + 1)
        drawn = np.abs(totals[:, :-1]).sum(axis=1) / totals[:, -1]
        return self.resampler.interval(metrics.calibration_error(label, probability), drawn)


def _distance(levels: Array, below: Array, not_above: Array) -> Array:
    """Mean over the levels (the last axis) of the distance from calibration; see `metrics.LevelCalibration`."""
    return np.maximum(0.0, np.maximum(below - levels, levels - not_above)).mean(axis=-1)


def _with_root(figures: Figures) -> Figures:
    """The figures with the root of the mean squared error: its interval is that of the square, rooted."""
    if "mse" not in figures:
        return figures
    mse = figures["mse"]
    return {**figures, "rmse": Interval(*(float(np.sqrt(value)) for value in (mse.estimate, mse.low, mse.high)))}


def _improvements(ratios: Figures) -> Figures:
    """1 - ours / theirs of each loss, from the ratios; of the root too."""
    return {figure: ratio.from_one() for figure, ratio in _with_root(ratios).items()}
