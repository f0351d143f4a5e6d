"""Quantiles of demand by gradient-boosted trees: one booster for each level, all on the scale of the series' own level."""

import polars as pl

from platform_assets.science import trees
from platform_assets.science.demand.columns import IN_UNITS
from platform_assets.science.fitting import FitSettings

DEFAULTS = {
    "rounds": 200,
    "learning_rate": 0.07,
    "leaves": 31,
    "min_leaf_rows": 200,
    "column_share": 0.5,
    "row_share": 0.8,
    "bins": 127,
    "power": 0.5,
}


def fit(rows: pl.DataFrame, settings: FitSettings) -> trees.TreeQuantiles:
    """One booster per level on all rows with a label."""
    parameters = trees.known_parameters(settings.parameters, DEFAULTS)
    rows = trees.labelled(rows, settings.label)
    design = trees.Design(
        features=settings.features,
        scaled=tuple(name for name in settings.features if name in IN_UNITS),
        level="level" if "level" in rows.columns else None,
        power=parameters.pop("power"),
    )
    matrix, target = design.matrix(rows), design.target(rows, settings.label)

    def quantile(number: int) -> str:
        objective = {"objective": "quantile", "alpha": settings.levels[number]}
        common = {"seed": settings.seed, "threads": settings.threads}
        return trees.boost(matrix, target, objective=objective, **common, **parameters)

    return trees.TreeQuantiles(design, trees.fit_each(settings.outputs, settings.progress, quantile))
