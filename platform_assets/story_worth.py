"""What retraining was worth: the champions' forecasts against what the first champion would have said in their place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.answers import source_of
from platform_assets.reproduction import spec_of
from platform_assets.story import ARRIVES_AT, FAULT_WEEKS, SHOCK_WEEK, WEEK, WEEKS, weeks
from platform_assets.why import why_champion
from resources.deployment import Settings, resources_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.story_plot import Alarm, Training
    from resources.ledger_rows import Cause, Decision

FIRST: Final = "1"  # the model version that stands still


def worth(settings: Settings, model: str) -> dict[str, Any]:
    """Week by week who answered, what its forecasts lost and what the first champion's would have, and the gain.

    Forecasts of the coming seven days, issued at each week's beginning, on labels known by the end of the last week. The
    gains are 1 - loss / loss with intervals paired over series: of the last week, and of all weeks after the shock's own.
    """
    import dagster as dg

    days = weeks(settings)
    at = replace(settings, now=datetime.combine(days[WEEKS][1] + timedelta(days=1), ARRIVES_AT, UTC))
    with dg.build_asset_context(resources=resources_for(at, source_of(at))) as context:
        return _worth(spec_of(model), context.resources, days)


def drawn(settings: Settings, model: str, weeks_lived: list[dict[str, Any]], answered: Sequence[Cause]) -> str:
    """Where the plot of these weeks lies; `answered`: the causes of retrainings that have had their run."""
    from platform_assets.science.bootstrap import Interval
    from platform_assets.science.story_plot import LivedWeek, plot

    nan, ledger, first_on = float("nan"), settings.ledger(), weeks(settings)[1][0]
    lived = [
        LivedWeek(
            week["week"],
            tuple(week["model_version"]),
            week["loss"],
            week["alone"],
            Interval(**{name: nan if value is None else value for name, value in week["gain"].items()}),
        )
        for week in weeks_lived
    ]
    page = plot(
        lived,
        model=model,
        first_on=first_on,
        fault_weeks=FAULT_WEEKS,
        shock_week=SHOCK_WEEK,
        alarms=alarms_since(first_on, ledger.causes(model)),
        trainings=trainings_since(first_on, answered, judged_by_cause(settings, model)),
    )
    return settings.artifacts().put("reports/story.svg", page.encode())


def alarms_since(first_on: date, causes: Sequence[Cause]) -> list[Alarm]:
    """Each alarm of these weeks that has asked for a retraining, with its first day."""
    from platform_assets.science.retraining_evidence import alarm_began, alarm_kinds
    from platform_assets.science.story_plot import Alarm

    asked = [(cause.trigger, cause.episode) for cause in causes]
    began = {(alarm_began(*key), alarm_kinds(*key)) for key in asked}
    return sorted(Alarm(on, kinds) for on, kinds in began if on is not None and on >= first_on)


def judged_by_cause(settings: Settings, model: str) -> dict[tuple[str, str], Decision]:
    """What the gate said of the version that a cause's run has trained, by the cause's trigger and episode."""
    decisions = {decision.run_id: decision for decision in settings.ledger().decisions(model, kind="gate")}
    causes = why_champion(settings, model)["causes"]
    return {(one["trigger"], one["episode"]): decisions[one["gate"]["run_id"]] for one in causes if one["gate"]}


def trainings_since(
    first_on: date, answered: Sequence[Cause], judged: Mapping[tuple[str, str], Decision]
) -> list[Training]:
    """The retrainings of these weeks, each with what the gate said of its version."""
    from platform_assets.science.story_plot import Training

    found = list[Training]()
    for cause in answered:
        on, decision = cause.at.date(), judged.get((cause.trigger, cause.episode))
        if on < first_on + WEEK:  # the first ones
            continue
        if decision is None:
            found.append(Training(on))
        else:
            version, promotes = decision.evidence["version"], decision.evidence["promotes"]
            found.append(Training(on, version, decision.answer, is_promoted=promotes))
    return found


def _worth(spec: ModelSpec, res: Any, days: dict[int, tuple[date, date]]) -> dict[str, Any]:
    import numpy as np
    import polars as pl

    from platform_assets.components.training_set import known_sales
    from platform_assets.science.bootstrap import Resampler
    from platform_assets.science.demand import labels
    from platform_assets.science.tasks import TASKS

    task = TASKS[spec.task]
    said = labels.attach(_said(spec, res, days), known_sales(res), label=spec.label)
    said = said.filter(pl.col(spec.label).is_not_null())
    lost = said.select(
        names.SERIES_ID,
        "week",
        "model_version",
        loss=task.loss(said[spec.label], said.select(task.outputs)),
        alone=task.loss(said[spec.label], _first(spec, res, said)),
    )
    resampler = Resampler(lost[names.SERIES_ID])

    def gain(first: int, last: int = WEEKS) -> dict[str, float | None]:
        inside = lost["week"].is_between(first, last).to_numpy()
        loss, alone = (np.where(inside, lost[name].to_numpy(), 0.0) for name in ("loss", "alone"))
        return resampler.improvement(loss, alone).to_dict()

    by_week = lost.group_by("week").agg(
        pl.col("model_version").unique().sort(), pl.col("loss").sum(), pl.col("alone").sum()
    )
    told = [{**week, "gain": gain(week["week"], week["week"])} for week in by_week.sort("week").to_dicts()]
    return {"weeks": told, "last": gain(WEEKS), "since_shock": gain(SHOCK_WEEK + 1)}


def _said(spec: ModelSpec, res: Any, days: dict[int, tuple[date, date]]) -> pl.DataFrame:
    """What the champion said of each week at its beginning, as last said; with `week`."""
    import polars as pl

    first_on = days[1][0]
    table = names.table_name(names.model_key(spec.name, "predictions"))
    horizon = pl.col(names.HORIZON)
    return (
        res.tables.scan(table)
        .filter(pl.col(names.TARGET_ON) >= first_on, horizon <= WEEK.days)
        .with_columns(week=((pl.col(names.TARGET_ON) - pl.lit(first_on)).dt.total_days() // WEEK.days + 1))
        .filter(pl.col("week") <= WEEKS)
        .sort("predicted_at", maintain_order=True)
        .unique([names.SERIES_ID, names.ISSUED_AT, names.TARGET_ON], keep="last", maintain_order=True)
        .sort(names.SERIES_ID, names.ISSUED_AT, names.TARGET_ON)
        .collect()
    )


def _first(spec: ModelSpec, res: Any, said: pl.DataFrame) -> pl.DataFrame:
    """What the first champion says of the same rows, with features as known then."""
    import polars as pl

    from platform_assets.components.training_set import derived

    keys = [names.SERIES_ID, names.ISSUED_AT, names.TARGET_ON, names.HORIZON]
    entities = said.select(keys).with_columns(
        (pl.col(names.TARGET_ON) - date(1970, 1, 1)).dt.total_days().cast(pl.Int64).alias(names.TARGET_DAY)
    )
    rows = derived(spec, res, res.feature_store.historical(entities, spec.feature_service))
    rows = said.select(keys).join(rows, on=keys, how="left", maintain_order="left")
    manifest = res.registry.manifest(spec.name, FIRST)
    return res.registry.load(spec.name, FIRST).predict(rows.select(manifest.features))
