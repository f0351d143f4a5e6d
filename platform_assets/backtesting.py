"""`perennial backtest MODEL`: what each retraining policy would have cost and gained on this history.

Each week's training is made once, on labels known when the week began, scored in every later week and kept by what made
it. A policy, the same mapping that production uses, is then replayed over the matrix: week by week it sees what was known,
decides, and the gate lets its trainings through or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.answers import Answer, source_of
from platform_assets.backtest_matrix import WEEK_DAYS, Echo, Matrix, matrix_of
from platform_assets.errors import ConfigurationError
from platform_assets.reproduction import spec_of
from resources.deployment import Settings, resources_for

if TYPE_CHECKING:
    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.backtest import Floats, Losses, Outcome, Policy, Walked
    from platform_assets.science.replay import History, Replayed, Training
    from platform_assets.science.retraining_policy import RetrainingPolicy

LEAD_WEEKS: Final = 12  # that the gate and the first references look back on
# Asked each week: a day less than so many weeks, which have an hour less where clocks are put forward.
NAMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "weekly": {"when": [{"staleness": 6}], "cooldown_days": 0},
    "monthly": {"when": [{"staleness": 27}], "cooldown_days": 0},
    "quarterly": {"when": [{"staleness": 90}], "cooldown_days": 0},
    "drift": {"when": ["drift"]},
    "error": {"when": ["error"]},
    # As everybody does it: any feature's index above .2, all of history, at most once in four weeks.
    "psi": {"when": ["drift"], "after_alarm": {}, "cooldown_days": 27},
}
PSI: Final = "psi"
PSI_LIMIT: Final = 0.2
OWN: Final = "own"  # the model's own policy, of its defs.yaml
PAPERS: Final = ("threshold", "forecast")  # policies of the literature, which know neither gate nor alarm
ON_WHAT: Final = ("train_on", "after_alarm")  # that a name takes from the model's own policy


def policy_named(name: str, spec: ModelSpec) -> RetrainingPolicy:
    """The policy of a name, of the model's own defs.yaml (`own`), or of a YAML file that holds a `retraining` mapping.

    A name says when; on what is as in the model's own policy. A file says both.
    Raises: ConfigurationError naming those that there are, or what is wrong in the file.
    """
    from platform_assets.science.retraining_policy import RetrainingPolicy

    if name == OWN:
        return RetrainingPolicy.from_mapping(spec.retraining)
    if name in NAMED:
        on_what = {key: {**spec.retraining[key], "start": "scratch"} for key in ON_WHAT if key in spec.retraining}
        return RetrainingPolicy.from_mapping({**NAMED[name], **on_what})
    file = Path(name)
    if file.suffix not in {".yaml", ".yml"}:
        known = ", ".join(["never", *NAMED, OWN, *PAPERS])
        raise ConfigurationError(f"no policy {name!r}; known: {known}, or a YAML file with a `retraining` mapping")
    if not file.is_file():
        raise ConfigurationError(f"{file}: no such file")
    import yaml

    try:
        mapping = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: not YAML: {error}") from error
    if not isinstance(mapping, dict) or not isinstance(mapping.get("retraining", mapping), dict):
        raise ConfigurationError(f"{file}: expected a mapping of a retraining policy")
    return RetrainingPolicy.from_mapping(mapping.get("retraining", mapping))


def backtest_policies(
    settings: Settings,
    model: str,
    *,
    policies: Sequence[str],
    weeks: int,
    rows: int,
    price: float,
    seeds: int = 1,
    echo: Echo,
) -> Answer:
    """Replays the last `weeks` weeks under each policy. `price`: of a training, as a share of an average week's loss.

    A training is fitted on at most `rows` rows: a backtest compares policies, and a smaller model tells them apart too.
    With several `seeds` all of it is done with each, and intervals hold what another seed would have said.
    """
    import dagster as dg
    import numpy as np

    from platform_assets.science import backtest, backtest_plot
    from platform_assets.science.gate import GatePolicy
    from platform_assets.science.replay import Training, replay
    from platform_assets.science.retraining_policy import RetrainingPolicy

    spec = spec_of(model)
    asked = {name: policy_named(name, spec) for name in policies if name not in ("never", *PAPERS)}
    context = dg.build_asset_context(resources=resources_for(settings, source_of(settings)))
    usually = RetrainingPolicy.from_mapping(spec.retraining).train_on.but({"start": "scratch"})
    gate, lead = GatePolicy.from_mapping(spec.gate), min(LEAD_WEEKS, weeks)
    matrices: list[Losses] = []
    replayed: dict[str, list[Replayed]] = {name: [] for name in asked}
    walks: dict[str, list[Walked]] = {name: [] for name in (*asked, *(name for name in PAPERS if name in policies))}
    for number in range(seeds):
        one = replace(spec, seed=spec.seed + number)
        if seeds > 1:
            echo(f"training seed {number + 1} of {seeds}")
        made = matrix_of(one, context.resources, weeks, rows, echo, lead=lead, usually=usually)
        history = _history(one, made, context.resources.source.period_days, echo)
        for name, policy in asked.items():
            echo(f"replaying `{name}`")
            seen = replace(history, has_drifted=_by_psi(made), verdicts={}) if name == PSI else history
            replayed[name].append(found := replay(seen, policy, gate, seed=spec.seed))
            walks[name].append(replace(found.walked, change=_change(found, made)))
        matrices.append(losses := made.losses.charged())
        for name, policy in _by_age(made.losses, price).items():
            if name in walks:
                answers, trained = backtest.walk(losses, policy)
                old = [Training(lead + int(answers[at - 1]), usually) for at in trained]
                change = sum(
                    made.trainings.change(one, Training(lead + at, usually))
                    for one, at in zip(old, trained, strict=True)
                )
                walks[name].append(replace(backtest.walked(losses, answers, trained), change=change))
    losses = matrices[0]
    charge = price * float(np.mean([one.summed()[0].mean() for one in matrices]))
    found = backtest.outcomes(matrices, walks, charge, seed=spec.seed)
    sentence = backtest.recommendation(found, seed=spec.seed)
    drawn = f"reports/{model}/backtest.svg"
    context.resources.artifacts.put(drawn, backtest_plot.plot(found, charge).encode())
    place = context.resources.artifacts.uri(drawn)
    answer = {
        "model": model,
        "state": str(settings.state),
        "weeks": [on.isoformat() for on in losses.periods],
        "series": int(losses.loss.shape[2]),
        "training_seeds": [spec.seed + number for number in range(seeds)],
        "price_of_a_training": charge,
        "policies": [_plain(outcome, losses, replayed.get(outcome.name, []), lead) for outcome in found],
        "recommendation": sentence,
        "plot": place,
    }
    return answer, "\n".join([_told(found, losses, price, seeds), "", sentence, f"plot: {place}"])


def _history(spec: ModelSpec, made: Matrix, period_days: int, echo: Echo) -> History:
    """What a policy may see: the losses, and what was known of sales and features when each week began."""
    import polars as pl

    from platform_assets.components.cron import newest_ticks
    from platform_assets.science import input_watch
    from platform_assets.science.demand import columns, sampling
    from platform_assets.science.replay import History
    from platform_assets.science.tasks import TASKS

    trainings = made.trainings
    known = trainings.sales.select(pl.col(names.KNOWN_AT).sort()).collect().to_series()
    rows = [int(known.search_sorted(cut, side="right")) for cut in made.known_at]
    watched = [name for name in spec.features if name not in columns.CALENDAR]

    @cache
    def trained_on(champion: Training) -> pl.DataFrame:
        rows = trainings.rows_of(champion)
        return rows.filter(pl.col("horizon_days") <= WEEK_DAYS)  # as far ahead as the weeks are judged

    @cache
    def weights_at(now: int) -> pl.DataFrame:
        return sampling.last_weights(
            trainings.sales_known(made.known_at[now]), are_targets_open=spec.label == names.UNITS
        )

    def has_drifted(champion: Training, now: int) -> bool:
        on = made.losses.periods[now]
        issued = trainings.judged.filter(pl.col("week_on") == on)
        found = input_watch.input_drift(trained_on(champion), issued, watched, weights=weights_at(now))
        return not input_watch.judge_inputs(found, champion=str(champion.before), as_of=on).passed

    def make(training: Training) -> tuple[Floats, float]:
        lost, seconds, is_new = trainings.lost_by(training)
        done = "made" if is_new else "read again"
        echo(f"{done}: a training of {made.losses.periods[training.before]} on {training.on.told}")
        return lost, seconds

    return History(
        made.losses,
        made.known_at,
        tuple(rows),
        TASKS[spec.task].primary,
        period_days,
        has_drifted,
        newest_ticks,
        made.usually,
        make,
    )


def _by_age(losses: Losses, price: float) -> Mapping[str, Policy]:
    """The policies of the literature, fitted on what was known before the first charged week."""
    from platform_assets.science.backtest_rivals import forecast, tuned_threshold

    lead = losses.of_lead()
    return dict(zip(PAPERS, (tuned_threshold(lead, price), forecast(lead, price)), strict=True))


def _by_psi(made: Matrix) -> Callable[[Training, int], bool]:
    """Whether any feature's population stability index of a week against the training is above the limit that everybody takes."""
    import polars as pl

    from platform_assets.science.demand import columns
    from platform_assets.science.distances import stability_index
    from platform_assets.science.sorted_reference import Current, Reference

    trainings = made.trainings
    watched = [name for name in trainings.spec.features if name not in columns.CALENDAR]

    @cache
    def usual(champion: Training) -> dict[str, Reference]:
        rows = trainings.rows_of(champion).filter(pl.col("horizon_days") <= WEEK_DAYS)
        has_values = rows.select(pl.col(watched).count() > 0).row(0, named=True)
        return {
            name: Reference.of(rows[name]) for name in watched if rows.schema[name].is_numeric() and has_values[name]
        }

    def has_drifted(champion: Training, now: int) -> bool:
        issued = trainings.judged.filter(pl.col("week_on") == made.losses.periods[now])
        has_values = issued.select(pl.col(watched).count() > 0).row(0, named=True)
        return any(
            not has_values[name] or stability_index(reference, Current.of(issued[name], reference)) > PSI_LIMIT
            for name, reference in usual(champion).items()
        )

    return has_drifted


