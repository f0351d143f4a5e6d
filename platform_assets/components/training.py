"""The candidate: the recipe fitted twice, and one version registered with its manifest."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from platform_assets.components.going_on import begin, start_of
from platform_assets.components.judged_window import champion_manifest, evaluation_window
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.training_choice import drawn, tag_of
from platform_assets.components.training_set import READ, read_training_set
from platform_assets.errors import EmptyFrameError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.fitting import FitSettings, FittedModel
    from platform_assets.science.manifest import Fit, Kind

LOCAL_IMAGE = "none: a local process"


def settings_of(spec: ModelSpec, *, threads: int, device: str, progress: Any) -> FitSettings:
    """What the trainer receives."""
    from platform_assets.science.fitting import FitSettings
    from platform_assets.science.tasks import TASKS

    task = TASKS[spec.task]
    return FitSettings(
        features=spec.features,
        label=spec.label,
        outputs=task.outputs,
        levels=task.levels,
        parameters=dict(spec.parameters),
        seed=spec.seed,
        threads=threads,
        device=device,
        progress=progress,
    )


def fit_once(spec: ModelSpec, rows: pl.DataFrame, settings: FitSettings, cut_at: datetime) -> tuple[FittedModel, Fit]:
    """One fit of the recipe on rows whose labels were known by the cut, and what a manifest says of it."""
    from platform_assets.science.fingerprint import content_hash, probe
    from platform_assets.science.formats import weights_hash
    from platform_assets.science.manifest import Fit
    from platform_assets.science.splits import fit_mask

    known = rows.filter(fit_mask(rows, cut_at))
    if known.is_empty():
        raise EmptyFrameError(
            f"{spec.name}: no label was known by {cut_at:%Y-%m-%d %H:%M} UTC; the first of {rows.height} rows is of {rows['label_known_at'].min()}",
            hint="more history, fewer `origins` or a shorter `horizon_days` in defs.yaml",
        )
    model = importlib.import_module(spec.module).__dict__[spec.trainer](known, settings)
    answers = model.predict(probe(known))
    return model, Fit(
        cut_at=cut_at,
        row_count=known.height,
        rows_sha256=content_hash(known),
        predictions_sha256=content_hash(answers),
        weights_sha256=weights_hash(model.files()),
    )


def train_candidate(spec: ModelSpec, context: dg.AssetExecutionContext) -> dg.MaterializeResult[dict[str, Any]]:
    """Fit twice, register one version with its manifest."""
    from platform_assets.components.tuning_run import search
    from platform_assets.science.fingerprint import probe
    from platform_assets.science.manifest import Manifest
    from platform_assets.science.tasks import TASKS
    from resources.provenance import code_of, platform_name

    res, log = context.resources, context.log
    rows, table = read_training_set(spec, res.tables), names.table_name(names.model_key(spec.name, "training_set"))
    how = drawn(res.tables, table, rows.version)
    _, champion = champion_manifest(spec, res)
    window = evaluation_window(rows.judged["issued_at"].to_list(), champion)
    reason = context.run.tags.get(names.TAG_REASON, "launched by hand")
    log.info(f"learns from {how.train_on.told}")
    profile = res.compute.profile(spec.compute)
    device = profile.device()
    if profile.gpu and device == "cpu":  # in its place one core: equal bytes on every machine
        profile = replace(profile, threads=1)
    with profile.limits(), res.registry.open_run(spec.name, context=context, tags={names.TAG_REASON: reason}) as run:
        settings = settings_of(spec, threads=profile.threads, device=device, progress=log.info)
        if spec.tuning:
            settings = search(spec, rows.trial, window.opens_at, settings, run, log)
        cuts: dict[Kind, datetime] = {"evaluation": window.opens_at, "shipped": rows.known_at}
        began, told = begin(spec, res, how, cuts, settings)
        log.info(f"begins from {told}")
        starts = {kind: start_of(res.registry, spec.name, began.get(kind)) for kind in cuts}
        log.info(f"fit 1 of 2: labels known by {window.opens_at:%Y-%m-%d}, to be judged on what came after")
        judged, judged_fit = fit_once(spec, rows.trial, replace(settings, start=starts["evaluation"]), window.opens_at)
        log.info(f"fit 2 of 2: all {rows.fit.height:,} rows, to be shipped")
        shipped, shipped_fit = fit_once(spec, rows.fit, replace(settings, start=starts["shipped"]), rows.known_at)
        task, sample = TASKS[spec.task], probe(rows.fit).select(spec.features)
        module = sys.modules[spec.module].__file__
        assert module is not None
        manifest = Manifest(
            model=spec.name,
            format=shipped.format,
            task=spec.task,
            reason=reason,
            created_at=res.clock.wall_now(),
            tables={
                table: rows.version,
                **json.loads(res.tables.fact(table, READ, rows.version)),
            },
            views=res.feature_store.view_hashes(spec.feature_service),
            code=code_of(Path(module)),
            image=res.compute.image(spec.compute) or LOCAL_IMAGE,
            platform=platform_name(),
            features=spec.features,
            label=spec.label,
            outputs=task.outputs,
            levels=task.levels,
            parameters=dict(settings.parameters),
            seed=spec.seed,
            threads=profile.threads,
            device=device,
            shipped=shipped_fit,
            evaluation=judged_fit,
            train_on=how.train_on.to_dict(),
            began=began,
            masks=tuple(mask.to_dict() for mask in how.masks),
        )
        run.log(
            params={
                **settings.parameters,
                "rows": rows.fit.height,
                "seed": spec.seed,
                "features": len(spec.features),
                "task": spec.task,
                "train_on": how.train_on.told,
            },
            tags={
                names.TAG_REASON: reason,
                names.TAG_TRAIN_ON: tag_of(how.train_on),
                "perennial/began_from": told,
                "perennial/training_set_version": str(rows.version),
            },
        )
        version = res.registry.register(
            run,
            manifest=manifest,
            shipped=shipped.files(),
            evaluation=judged.files(),
            inputs=sample,
            answers=shipped.predict(sample),
            tags={
                names.TAG_CAUSE: context.run.tags.get(names.TAG_CAUSE, "manual"),
                names.TAG_TRAIN_ON: tag_of(how.train_on),
                "perennial/began_from": told,
            },
        )
    return dg.MaterializeResult(
        value={
            "model": spec.name,
            "version": version.version,
            "mlflow_run_id": version.run_id,
            "training_set": rows.version,
            "reason": reason,
            "cause": context.run.tags.get(names.TAG_CAUSE, ""),
            "judged_from": window.opens_at.isoformat(),
        },
        data_version=dg.DataVersion(shipped_fit.weights_sha256[:16]),
        metadata={
            "version": int(version.version),
            "reason": reason,
            "train on": how.train_on.told,
            "began from": told,
            "rows": shipped_fit.row_count,
            "rows before the evaluation window": judged_fit.row_count,
            "labels known by": str(rows.known_at),
            "MLflow run": version.run_id,
            "weights": shipped_fit.weights_sha256,
        },
    )
