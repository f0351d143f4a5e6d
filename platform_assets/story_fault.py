"""What a retraining on the wrong figures would have cost the store that sent them, by two small models."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.answers import source_of
from platform_assets.reproduction import spec_of
from platform_assets.science.demand import columns
from platform_assets.story import ARRIVES_AT, FAULT_WEEKS, WEEK, WEEKS, weeks
from resources.deployment import Settings, resources_for

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.fitting import FittedModel
    from platform_assets.science.point_in_time import View
    from platform_assets.science.segment_quarantine import Spell

ROWS: Final = 12_000  # that each of the two learns from
JUDGED_WEEKS: Final = 4  # that follow the last wrong one, and begin with the shock's, of which neither knows


@dataclass(frozen=True)
class World:
    """Sales as somebody knew them, and the features that follow from them."""

    sales: pl.DataFrame
    views: tuple[View, ...]


def cost_of_fault(settings: Settings, model: str) -> dict[str, Any] | None:
    """How much more the store's forecasts would have lost with its wrong figures left in; None where none were found.

    Two models of the smaller recipe that backtests use, trained as after an alarm on what was known when the fault ended:
    one from the platform's sales, in which the fault is unknown, one from the figures as they were
    delivered. Each forecasts the four weeks that follow, week by week, with features of its own world, and is charged for
    what the store sold. `cost` is loss / loss - 1, paired over the store's series; `by_training` is the part that remains
    where both are asked with the platform's features.
    """
    import dagster as dg

    days = weeks(settings)
    at = replace(settings, now=datetime.combine(days[WEEKS][1] + timedelta(days=1), ARRIVES_AT, UTC))
    with dg.build_asset_context(resources=resources_for(at, source_of(at))) as context:
        spells = _spells(context.resources, *(days[week] for week in FAULT_WEEKS))
        return _cost(spec_of(model), context.resources, spells[0], days) if spells else None


def _spells(res: Any, first: tuple[date, date], last: tuple[date, date]) -> list[Spell]:
    """What the platform found by itself to begin within these weeks, and still holds for wrong."""
    from platform_assets.science import segment_quarantine

    spells = segment_quarantine.spells(res.ledger.quarantines(res.source.name), res.source.period_days)
    return [
        spell
        for spell in spells
        if spell.who == segment_quarantine.DETECTOR
        and spell.status in segment_quarantine.HOLDING
        and first[0] <= spell.first_on <= last[1]
    ]


def _cost(spec: ModelSpec, res: Any, spell: Spell, days: dict[int, tuple[date, date]]) -> dict[str, Any]:
    import numpy as np
    import polars as pl

    from platform_assets.components.training_set import known_sales
    from platform_assets.science.bootstrap import Interval, Resampler
    from platform_assets.science.demand import labels, sampling
    from platform_assets.science.faults import segment_of
    from platform_assets.science.tasks import TASKS

    ends_on = days[FAULT_WEEKS[-1]][1]
    sales = known_sales(res).collect()
    kept = _kept(spec, res, sales)
    raw = _delivered(spec, res, kept, spell, ends_on + JUDGED_WEEKS * WEEK)
    cut: datetime = sales.filter(pl.col(names.PERIOD_ON) <= ends_on)[names.EVENT_AT].max()  # pyright: ignore[reportAssignmentType]
    knowing, misled = (_trained(spec, res, world, cut) for world in (kept, raw))
    asked = sampling.evaluation_rows(
        sales.lazy(),
        issued_on=[ends_on + week * WEEK for week in range(JUDGED_WEEKS)],
        horizons=range(res.source.period_days, WEEK.days + 1, res.source.period_days),
    )
    asked = asked.filter(segment_of(res.source.segment_position) == spell.segment)
    asked = labels.attach(asked, sales.lazy(), label=spec.label).filter(pl.col(spec.label).is_not_null())
    task = TASKS[spec.task]

    def lost(model: FittedModel, world: World) -> Any:
        answers = model.predict(_joined(spec, res, world, asked).select(columns.plain(spec.features)))
        return task.loss(asked[spec.label], answers).to_numpy()

    resampler, best = Resampler(asked[names.SERIES_ID]), lost(knowing, kept)

    def more(worse: Any) -> dict[str, float | None]:
        gain = resampler.improvement(worse, best)
        return Interval(-gain.estimate, -gain.high, -gain.low).to_dict()

    by_week = (asked["issued_at"].rank("dense").to_numpy() - 1).astype(np.int64)
    misled_lost = lost(misled, raw)
    return {
        "segment": spell.segment,
        "days": [str(spell.first_on), str(spell.last_on)],
        "weeks": [FAULT_WEEKS[-1] + 1, FAULT_WEEKS[-1] + JUDGED_WEEKS],
        "cost": more(misled_lost),
        "by_training": more(lost(misled, kept)),
        "loss": np.bincount(by_week, best).tolist(),
        "misled": np.bincount(by_week, misled_lost).tolist(),
    }


def _kept(spec: ModelSpec, res: Any, sales: pl.DataFrame) -> World:
    """What the platform knew: its own tables."""
    from platform_assets.components.service_features import services
    from platform_assets.science.point_in_time import View

    views = (
        View(
            view,
            res.tables.scan(names.table_name(names.view_key(view))),
            columns.ENTITY_KEYS[view],
            columns.plain(columns.VIEWS[view]),
        )
        for view in services()[spec.feature_service]
    )
    return World(sales, tuple(views))


def _delivered(spec: ModelSpec, res: Any, kept: World, spell: Spell, ends_on: date) -> World:
    """The same with the store's figures as they came, line by line sound, and all features since from these."""
    import polars as pl

    from platform_assets.components.source_steps import clean_months
    from platform_assets.science.demand import features, season
    from platform_assets.science.faults import segment_of

    after = (ends_on + timedelta(days=1)).replace(day=1)
    months = spell.first_on.replace(day=1), (after + timedelta(days=31)).replace(day=1)
    is_wrong = segment_of(res.source.segment_position).eq(spell.segment) & pl.col(names.PERIOD_ON).is_between(
        spell.first_on, spell.last_on or spell.first_on
    )
    came = clean_months(res.source, res.tables, months).sold.filter(is_wrong)
    sales = pl.concat([kept.sales.filter(~is_wrong), came.select(kept.sales.columns).cast(kept.sales.schema)])
    began = came[names.EVENT_AT].min()
    computed = {
        "demand_history": features.demand_history,
        "price_history": features.price_history,
        "season": season.season,
    }

    def since(view: View) -> View:
        if view.name not in computed:
            return view
        rows = view.frame.lazy()
        fresh = computed[view.name](
            sales.lazy(), start_on=spell.first_on, end_on=ends_on, period_days=res.source.period_days
        )
        wanted = list(dict.fromkeys([*view.keys, names.EVENT_AT, names.KNOWN_AT, *view.features]))
        before = rows.filter(pl.col(names.EVENT_AT) < began).select(wanted)
        return replace(view, frame=pl.concat([before.collect(), fresh.select(wanted).collect()]))

    return World(sales, tuple(map(since, kept.views)))


