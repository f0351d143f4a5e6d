"""Whether a classifier can tell the present rows from the reference's: shifts that no feature shows by itself.

Two features may each keep their distribution and yet no longer go together. A classifier sees that, and much besides:
with time any occasion can be told from those before it, by the age of a series alone. So its score is compared with the
scores by which past occasions could be told from those before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science.feature_drift import CATEGORIES, LEAST_WINDOWS

Floats = NDArray[np.float64]

FOLDS: Final = 3
OCCASIONS: Final = 12  # past ones that are judged
TIMES: Final = 3  # rows of the reference for each present one
LEAST_GROUPS: Final = 2 * FOLDS  # of each side, so that no fold lacks a side
ROUNDS: Final = 25
SETTINGS: Final[dict[str, Any]] = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_data_in_leaf": 10,
    "is_unbalance": True,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class JointShift:
    """How well the present rows are told from the reference's, and how well past ones usually are.

    `auc` is the probability that a present row is ranked above one of the reference, by classifiers that have seen
    neither row's series; `p_value` is NaN where there are too few past occasions. `told_by`: the features that told
    them apart most, with their shares of the gain.
    """

    auc: float
    usual: float
    p_value: float
    told_by: tuple[tuple[str, float], ...] = field(default=())


def joint_shift(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    features: Sequence[str],
    *,
    group: str,
    window: str,
    seed: int = 0,
) -> JointShift:
    """The domain classifier's verdict on the present rows, among twelve past occasions judged in the same way.

    `group` names the column of which all rows are in one fold (a series: else its own features would tell it again);
    `window` the one that says to which occasion a row belongs, ordered in time. Each past occasion is judged against the
    occasions that were as far before it as the reference lies before the present. The p-value is that of one more
    occasion among them (Student's prediction).
    Raises: SchemaError naming columns that a frame lacks; EmptyFrameError where a frame has no rows.
    Source: Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests.
    """
    wanted = [group, window, *features]
    for role, rows in (("reference", reference), ("current", current)):
        if missing := sorted(set(wanted) - set(rows.columns)):
            raise SchemaError(f"joint shift: {role} rows lack {missing}; columns: {', '.join(rows.columns)}")
        if rows.is_empty():
            raise EmptyFrameError(f"joint shift: no {role} rows")
    both = _coded(pl.concat([reference.select(wanted), current.select(wanted)], how="vertical_relaxed"), features)
    past, now = both[: reference.height], both[reference.height :]
    random = np.random.default_rng(seed)
    auc, gains = domain_auc(past, now, features, group=group, random=random)
    if not features or np.isnan(auc):
        return JointShift(float("nan"), float("nan"), float("nan"))
    gap = max(now[window].min() - past[window].max(), past[window].max() - past[window].max())  # pyright: ignore
    instants = past[window].unique().sort()
    later = instants.filter(instants.is_between(instants[len(instants) // 3] + gap, instants[-1]))
    places = np.unique(np.linspace(0, max(len(later) - 1, 0), OCCASIONS).astype(int)) if len(later) else []
    usual = []
    for place in places:
        at = later[int(place)]
        before, then = past.filter(pl.col(window) <= at - gap, pl.col(window) < at), past.filter(pl.col(window) == at)
        if before.height >= then.height:
            usual.append(domain_auc(before, then, features, group=group, random=random)[0])
    known = np.array([value for value in usual if not np.isnan(value)])
    order = np.argsort(-gains, kind="stable")[:5]
    told_by = tuple((str(features[int(at)]), float(gains[at])) for at in order if gains[at] > 0)
    return JointShift(auc, float(np.mean(known)) if known.size else float("nan"), _tail(auc, known, now), told_by)


def domain_auc(
    first: pl.DataFrame,
    second: pl.DataFrame,
    features: Sequence[str],
    *,
    group: str,
    random: np.random.Generator,
) -> tuple[float, Floats]:
    """Cross-validated AUC of telling `second` from `first`, and each feature's share of the gain; NaN with few groups.

    No group is on both sides of a fold. Of `first` at most three times as many rows are drawn as `second` has.
    """
    import lightgbm

    wanted = TIMES * second.height
    if first.height > wanted:
        first = first[np.sort(random.choice(first.height, wanted, replace=False))]
    if min(first[group].n_unique(), second[group].n_unique()) < LEAST_GROUPS or not features:
        return float("nan"), np.zeros(len(features))
    rows = pl.concat([first, second])
    is_second = np.r_[np.zeros(first.height), np.ones(second.height)]
    groups = rows[group].rank("dense").to_numpy().astype(np.int64) - 1
    fold = random.permutation(int(groups.max()) + 1)[groups] % FOLDS
    values = rows.select(features).to_numpy()
    scores, gains = [], np.zeros(len(features))
    for number in range(FOLDS):
        out = fold == number
        if len(np.unique(is_second[out])) < 2 or len(np.unique(is_second[~out])) < 2:
            continue
        data = lightgbm.Dataset(values[~out], is_second[~out], params={"verbosity": -1})
        settings = {**SETTINGS, "seed": int(random.integers(1 << 30))}
        model = lightgbm.train(settings, data, num_boost_round=ROUNDS)
        scores.append(area_under_curve(is_second[out], np.asarray(model.predict(values[out]))))
        gains += model.feature_importance("gain")
    if not scores:
        return float("nan"), gains
    return float(np.mean(scores)), gains / max(gains.sum(), np.finfo(np.float64).tiny)


def area_under_curve(is_positive: Floats, score: Floats) -> float:
    """Probability that a positive's score is above a negative's, ties half.

    Source: Mann and Whitney (1947), U over the number of pairs.
    """
    from scipy.stats import rankdata

    ranks, positives = rankdata(score), is_positive.sum()
    pairs = positives * (is_positive.size - positives)
    return float((ranks[is_positive > 0].sum() - positives * (positives + 1) / 2) / pairs)


def _coded(rows: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    """Features as numbers; a category by its place in the alphabet."""
    codes = [
        (pl.col(name).cast(pl.String).rank("dense") if rows.schema[name] in CATEGORIES else pl.col(name))
        .cast(pl.Float64)
        .alias(name)
        for name in features
    ]
    return rows.with_columns(codes)


def _tail(auc: float, past: Floats, now: pl.DataFrame) -> float:
    from scipy.stats import t

    if past.size < LEAST_WINDOWS:
        return float("nan")
    # By chance alone, of rows that are independent: a spread below that was luck.
    least = np.sqrt((TIMES + 1) / TIMES / (12 * now.height))
    spread = max(float(past.std(ddof=1)), least) * np.sqrt(1 + 1 / past.size)
    return float(t.sf((auc - past.mean()) / spread, past.size - 1))
