"""The champion's inputs now against a named reference: the checks `feature_drift` and `input_faults`, and their report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets import names
from platform_assets.components.drawing import horizons
from platform_assets.components.model_spec import ModelSpec
from platform_assets.errors import EmptyFrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from platform_assets.science.demand.masks import Mask
    from platform_assets.science.input_watch import Samples
    from platform_assets.science.manifest import Manifest
    from platform_assets.science.monitoring import Verdict
    from platform_assets.science.skew import Finding

CHECKS: Final = ("feature_drift", "input_faults")
OCCASION_ROWS: Final = 150  # drawn of each day of a window that is counted from now
VOLUME_WEEKS: Final = 13  # that a period's volume is compared with


@dataclass(frozen=True)
class Inputs:
    """Verdicts on the champion's inputs, and where their report lies; None where there was nothing to draw."""

    drift: Verdict
    faults: Verdict
    findings: tuple[Finding, ...] = ()
    report: str | None = None

    @property
    def results(self) -> list[dg.AssetCheckResult]:
        """As Dagster records them."""
        link = {} if self.report is None else {"report": dg.MetadataValue.path(self.report)}
        told = [
            {"what": one.kind, "where": one.where, "found": one.found, "expected": one.expected}
            for one in self.findings
        ]
        more = {"feature_drift": link, "input_faults": {**link, "findings": dg.MetadataValue.json(told)}}
        return [
            dg.AssetCheckResult(
                check_name=name,
                passed=verdict.passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=verdict.about,
                metadata={**verdict.metadata, **more[name]},
            )
            for name, verdict in zip(CHECKS, (self.drift, self.faults), strict=True)
        ]


def check_inputs(spec: ModelSpec, res: Any, version: str, manifest: Manifest) -> Inputs:
    """The rows issued last against the reference that the model's defs.yaml names, and a report of both."""
    from platform_assets.science import input_watch
    from platform_assets.science.demand import columns
    from platform_assets.science.drift_report import DriftPage, build
    from platform_assets.science.joint_shift import joint_shift
    from platform_assets.science.reference_window import REFERENCES

    of = _sides(spec, res, manifest)
    issued, drawn = of.issued, of.drawn
    as_of: date = issued["issued_at"].max().date()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue, reportAssignmentType]
    findings = [
        *_volume(of.sales),
        *([] if drawn is None else input_watch.input_faults(drawn, issued, manifest.features, defined=spec.features)),
    ]
    faults = input_watch.judge_faults(findings, champion=version, as_of=as_of)
    if drawn is None:
        nothing = input_watch.judge_inputs(_nothing(), champion=version, as_of=as_of)
        return Inputs(_saying(nothing, f"reference `{of.named}`: {of.about}"), faults, tuple(findings))
    compared = of.compared
    drift = input_watch.input_drift(of.reference, issued, compared, weights=of.weights)
    with res.compute.profile(spec.compute).limits():
        joint = joint_shift(drawn.reference, drawn.current, compared, group="series_id", window="issued_at")
    verdict = input_watch.judge_inputs(drift, champion=version, as_of=as_of)
    verdict = _saying(verdict, f"{verdict.about}; reference: {REFERENCES[of.named]}", input_watch.told_joint(joint))
    page = build(
        DriftPage(
            title=f"{spec.name}@{version}: inputs of {as_of}",
            verdict=verdict.about + ("" if faults.passed else f"; {faults.statistic:.0f} faults of the rows"),
            has_passed=verdict.passed and faults.passed,
            about_reference=f"{REFERENCES[of.named]}, {of.about}",
            about_current=f"{issued.height:,} rows issued on {as_of}, in {len(drawn.draws)} draws of about {drawn.current.height:,}, "
            "drawn as the reference's were",
            reference=drawn.reference,
            current=drawn.pooled,
            drift=drift,
            findings=findings,
            joint=joint,
            descriptions=columns.DESCRIPTIONS,
        )
    )
    folder = f"reports/{spec.name}/drift"
    res.artifacts.put(f"{folder}/latest.html", page.encode())
    return Inputs(
        verdict, faults, tuple(findings), res.artifacts.put(f"{folder}/{version}-{as_of}.html", page.encode())
    )