def _trained(spec: ModelSpec, res: Any, world: World, cut: datetime) -> FittedModel:
    """A small model of the recipe, as after an alarm, on what was known by an instant."""
    import polars as pl

    from platform_assets.components.drawing import ROW_KEY, fit_rows_of
    from platform_assets.components.training import settings_of
    from platform_assets.components.training_choice import Drawn
    from platform_assets.science.demand import labels
    from platform_assets.science.retraining_policy import RetrainingPolicy

    known = world.sales.lazy().filter(pl.col(names.KNOWN_AT) <= cut)
    how = Drawn(RetrainingPolicy.from_mapping(spec.retraining).after_alarm, ())
    drawn = fit_rows_of(replace(spec, rows=min(spec.rows, ROWS)), res.source, known, how)
    rows = labels.attach(_joined(spec, res, world, drawn), known, label=spec.label).sort(ROW_KEY)
    small = replace(
        spec,
        features=columns.plain(spec.features),
        parameters={**spec.parameters, **spec.backtest.get("parameters", {})},
    )
    settings = settings_of(small, threads=1, device="cpu", progress=lambda line: None)
    with res.compute.profile(spec.compute).limits():
        return importlib.import_module(spec.module).__dict__[spec.trainer](
            rows.filter(pl.col(spec.label).is_not_null()), settings
        )


def _joined(spec: ModelSpec, res: Any, world: World, asked: pl.DataFrame) -> pl.DataFrame:
    """Rows with the world's features as known when they were issued."""
    from platform_assets.components.training_set import derived
    from platform_assets.science.point_in_time import join

    return derived(spec, res, join(asked, world.views, at=names.ISSUED_AT))
