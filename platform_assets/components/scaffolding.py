"""What `dg scaffold defs platform_assets.components.TrainedModel models/<name>` writes."""

from typing import Literal

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder
from pydantic import BaseModel, Field

TRAIN = '''\
"""{title}: how it is fitted. Everything else of its life is the platform's."""

import polars as pl

from platform_assets.science.fitting import FitSettings, FittedModel
from platform_assets.science.trees import {model_class}


def fit(rows: pl.DataFrame, settings: FitSettings) -> FittedModel:
    """Fit on `rows` (one per series, issue time and target day; label in `settings.label`)."""
    return {model_class}.fit(rows, settings)
'''

CARD = """\
# {title}

What it predicts, for whom, what it must not be used for. Figures are in its evaluation report, not here.
"""


class ModelParameters(BaseModel):
    """Options of the scaffold command."""

    task: Literal["quantiles", "probability"] = Field(default="quantiles", description="what it predicts")
    label: Literal["units", "is_dormant"] = Field(default="units", description="label column")
    feature_service: str = Field(default="demand_v1", description="Feast feature service")
    horizon_days: int = Field(default=28, description="days ahead")


class TrainedModelScaffolder(Scaffolder[ModelParameters]):
    """Writes defs.yaml, train.py and card.md of a LightGBM model that trains as it stands."""

    @classmethod
    def get_scaffold_params(cls) -> type[ModelParameters]:
        return ModelParameters

    def scaffold(self, request: dg.ScaffoldRequest[ModelParameters]) -> None:
        name, chosen = request.target_path.name, request.params
        attributes = {"description": f"{name}: say what it predicts, and for whom.", **chosen.model_dump()}
        dg.scaffold_component(request, {**attributes, "trainer": "train.fit", "compute": "small", "kind": "lightgbm"})
        model_class = "TreeQuantiles" if chosen.task == "quantiles" else "TreeProbability"
        (request.target_path / "train.py").write_text(TRAIN.format(title=name, model_class=model_class))
        (request.target_path / "card.md").write_text(CARD.format(title=name))
