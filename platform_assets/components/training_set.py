"""The training set: sampled rows with features as known then, through Feast, and what they were read from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets import names
from platform_assets.components.drawing import IS_TRIAL, ROW_KEY, horizons, to_fit_on
from platform_assets.components.judged_window import champion_manifest, evaluation_window
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.service_features import features_of, services
from platform_assets.components.training_choice import FACT, Drawn, alarm_of, chosen, told
from platform_assets.errors import ConcurrentWriteError, EmptyFrameError, ModelError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.demand.masks import Mask
    from platform_assets.science.manifest import Kind, Manifest
    from platform_assets.science.splits import Origin

JOIN_ATTEMPTS: Final = 3  # while somebody writes the views that are joined
READ: Final = "perennial.read"  # of the training set's commit: versions of the tables that it was made of


def build_training_set(
    spec: ModelSpec, context: dg.AssetExecutionContext, masks: Sequence[Mask] = ()
) -> dg.MaterializeResult:
    """Sampled rows for fitting and all rows of the evaluation window, joined point in time and labelled.

    Rows are drawn as the run, or else the policy, says to train. Forecasts issued within `masks` are neither learned from
    nor judged.
    """
    import polars as pl

    from platform_assets.science.demand import labels, panel, sampling
    from platform_assets.science.readiness import check_history

    res = context.resources
    how = Drawn(chosen(spec, context.run.tags), tuple(masks))
    sales_version = res.tables.version(names.SALES)
    sales = issued_sales(spec, res, sales_version)
    periods = panel.periods(sales).collect()
    champion = champion_manifest(spec, res)[1]  # is judged on the same rows, perhaps by other features
    origins = evaluation_origins(
        spec,
        periods,
        res.source,
        champion,
        judged_days=how.train_on.judged_days,
        alarm_on=alarm_of(context.run.tags.get(names.TAG_CAUSE, "")),
    )
    first_on = periods[names.PERIOD_ON].min()
    check_history(spec.name, first_on, origins, label_days=horizons(spec, res.source)[0])  # pyright: ignore[reportArgumentType]
    judged = sampling.evaluation_rows(
        sales, issued_on=[origin.issued_on for origin in origins], horizons=horizons(spec, res.source), masks=masks
    )
    if judged.is_empty():
        raise EmptyFrameError(
            f"{spec.name}/training_set: all {len(origins)} origins of the evaluation window lie within masks: {told(masks)}",
            hint="wait until later periods can judge, or ask for more `origins` in defs.yaml",
        )
    opens_at = evaluation_window(judged["issued_at"].to_list(), champion).opens_at
    fit = to_fit_on(spec, res.source, sales, how, opens_at)
    context.log.info(
        f"{fit.height:,} rows to fit on, {judged.height:,} to judge on, {len(origins)} origins; joining {spec.feature_service}"
    )
    is_judged = {"purpose": pl.lit("evaluation"), IS_TRIAL: pl.lit(value=False)}
    entities = pl.concat([fit, judged.with_columns(**is_judged)])
    joined, views = _joined(spec, res, entities)
    labelled = labels.attach(derived(spec, res, joined), sales, label=spec.label)
    missing = sorted(set(spec.features) - set(labelled.columns))
    if missing:
        raise ModelError(
            f"{spec.name}/training_set: features {missing} are not in Feast service `{spec.feature_service}`",
            hint="add their view to the service in feature_repo/services.py, or remove them from defs.yaml",
        )
    wanted = [*spec.features, *(champion.features if champion else ()), spec.label, "label_known_at"]
    keep = dict.fromkeys([*ROW_KEY, "horizon_days", "purpose", IS_TRIAL, *wanted])
    frame = labelled.select([name for name in keep if name in labelled.columns]).sort(["purpose", *ROW_KEY])
    if frame.filter(pl.col("purpose") == "fit").is_empty():
        raise EmptyFrameError(f"{spec.name}/training_set: no rows to fit on; sales spans {periods.height} open periods")
    read = {names.SALES: sales_version, **views}
    table = names.table_name(names.model_key(spec.name, "training_set"))
    version = res.tables.replace(table, frame, facts={READ: json.dumps(read, sort_keys=True), FACT: how.to_json()})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{sales_version}-{version}"),
        metadata={
            "dagster/row_count": frame.height,
            "train on": how.train_on.told,
            "masks": told(masks),
            "rows to fit on": fit.height,
            "rows to judge on": judged.height,
            "series": frame["series_id"].n_unique(),
            "rows without label": frame[spec.label].null_count(),
            "table version": version,
            **{f"{name} version": number for name, number in read.items()},
            "origins": ", ".join(str(origin.issued_on) for origin in origins),
            "dagster/column_schema": _schema(frame),
        },
    )


def derived(spec: ModelSpec, res: Any, joined: pl.DataFrame) -> pl.DataFrame:
    """Joined rows with what is computed from their columns and from the calendar."""
    from platform_assets.science.demand import rows

    return rows.derive(
        joined,
        country=res.source.holidays,
        period_days=res.source.period_days,
        features=features_of(spec.feature_service),
    )


def evaluation_origins(
    spec: ModelSpec,
    periods: pl.DataFrame,
    source: Any,
    champion: Manifest | None = None,
    *,
    judged_days: int | None = None,
    alarm_on: date | None = None,
) -> list[Origin]:
    """Origins of the evaluation window, which ends with the last known open period.

    Where enough has come since the champion's last label, they show what the newer half of it says of both; with
    `judged_days` what that many last days say, if the champion has not seen them. Without, the half does not begin before
    the first day of the alarm that is answered: what is judged would know nothing of it.
    """
    import polars as pl

    from platform_assets.science.splits import newest_origin, refresh_origins, rolling_origins

    last: date | None = periods[names.PERIOD_ON].max()  # pyright: ignore[reportAssignmentType]
    if last is None:
        raise EmptyFrameError(f"{spec.name}/training_set: sales has no period in which anything was sold")
    step, period_days = max(spec.horizon_days, source.period_days), source.period_days
    if champion is not None:
        seen: date | None = periods.filter(pl.col(names.EVENT_AT) <= champion.shipped.cut_at)[names.PERIOD_ON].max()  # pyright: ignore[reportAssignmentType]
        is_whole = spec.label != names.UNITS
        if judged_days is not None:
            days = max(judged_days, step) if is_whole else judged_days
            newest = newest_origin(last, days, period_days=period_days)
            if seen is not None and newest.issued_on >= seen:
                return [newest]
        newer = refresh_origins(
            last, seen or last, spec.origins, step, period_days=period_days, is_whole=is_whole, alarm_on=alarm_on
        )
        if newer:
            return newer
    return rolling_origins(last, spec.origins, step, period_days=period_days)


def _joined(spec: ModelSpec, res: Any, entities: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows with their features, and the versions of the views' tables that they were read from."""
    for _ in range(JOIN_ATTEMPTS):
        before = _view_versions(spec, res.tables)
        joined = res.feature_store.historical(entities, spec.feature_service)
        if _view_versions(spec, res.tables) == before:
            return joined, before
    raise ConcurrentWriteError(
        f"{spec.name}/training_set: its feature views were written during each of {JOIN_ATTEMPTS} joins",
        hint="materialize it again when they are at rest",
    )


