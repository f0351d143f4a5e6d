"""Training set and candidate: the first two stages of a model's life."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.service_features import features_of
from platform_assets.errors import EmptyFrameError, ModelError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.fitting import FitSettings, FittedModel
    from platform_assets.science.manifest import Fit, Manifest
    from platform_assets.science.splits import Origin

RECENT_DAYS = 56  # what `recent_density` calls recent
LOCAL_IMAGE = "none: a local process"
ROW_KEY = ["series_id", "issued_at", "target_on"]


def build_training_set(spec: ModelSpec, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Sampled rows for fitting and all rows of the evaluation window, joined point in time and labelled."""
    import polars as pl

    from platform_assets.components.evaluating import champion_manifest
    from platform_assets.science.demand import labels, panel, rows, sampling

    res = context.resources
    sales_version = res.tables.version(names.SALES)
    sales = known_sales(res, sales_version)
    periods = panel.periods(sales).collect()
    champion = champion_manifest(spec, res)[1]  # is judged on the same rows, perhaps by other features
    origins = evaluation_origins(spec, periods, res.source, champion)
    fit = sampling.fit_rows(
        sales,
        rows=min(spec.rows, spec.rows_per_series * _live_series(sales)),
        horizons=horizons(spec, res.source),
        recent_days=RECENT_DAYS,
        recent_density=spec.recent_density,
        are_targets_open=spec.label == names.UNITS,
        seed=spec.seed,
    )
    judged = sampling.evaluation_rows(
        sales, issued_on=[origin.issued_on for origin in origins], horizons=horizons(spec, res.source)
    )
    context.log.info(
        f"{fit.height:,} rows to fit on, {judged.height:,} to judge on, {len(origins)} origins; joining {spec.feature_service}"
    )
    entities = pl.concat([fit.with_columns(purpose=pl.lit("fit")), judged.with_columns(purpose=pl.lit("evaluation"))])
    joined = res.feature_store.historical(entities, spec.feature_service)
    derived = rows.derive(
        joined,
        country=res.source.country,
        period_days=res.source.period_days,
        features=features_of(spec.feature_service),
    )
    labelled = labels.attach(derived, sales, label=spec.label)
    missing = sorted(set(spec.features) - set(labelled.columns))
    if missing:
        raise ModelError(
            f"{spec.name}/training_set: features {missing} are not in Feast service `{spec.feature_service}`",
            hint="add their view to the service in feature_repo/services.py, or remove them from defs.yaml",
        )
    wanted = [*spec.features, *(champion.features if champion else ()), spec.label, "label_known_at"]
    keep = dict.fromkeys([*ROW_KEY, "horizon_days", "purpose", *wanted])
    frame = labelled.select([name for name in keep if name in labelled.columns]).sort(["purpose", *ROW_KEY])
    if frame.filter(pl.col("purpose") == "fit").is_empty():
        raise EmptyFrameError(f"{spec.name}/training_set: no rows to fit on; sales spans {periods.height} open periods")
    version = res.tables.replace(names.table_name(names.model_key(spec.name, "training_set")), frame)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{sales_version}-{version}"),
        metadata={
            "dagster/row_count": frame.height,
            "rows to fit on": fit.height,
            "rows to judge on": judged.height,
            "series": frame["series_id"].n_unique(),
            "rows without label": frame[spec.label].null_count(),
            "table version": version,
            "sales version": sales_version,
            "origins": ", ".join(str(origin.issued_on) for origin in origins),
            "dagster/column_schema": _schema(frame),
        },
    )


def evaluation_origins(
    spec: ModelSpec, periods: pl.DataFrame, source: Any, champion: Manifest | None = None
) -> list[Origin]:
    """Origins of the evaluation window, which ends with the last known open period.

    Where enough has come since the champion's last label, they show what the newer half of it says of both.
    """
    import polars as pl

    from platform_assets.science.splits import refresh_origins, rolling_origins

    last: date | None = periods[names.PERIOD_ON].max()  # pyright: ignore[reportAssignmentType]
    if last is None:
        raise EmptyFrameError(f"{spec.name}/training_set: sales has no period in which anything was sold")
    step, period_days = max(spec.horizon_days, source.period_days), source.period_days
    if champion is not None:
        seen = periods.filter(pl.col(names.EVENT_AT) <= champion.shipped.cut_at)[names.PERIOD_ON].max()
        is_whole = spec.label != names.UNITS
        newer = refresh_origins(last, seen or last, spec.origins, step, period_days=period_days, is_whole=is_whole)  # pyright: ignore[reportArgumentType]
        if newer:
            return newer
    return rolling_origins(last, spec.origins, step, period_days=period_days)


def _live_series(sales: pl.LazyFrame) -> int:
    import polars as pl

    return sales.filter(pl.col(names.UNITS) > 0).select(pl.col(names.SERIES_ID).n_unique()).collect().item()


def horizons(spec: ModelSpec, source: Any) -> tuple[int, ...]:
    """Days ahead of the rows: each period of the horizon, or its end where the label spans the horizon."""
    if spec.label != names.UNITS:
        return (spec.horizon_days,)
    return tuple(range(source.period_days, spec.horizon_days + 1, source.period_days))


