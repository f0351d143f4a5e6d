"""A search for the trainer's parameters before a training, its trials in the training's MLflow run."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from platform_assets.components.model_spec import ModelSpec

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from platform_assets.science.fitting import FitSettings
    from platform_assets.science.tuning import Trial


def search(
    spec: ModelSpec, rows: pl.DataFrame, opens_at: datetime, settings: FitSettings, run: Any, log: Any
) -> FitSettings:
    """Settings with the best parameters found, judged on the last weeks before the evaluation window.

    Rows to judge parameters on are those issued in the horizon before the window opens; the fits see labels known before that.
    """
    import polars as pl

    from platform_assets.science.splits import fit_mask
    from platform_assets.science.tasks import TASKS
    from platform_assets.science.tuning import TuningPlan, tune

    plan = TuningPlan.from_mapping(spec.tuning)
    if plan is None:
        return settings
    cut = opens_at - timedelta(days=2 * spec.horizon_days)
    seen = rows.filter(fit_mask(rows, cut))
    judged = rows.filter((pl.col("issued_at") >= cut) & fit_mask(rows, opens_at))
    task, trainer = TASKS[spec.task], importlib.import_module(spec.module).__dict__[spec.trainer]

    def loss_of(parameters: dict[str, Any]) -> float:
        fitted = trainer(seen, replace(settings, parameters={**settings.parameters, **parameters}))
        return float(task.loss(judged[spec.label], fitted.predict(judged)).mean())  # pyright: ignore[reportArgumentType]

    def keep(trial: Trial) -> None:
        log.info(f"trial {trial.number + 1} of {plan.trials}: loss {trial.loss} with {trial.parameters}")
        told = {f"trial_{trial.number:03d}_{name}": value for name, value in trial.parameters.items()}
        run.log(params=told, metrics={} if trial.loss is None else {f"trial_{trial.number:03d}_loss": trial.loss})

    found = tune(plan, loss_of, seed=spec.seed, on_trial=keep, now=time.monotonic)
    run.log(metrics={"tuning_loss": found.loss}, params={"tuning_trials": len(found.trials)})
    return replace(settings, parameters={**settings.parameters, **found.parameters})