def _view_versions(spec: ModelSpec, tables: Any) -> dict[str, int]:
    found = [names.table_name(names.view_key(view)) for view in services()[spec.feature_service]]
    return {name: tables.version(name) for name in found if tables.exists(name)}


def issued_sales(spec: ModelSpec, res: Any, version: int | None = None) -> pl.LazyFrame:
    """Sales as known at the platform's now, up to the last period that the model's features have been computed for.

    A day's features follow its sales by a run or two: a forecast issued between the two would join the day before's.
    """
    import polars as pl

    from platform_assets.science.demand import columns

    sales = known_sales(res, version)
    tables = [
        names.table_name(names.view_key(view))
        for view in services()[spec.feature_service]
        if view in columns.EVERY_PERIOD
    ]
    ends = [
        res.tables.scan(table).select(pl.col(names.EVENT_AT).max()).collect().item()
        for table in tables
        if res.tables.exists(table)
    ]
    return sales.filter(pl.col(names.EVENT_AT) <= min(ends)) if ends and None not in ends else sales


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


@dataclass(frozen=True)
class TrainingSet:
    """A pinned training set, its parts in a stated order.

    `fit` is for the model that is shipped, `trial` for the one that is judged; the same rows where all history is drawn alike.
    """

    fit: pl.DataFrame
    trial: pl.DataFrame
    judged: pl.DataFrame
    version: int

    def rows_of(self, kind: Kind) -> pl.DataFrame:
        """Rows of which a fit of this kind takes those whose labels were known by its cut."""
        return self.fit if kind == "shipped" else self.trial

    @property
    def known_at(self) -> datetime:
        """When the last label of the fit rows was known."""
        return self.fit["label_known_at"].max()  # pyright: ignore[reportReturnType]


def read_judged(spec: ModelSpec, tables: Any, version: int, since: datetime) -> pl.DataFrame:
    """Rows to judge on of a version of the training set, of forecasts issued from an instant on, sorted."""
    import polars as pl

    is_wanted = (pl.col("purpose") == "evaluation") & (pl.col("issued_at") >= since)
    rows = tables.scan(names.table_name(names.model_key(spec.name, "training_set")), version=version).filter(is_wanted)
    return rows.sort(ROW_KEY).collect()


def read_training_set(spec: ModelSpec, tables: Any, version: int | None = None) -> TrainingSet:
    """The training set of a version of its table, rows with a label only, sorted."""
    import polars as pl

    name = names.table_name(names.model_key(spec.name, "training_set"))
    found: int = tables.version(name) if version is None else version
    frame = tables.scan(name, version=found).sort(["purpose", *ROW_KEY]).collect()
    labelled = frame.filter(pl.col(spec.label).is_not_null() & pl.col("label_known_at").is_not_null())
    is_fit, is_trial = pl.col("purpose") == "fit", pl.col("purpose").is_in(["fit", "trial"])
    if IS_TRIAL in frame.columns:  # not in sets of before it was kept
        is_trial &= pl.col(IS_TRIAL)
    fit = labelled.filter(is_fit).drop(IS_TRIAL, strict=False)
    is_same = labelled.select((is_fit == is_trial).all()).item()  # one frame then: it may be large
    trial = fit if is_same else labelled.filter(is_trial).sort(ROW_KEY).drop(IS_TRIAL)
    judged = frame.filter(pl.col("purpose") == "evaluation").drop(IS_TRIAL, strict=False)
    return TrainingSet(fit, trial, judged, found)
