"""The rows issued last against a reference, drawn alike: two verdicts, of drift and of faults, and what a report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science import skew
from platform_assets.science.feature_drift import CATEGORIES, feature_drift, worst_first
from platform_assets.science.joint_shift import JointShift
from platform_assets.science.monitoring import Verdict
from platform_assets.science.skew import Finding

LEAST_ROWS: Final = 50  # of an occasion; fewer say nothing about a distribution
DRAWS: Final = 9  # of the issued rows; of few series a single one says more of its luck than of the day
OCCASION: Final = "issued_at"
SERIES: Final = "series_id"


@dataclass(frozen=True)
class Samples:
    """Rows of past occasions, and draws of the rows issued last, each as large as an occasion and drawn as one."""

    reference: pl.DataFrame
    draws: tuple[pl.DataFrame, ...]

    @property
    def current(self) -> pl.DataFrame:
        """One draw: what an occasion would have been."""
        return self.draws[0]

    @property
    def pooled(self) -> pl.DataFrame:
        """All draws; a row is in as many of them as it was drawn in."""
        return pl.concat(self.draws)


def samples(
    training: pl.DataFrame, issued: pl.DataFrame, *, weights: pl.DataFrame | None = None, seed: int = 0
) -> Samples:
    """Both sides of a comparison, equally uncertain and equally made of large and small series.

    training, issued: series_id, issued_at and features. Each instant of issue in the training set is a past occasion;
    those of few rows are left out unless all are. A draw of the issued rows has as many as a usual occasion, and was
    drawn as its rows were: series in proportion to `weights` (series_id, weight; alike where left out), and of each
    draw of a series one of its rows. The draws of an issue day are always the same, those of another day others.
    """
    sizes = training.group_by(OCCASION).len()
    large = sizes.filter(pl.col("len") >= LEAST_ROWS)
    kept = sizes if large.is_empty() else large
    wanted = int(kept["len"].median() or 1)  # pyright: ignore[reportArgumentType]
    return Samples(training.join(kept, on=OCCASION, how="semi"), _drawn(issued, weights, wanted, seed))


def comparable(reference: pl.DataFrame, current: pl.DataFrame, features: Sequence[str]) -> list[str]:
    """Features that are numbers, Booleans or categories on both sides; lists are not, retyped ones are faults."""

    def kind(rows: pl.DataFrame, name: str) -> str | None:
        dtype = rows.schema.get(name)
        if dtype is None:
            return None
        return "category" if dtype in CATEGORIES else "number" if dtype.is_numeric() or dtype == pl.Boolean else None

    return [name for name in features if kind(current, name) and kind(current, name) == kind(reference, name)]


def input_drift(
    training: pl.DataFrame,
    issued: pl.DataFrame,
    features: Sequence[str],
    *,
    weights: pl.DataFrame | None = None,
    alpha: float = 0.01,
    seed: int = 0,
) -> pl.DataFrame:
    """`feature_drift` of the rows issued last against the training set, occasion by occasion, of comparable features.

    Calendar columns do not belong here, for a date is always new.
    """
    drawn = samples(training, issued, weights=weights, seed=seed)
    names = comparable(drawn.reference, drawn.current, features)
    return feature_drift(drawn.reference, drawn.draws, names, window=OCCASION, alpha=alpha)


def input_faults(
    drawn: Samples, issued: pl.DataFrame, reads: Sequence[str], *, defined: Sequence[str] | None = None
) -> list[Finding]:
    """Faults of the rows issued last: columns and types, categories, nulls, and keys that stand twice.

    `reads`: columns that the champion reads. `defined`: those that the model's definition reads by now; what it reads
    more than the champion is told as added.
    """
    expected = {name: drawn.reference.schema[name] for name in reads if name in drawn.reference.columns}
    added = [name for name in defined or reads if name not in set(reads) and name in issued.columns]
    found = skew.schema_skew(expected, issued.schema, added)
    apart = {finding.where for finding in found}
    same = [name for name in expected if name not in apart]
    found += skew.category_skew(drawn.reference, issued, same)
    found += skew.null_skew(drawn.reference, issued, same, window=OCCASION, unit=SERIES)
    return found + skew.duplicate_skew(issued, [SERIES, OCCASION, "target_on"], "issued rows")


def judge_inputs(drift: pl.DataFrame, *, champion: str, as_of: date, tolerated: int = 0) -> Verdict:
    """The check `feature_drift`: how many features have left their range; at most `tolerated` may.

    drift: as `feature_drift` gives it.
    """
    drifted = drift.filter("has_drifted").sort("q_value", "feature")
    worst = ", ".join(drifted["feature"].head(5))
    compared = drift.filter(pl.col("q_value").is_not_nan())
    judged, nearest = compared.height, ", ".join(worst_first(compared)["feature"].head(3))
    about = f"{drifted.height} of {judged} features have left their range"
    about += f": {worst}" if worst else f"; nearest to leaving it: {nearest}"
    if not judged:
        about = "no feature is left to compare" if drift.is_empty() else "too few past occasions to say what is usual"
    return Verdict(
        passed=drifted.height <= tolerated,
        champion=champion,
        as_of=as_of,
        statistic=float(drifted.height),
        threshold=float(tolerated),
        about=about,
        is_judged=judged > 0,
        figures={"features judged": float(judged)},
    )


def judge_faults(findings: Sequence[Finding], *, champion: str, as_of: date) -> Verdict:
    """The check `input_faults`: every fault of the rows issued last, by name."""
    faults = [finding for finding in findings if finding.is_fault]
    told = "; ".join(finding.told for finding in faults[:3]) + (
        f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    )
    return Verdict(
        passed=not faults,
        champion=champion,
        as_of=as_of,
        statistic=float(len(faults)),
        threshold=0.0,
        about=told or "columns, types, categories, nulls, volume and keys are as ever",
        figures=counted(findings),
    )


def counted(findings: Sequence[Finding]) -> dict[str, float]:
    """How many findings of each kind, those that there are."""
    return {kind: float(n) for kind in skew.KINDS if (n := sum(finding.kind == kind for finding in findings))}


def told_joint(joint: JointShift | None) -> Mapping[str, float]:
    """Figures of the domain classifier that there are."""
    figures = {} if joint is None else {"joint shift, AUC": joint.auc, "the same on past occasions": joint.usual}
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _drawn(issued: pl.DataFrame, weights: pl.DataFrame | None, wanted: int, seed: int) -> tuple[pl.DataFrame, ...]:
    """`DRAWS` times about `wanted` rows, drawn as `sampling.fit_rows` draws those of one issue; at least one."""
    day = issued[OCCASION].max()
    random = np.random.default_rng([seed, day.toordinal() if isinstance(day, date) else 0])
    order = issued.with_row_index("at").sort(SERIES, "at")
    series = order.group_by(SERIES, maintain_order=True).len()
    size, places = series["len"].to_numpy().astype(np.int64), order["at"].to_numpy()
    first = np.cumsum(size) - size
    weight = np.ones(series.height)
    if weights is not None:
        weight = series.join(weights, on=SERIES, how="left", maintain_order="left")["weight"].to_numpy()
        weight = np.where(np.isfinite(weight), weight, np.nanmin(weight))
    draws, chance = _chances(weight, size, wanted)
    drawn: list[pl.DataFrame] = []
    for _ in range(DRAWS):
        _, at = np.nonzero(random.random((draws, series.height)) < chance)
        picked = np.unique(places[first[at] + (random.random(at.size) * size[at]).astype(np.int64)])
        drawn.append(issued[picked] if picked.size else issued.head(1))
    return tuple(drawn)


def _chances(weight: NDArray[np.float64], size: NDArray[np.int64], wanted: int) -> tuple[int, NDArray[np.float64]]:
    """How often to draw, and each series' chance at a time, so that `wanted` different rows are to be expected.

    A row that is drawn again counts once: of few series and horizons many are, so more are to be drawn than are wanted.
    """

    def chances(rows: float) -> tuple[int, NDArray[np.float64]]:
        draws = max(1, int(np.ceil(rows * weight.max() / weight.sum())))
        return draws, np.minimum(1.0, weight * rows / (weight.sum() * draws))

    low, high = float(wanted), 16.0 * wanted  # the latter where all rows there are do not make as many
    for _ in range(20):
        middle = (low + high) / 2
        draws, chance = chances(middle)
        is_enough = (size * (1 - (1 - chance / size) ** draws)).sum() >= wanted
        low, high = (low, middle) if is_enough else (middle, high)
    return chances(low)
