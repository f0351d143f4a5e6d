"""Probability that a series sells nothing in the coming week, by gradient-boosted trees."""

import polars as pl

from platform_assets.science import trees
from platform_assets.science.fitting import FitSettings

DEFAULTS = {
    "rounds": 200,
    "learning_rate": 0.05,
    "leaves": 7,
    "min_leaf_rows": 30,
    "column_share": 0.3,
    "row_share": 0.8,
    "bins": 127,
    "further_rounds": 15,
}


def fit(rows: pl.DataFrame, settings: FitSettings) -> trees.TreeProbability:
    """One booster on all rows with a label; with a model to go on from, its own and `further_rounds` trees more."""
    parameters = trees.known_parameters(settings.parameters, DEFAULTS)
    rows = trees.labelled(rows, settings.label)
    design = trees.Design(features=settings.features)
    further = parameters.pop("further_rounds")
    start = trees.going_on(settings.start, trees.TreeProbability, design, settings.outputs)
    if start is not None:
        parameters["rounds"] = further
    matrix, target = design.matrix(rows), design.target(rows, settings.label)

    def probability(number: int) -> str:
        common = {"seed": settings.seed, "threads": settings.threads}
        before = start.text(settings.outputs[number]) if start else None
        return trees.boost(matrix, target, objective={"objective": "binary"}, start=before, **common, **parameters)

    return trees.TreeProbability(design, trees.fit_each(settings.outputs, settings.progress, probability))