def _change(found: Replayed, made: Matrix) -> float:
    """How much the quantiles changed where another version came to answer, summed over the weeks."""
    from platform_assets.science.replay import Training

    standing, total = Training(made.losses.lead, made.usually), 0.0
    for before, on in zip(found.trained, found.trained_on, strict=True):
        if before in found.promoted:
            new = Training(before, on)
            total += made.trainings.change(standing, new)
            standing = new
    return total


def _plain(outcome: Outcome, losses: Losses, replayed: Sequence[Replayed], lead: int) -> dict[str, Any]:
    """As JSON: figures are means over seeds, dates and reasons those of the first seed."""
    schedule = None if outcome.schedules is None else outcome.schedules[0]
    trained = None if schedule is None else [losses.periods[at].isoformat() for at in schedule]
    saved = None if outcome.saved is None else outcome.saved.to_dict()
    figures = {"trainings": outcome.trainings, "seconds": outcome.seconds, "loss": outcome.loss, "cost": outcome.cost}
    why = {}
    if replayed:
        why = {
            "trained_on": [on.told for on in replayed[0].trained_on],
            "reasons": list(replayed[0].reasons),
            "promoted_before": [losses.periods[at - lead].isoformat() for at in replayed[0].promoted],
        }
    return {
        "policy": outcome.name,
        "trained_before": trained,
        **why,
        **figures,
        "change": outcome.change,
        "saved": saved,
    }


def _told(found: Sequence[Outcome], losses: Losses, price: float, seeds: int) -> str:
    never, series = found[0].cost, losses.loss.shape[2]
    lines = [
        f"{len(losses.periods)} weeks from {losses.periods[0]}, {series} series; a training costs {price:.0%} of a week's loss",
        f"intervals over series{f' and {seeds} training seeds' if seeds > 1 else ', of one training seed'}; "
        "change: of the quantiles in a week as another version answers, in usual moves",
        "",
        f"{'policy':<32}{'trainings':>10}{'CPU s':>8}{'change':>8}{'cost':>9}  saved, of never's cost",
    ]
    for outcome in found:
        trainings = "" if outcome.trainings is None else f"{outcome.trainings:.3g}"
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.0f}"
        change = "" if outcome.change is None else f"{outcome.change:.3f}"
        saved = f"{1 - outcome.cost / never:+.1%}"
        if outcome.saved is not None and outcome.name != "never":
            saved += f" [{outcome.saved.low:+.1%}, {outcome.saved.high:+.1%}]"
        lines.append(f"{outcome.name:<32}{trainings:>10}{seconds:>8}{change:>8}{outcome.cost / never:>9.1%}  {saved}")
    return "\n".join(lines)