def compared_rows(spec: ModelSpec, res: Any, manifest: Manifest) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The columns that drift is judged by, of the reference and of the rows issued last, drawn as the check draws them."""
    of = _sides(spec, res, manifest)
    if of.drawn is None:
        raise EmptyFrameError(f"{spec.name}: no rows of the reference `{of.named}`: {of.about}")
    return of.drawn.reference.select(of.compared), of.drawn.current.select(of.compared)


@dataclass(frozen=True)
class _Sides:
    """The reference, its name and what it is in words; the rows issued last, from `sales`; what is drawn of both.

    drawn: None without a reference; compared: columns that drift is judged by.
    """

    named: str
    about: str
    reference: pl.DataFrame
    issued: pl.DataFrame
    sales: pl.LazyFrame
    weights: pl.DataFrame
    drawn: Samples | None
    compared: list[str]


def _sides(spec: ModelSpec, res: Any, manifest: Manifest) -> _Sides:
    from platform_assets.components.predicting import feature_rows
    from platform_assets.components.quarantine_masks import masks_of
    from platform_assets.components.training_set import issued_sales
    from platform_assets.science import input_watch
    from platform_assets.science.demand import columns, sampling
    from platform_assets.science.demand.masks import masked
    from platform_assets.science.reference_window import MonitoringSettings

    named = MonitoringSettings.from_mapping(spec.monitoring).reference
    masks = masks_of(res.ledger, res.source, res.clock.now())
    issued, sales = feature_rows(spec, res), issued_sales(spec, res)
    if not (sound := masked(issued, masks)).is_empty():
        issued = sound  # what is under quarantine is known to be broken
    reference, about = _reference(spec, res, manifest, sales, named, masks)
    weights = sampling.last_weights(sales, are_targets_open=spec.label == names.UNITS)
    if reference.is_empty():
        return _Sides(named, about, reference, issued, sales, weights, None, [])
    drawn = input_watch.samples(reference, issued, weights=weights)
    watched = [name for name in manifest.features if name not in columns.CALENDAR]
    compared = input_watch.comparable(drawn.reference, drawn.current, watched)
    return _Sides(named, about, reference, issued, sales, weights, drawn, compared)


def _reference(
    spec: ModelSpec, res: Any, manifest: Manifest, sales: pl.LazyFrame, reference: str, masks: Sequence[Mask]
) -> tuple[pl.DataFrame, str]:
    """Rows of past issues with their features, and what they are in words; none where the history is too short."""
    from platform_assets.components.training_set import derived, read_training_set
    from platform_assets.science.demand import panel, sampling
    from platform_assets.science.feature_drift import LEAST_WINDOWS
    from platform_assets.science.reference_window import TRAINING, window_of

    if reference == TRAINING:
        trained = names.table_name(names.model_key(spec.name, "training_set"))
        rows = read_training_set(spec, res.tables, manifest.tables[trained]).fit
        return rows, f"{rows.height:,} rows issued from {_day(rows, 'min')} to {_day(rows, 'max')}"
    periods = panel.periods(sales).collect()[names.PERIOD_ON]
    first_on, last_on = window_of(reference, periods.max(), spec.horizon_days)  # pyright: ignore[reportArgumentType]
    inside = periods.filter(periods.is_between(first_on, last_on))
    short = (
        f"needs {LEAST_WINDOWS} issues from {first_on} to {last_on}; sales of {len(inside)} periods there are known, the first of all "
        f"on {periods.min()}"
    )
    if len(inside) < LEAST_WINDOWS:
        return _nothing(), short
    entities = sampling.fit_rows(
        sales,
        rows=OCCASION_ROWS * len(inside),
        horizons=horizons(spec, res.source),
        start_on=first_on,
        end_on=last_on,
        are_targets_open=spec.label == names.UNITS,
        masks=masks,
        seed=spec.seed,
    )
    if entities.is_empty():
        return _nothing(), short
    rows = derived(spec, res, res.feature_store.historical(entities, spec.feature_service))
    return rows, f"{rows.height:,} rows issued from {_day(rows, 'min')} to {_day(rows, 'max')}"


def _volume(sales: pl.LazyFrame) -> list[Finding]:
    """Whether the last period has about as many series, and as many that sold, as the same weekday before it."""
    import polars as pl

    from platform_assets.science import skew
    from platform_assets.science.demand import panel, sampling

    last_on: date | None = panel.periods(sales).collect()[names.PERIOD_ON].max()  # pyright: ignore[reportAssignmentType]
    if last_on is None:
        return []
    since = last_on - timedelta(weeks=VOLUME_WEEKS)
    rows = sales.filter(pl.col(names.PERIOD_ON) >= since).select(
        names.SERIES_ID, names.PERIOD_ON, names.KNOWN_AT, names.UNITS
    )
    recent = rows.collect()
    sold = recent.filter(pl.col(names.UNITS) > 0).group_by(names.PERIOD_ON).agg(sold=pl.col(names.SERIES_ID).n_unique())
    live = sampling.live(sales, start_on=since, end_on=last_on).group_by(names.PERIOD_ON).agg(live=pl.len())
    counts = live.join(sold, on=names.PERIOD_ON, how="left").fill_null(0).sort(names.PERIOD_ON)
    found = skew.volume_skew(counts, {"live": "series to forecast", "sold": "series that sold"}, period=names.PERIOD_ON)
    return found + skew.duplicate_skew(recent, [names.SERIES_ID, names.PERIOD_ON, names.KNOWN_AT], "sales")


def _nothing() -> pl.DataFrame:
    import polars as pl

    from platform_assets.science.feature_drift import DRIFT_SCHEMA

    return pl.DataFrame(schema=DRIFT_SCHEMA)


def _saying(verdict: Verdict, about: str, figures: Any = None) -> Verdict:
    from dataclasses import replace

    kept = {name: value for name, value in {**verdict.figures, **(figures or {})}.items() if math.isfinite(value)}
    return replace(verdict, about=about, figures=kept)


def _day(rows: pl.DataFrame, which: str) -> str:
    return f"{getattr(rows['issued_at'], which)():%Y-%m-%d}" if rows.height else "never"