def known_sales(res: Any, version: int | None = None) -> pl.LazyFrame:
    """Sales as known at the platform's now."""
    import polars as pl

    return res.tables.scan(names.SALES, version=version).filter(pl.col(names.KNOWN_AT) <= res.clock.now())


def _schema(frame: pl.DataFrame) -> dg.TableSchema:
    from platform_assets.science.demand import columns

    return dg.TableSchema(
        [
            dg.TableColumn(name, str(dtype), description=columns.DESCRIPTIONS.get(name))
            for name, dtype in frame.schema.items()
        ]
    )


# --- candidate -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingSet:
    """A pinned training set: its two parts, in a stated order."""

    fit: pl.DataFrame
    judged: pl.DataFrame
    version: int

    def judged_from(self, at: datetime) -> pl.DataFrame:
        """Rows of forecasts issued from this instant on."""
        import polars as pl

        return self.judged.filter(pl.col("issued_at") >= at)

    @property
    def known_at(self) -> datetime:
        """When the last label of the fit rows was known."""
        return self.fit["label_known_at"].max()  # pyright: ignore[reportReturnType]


def read_training_set(spec: ModelSpec, tables: Any, version: int | None = None) -> TrainingSet:
    """The training set of a version of its table, rows with a label only, sorted."""
    import polars as pl

    name = names.table_name(names.model_key(spec.name, "training_set"))
    found: int = tables.version(name) if version is None else version
    frame = tables.scan(name, version=found).sort(["purpose", *ROW_KEY]).collect()
    labelled = frame.filter(pl.col(spec.label).is_not_null() & pl.col("label_known_at").is_not_null())
    return TrainingSet(
        labelled.filter(pl.col("purpose") == "fit"), frame.filter(pl.col("purpose") == "evaluation"), found
    )


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
    from platform_assets.components.evaluating import champion_manifest, evaluation_window
    from platform_assets.components.tuning_run import search
    from platform_assets.science.fingerprint import probe
    from platform_assets.science.manifest import Manifest
    from platform_assets.science.tasks import TASKS
    from resources.provenance import code_of, platform_name

    res, log = context.resources, context.log
    rows = read_training_set(spec, res.tables)
    _, champion = champion_manifest(spec, res)
    window = evaluation_window(rows.judged["issued_at"].to_list(), champion)
    reason = context.run.tags.get(names.TAG_REASON, "launched by hand")
    profile = res.compute.profile(spec.compute)
    device = profile.device()
    if profile.gpu and device == "cpu":  # in its place one core: equal bytes on every machine
        profile = replace(profile, threads=1)
    with profile.limits(), res.registry.open_run(spec.name, context=context, tags={names.TAG_REASON: reason}) as run:
        settings = settings_of(spec, threads=profile.threads, device=device, progress=log.info)
        if spec.tuning:
            settings = search(spec, rows.fit, window.opens_at, settings, run, log)
        log.info(f"fit 1 of 2: labels known by {window.opens_at:%Y-%m-%d}, to be judged on what came after")
        judged, judged_fit = fit_once(spec, rows.fit, settings, window.opens_at)
        log.info(f"fit 2 of 2: all {rows.fit.height:,} rows, to be shipped")
        shipped, shipped_fit = fit_once(spec, rows.fit, settings, rows.known_at)
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
                names.table_name(names.model_key(spec.name, "training_set")): rows.version,
                **_table_versions(res.tables),
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
        )
        run.log(
            params={
                **settings.parameters,
                "rows": rows.fit.height,
                "seed": spec.seed,
                "features": len(spec.features),
                "task": spec.task,
            },
            tags={names.TAG_REASON: reason, "perennial/training_set_version": str(rows.version)},
        )
        version = res.registry.register(
            run,
            manifest=manifest,
            shipped=shipped.files(),
            evaluation=judged.files(),
            inputs=sample,
            answers=shipped.predict(sample),
            tags={names.TAG_CAUSE: context.run.tags.get(names.TAG_CAUSE, "manual")},
        )
    return dg.MaterializeResult(
        value={
            "model": spec.name,
            "version": version.version,
            "mlflow_run_id": version.run_id,
            "training_set": rows.version,
            "reason": reason,
            "judged_from": window.opens_at.isoformat(),
        },
        data_version=dg.DataVersion(shipped_fit.weights_sha256[:16]),
        metadata={
            "version": int(version.version),
            "reason": reason,
            "rows": shipped_fit.row_count,
            "rows before the evaluation window": judged_fit.row_count,
            "labels known by": str(rows.known_at),
            "MLflow run": version.run_id,
            "weights": shipped_fit.weights_sha256,
        },
    )


def _table_versions(tables: Any) -> dict[str, int]:
    found = [names.SALES, names.PLANS, *(names.table_name(names.view_key(view)) for view in names.VIEW_NAMES)]
    return {name: tables.version(name) for name in found if tables.exists(name)}
