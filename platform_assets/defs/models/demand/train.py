"""Quantiles of demand by gradient-boosted trees and a network, averaged; all on the scale of the series' own level.

A quantile's gradient tells only on which side of it a row lies, which is little to learn where demand is heavy-tailed. So
two boosters that learn from all of a row go first, and the quantiles' boosters read their answers: the expected root of
demand, and the probability of a sale.

Trees cut, a network bends: they err in different places, trees less where series sell rarely, the network less where they
sell often. Their mean is better than either.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import polars as pl

from platform_assets.errors import ConfigurationError
from platform_assets.science import network, trees
from platform_assets.science.average import Average
from platform_assets.science.demand.columns import IN_UNITS
from platform_assets.science.fitting import FitSettings, FittedModel

TREES = {
    "rounds": 200,
    "learning_rate": 0.07,
    "leaves": 15,
    "min_leaf_rows": 200,
    "column_share": 0.5,
    "row_share": 0.8,
    "bins": 63,
    "power": 1 / 3,
    "first_rounds": 120,
    "first_learning_rate": 0.08,
    "first_leaves": 31,
    "further_rounds": 15,
}
NETWORK = {"network_hidden": 128, "network_epochs": 4, "large_rows": 200_000, "large_network_hidden": 192}
DEFAULTS = {**TREES, **NETWORK, "network_share": 0.5}
FOUNDATIONS = {"expected_root": "regression", "sale": "binary"}


def fit(rows: pl.DataFrame, settings: FitSettings) -> FittedModel:
    """Trees and network on all rows with a label, and their mean; trees alone where `network_share` is 0.

    With a model to go on from, its trees get `further_rounds` trees more, and the network is fitted anew.
    From `large_rows` on the network is wider and reads the list features too, as `demand_deep` does; trees never do.
    """
    parameters = trees.known_parameters(settings.parameters, DEFAULTS)
    share, of_network = parameters.pop("network_share"), {name: parameters.pop(name) for name in NETWORK}
    if not 0 <= share <= 1:
        raise ConfigurationError(f"network_share is {share}, expected 0 to 1", hint="correct `parameters` in defs.yaml")
    labelled = trees.labelled(rows, settings.label)
    plain = tuple(name for name in settings.features if not isinstance(labelled.schema.get(name), pl.List))
    start = settings.start.members["trees"] if isinstance(settings.start, Average) else settings.start
    of_trees = replace(settings, features=plain, parameters=parameters, start=start)
    if not share:
        return fit_trees(labelled, of_trees)
    is_large = labelled.height >= of_network["large_rows"]
    recipe = {
        "hidden": of_network["large_network_hidden" if is_large else "network_hidden"],
        "epochs": of_network["network_epochs"],
    }
    # One thread: a sum over rows comes out the same on every machine.
    chosen = replace(
        settings, features=settings.features if is_large else plain, parameters=recipe, threads=1, start=None
    )
    with ThreadPoolExecutor(1) as beside:  # both spend their time outside Python: two cores, the same bytes
        bending = beside.submit(network.fit, labelled, chosen)
        boosted = fit_trees(labelled, of_trees)
        bent = bending.result()
    return Average({"trees": boosted, "network": bent}, {"trees": 1 - share, "network": share})


def fit_trees(rows: pl.DataFrame, settings: FitSettings) -> trees.TreeQuantiles:
    """One booster per level on all rows with a label, and the two that they stand on."""
    parameters = trees.known_parameters(settings.parameters, TREES)
    rows = trees.labelled(rows, settings.label)
    design = trees.Design(
        features=settings.features,
        scaled=tuple(name for name in settings.features if name in IN_UNITS),
        level="level" if "level" in settings.features else None,
        power=parameters.pop("power"),
    )
    first = {name: parameters.pop(f"first_{name}") for name in ("rounds", "learning_rate", "leaves")}
    further, start = (
        parameters.pop("further_rounds"),
        trees.going_on(settings.start, trees.TreeQuantiles, design, settings.outputs),
    )
    if start is not None:
        parameters["rounds"] = first["rounds"] = further
    common = {"seed": settings.seed, "threads": settings.threads}
    matrix, target, halves = design.matrix(rows), design.target(rows, settings.label), trees.halves_of(rows)
    foundations, answers = {}, []
    for name, objective in FOUNDATIONS.items():
        aim = (target > 0).astype(np.float64) if objective == "binary" else target

        def look(matrix: trees.Matrix, aim: trees.Array, text: str | None, objective: str = objective) -> str:
            rounds = parameters | first
            return trees.boost(matrix, aim, objective={"objective": objective}, start=text, **common, **rounds)

        before = start.foundations[name] if start else None
        foundations[name], answer = trees.Foundation.fit(matrix, aim, halves, look, before)
        answers.append(answer)
        settings.progress(f"{name}: fitted")
    wide = trees.stand_on(matrix, answers)

    def quantile(number: int) -> str:
        objective = {"objective": "quantile", "alpha": settings.levels[number]}
        before = start.text(settings.outputs[number]) if start else None
        return trees.boost(wide, target, objective=objective, start=before, **common, **parameters)

    return trees.TreeQuantiles(design, trees.fit_each(settings.outputs, settings.progress, quantile), foundations)
