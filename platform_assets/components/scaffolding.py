"""What `dg scaffold defs platform_assets.components.TrainedModel models/<name>` writes."""

from typing import Literal

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder
from pydantic import BaseModel, Field

QUANTILES = '''\
"""{title}: how it is fitted. Everything else of its life is the platform's."""

import polars as pl

from platform_assets.science import trees
from platform_assets.science.demand.columns import IN_UNITS
from platform_assets.science.fitting import FitSettings, FittedModel

# What `parameters` in defs.yaml may set, and what holds where it does not.
DEFAULTS = {{
    "rounds": 200,
    "learning_rate": 0.07,
    "leaves": 31,
    "min_leaf_rows": 200,
    "column_share": 0.5,
    "row_share": 0.8,
    "bins": 127,
}}


def fit(rows: pl.DataFrame, settings: FitSettings) -> FittedModel:
    """One booster for each quantile, on `rows`: one per series, issue time and target day, all with a label."""
    parameters = trees.known_parameters(settings.parameters, DEFAULTS)
    rows = trees.labelled(rows, settings.label)
    level = "level" if "level" in settings.features else None  # series of every size are measured by their own
    scaled = tuple(name for name in settings.features if level and name in IN_UNITS)
    design = trees.Design(features=settings.features, scaled=scaled, level=level)
    matrix, target = design.matrix(rows), design.target(rows, settings.label)

    def quantile(number: int) -> str:
        objective = {{"objective": "quantile", "alpha": settings.levels[number]}}
        common = {{"seed": settings.seed, "threads": settings.threads}}
        return trees.boost(matrix, target, objective=objective, **common, **parameters)

    return trees.TreeQuantiles(design, trees.fit_each(settings.outputs, settings.progress, quantile))
'''

PROBABILITY = '''\
"""{title}: how it is fitted. Everything else of its life is the platform's."""

import polars as pl

from platform_assets.science import trees
from platform_assets.science.fitting import FitSettings, FittedModel

# What `parameters` in defs.yaml may set, and what holds where it does not.
DEFAULTS = {{
    "rounds": 120,
    "learning_rate": 0.06,
    "leaves": 15,
    "min_leaf_rows": 200,
    "column_share": 0.5,
    "row_share": 0.8,
    "bins": 127,
}}


def fit(rows: pl.DataFrame, settings: FitSettings) -> FittedModel:
    """One booster on `rows`: one per series, issue time and target day, all with a label."""
    parameters = trees.known_parameters(settings.parameters, DEFAULTS)
    rows = trees.labelled(rows, settings.label)
    design = trees.Design(features=settings.features)
    matrix, target = design.matrix(rows), design.target(rows, settings.label)

    def probability(_: int) -> str:
        common = {{"seed": settings.seed, "threads": settings.threads}}
        return trees.boost(matrix, target, objective={{"objective": "binary"}}, **common, **parameters)

    return trees.TreeProbability(design, trees.fit_each(settings.outputs, settings.progress, probability))
'''

# Task to the label that it has where none is named, and the trainer.
TASKS = {"quantiles": ("units", QUANTILES), "probability": ("is_dormant", PROBABILITY)}

CARD = """\
# {title}

What it predicts, for whom, what it must not be used for. Figures are in its evaluation report, not here.
"""


# Behind what is written in defs.yaml: what else it may say.
MORE = """
  # What else may stand here, with examples; all of it has a default (README, Your own model).
  # features: [level, mean_28, weekday_mean_target]  # of the service, all if left out; `perennial features list`
  # parameters: {rounds: 300, leaves: 15}  # those of DEFAULTS in train.py
  # gate: {min_improvement: 0.01, undecided: keep}  # a candidate must be better by 1%, beyond noise
  # retraining: {when: [drift, error, {new_data: {rows: 5000}}, {staleness: 28}], cooldown_days: 7}
  # tuning: {search: bayesian, trials: 20, space: {leaves: {low: 7, high: 63, integer: true}}}
"""


class ModelParameters(BaseModel):
    """Options of the scaffold command."""

    task: Literal["quantiles", "probability"] = Field(default="quantiles", description="what it predicts")
    label: Literal["units", "is_dormant"] | None = Field(default=None, description="label column; by the task")
    feature_service: str = Field(default="demand_v1", description="Feast feature service")
    horizon_days: int = Field(default=28, description="days ahead")


class TrainedModelScaffolder(Scaffolder[ModelParameters]):
    """Writes defs.yaml, train.py and card.md of a LightGBM model that trains as it stands."""

    @classmethod
    def get_scaffold_params(cls) -> type[ModelParameters]:
        return ModelParameters

    def scaffold(self, request: dg.ScaffoldRequest[ModelParameters]) -> None:
        name, chosen = request.target_path.name, request.params
        label, train = TASKS[chosen.task]
        attributes = {
            "description": f"{name}: say what it predicts, and for whom.",
            **chosen.model_dump(),
            "label": chosen.label or label,
        }
        dg.scaffold_component(request, {**attributes, "trainer": "train.fit", "compute": "small", "kind": "lightgbm"})
        settings = request.target_path / "defs.yaml"
        settings.write_text(settings.read_text().rstrip("\n") + "\n" + MORE)
        (request.target_path / "train.py").write_text(train.format(title=name))
        (request.target_path / "card.md").write_text(CARD.format(title=name))
