"""`perennial backtest MODEL`: what each retraining policy would have cost and gained on this history.

Each week's training is made once, on labels known when the week began, scored in every later week and kept by what made
it. A policy, the same mapping that production uses, is then replayed over the matrix: week by week it sees what was known,
decides, and the gate lets its trainings through or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from platform_assets.answers import Answer, source_of
from platform_assets.backtest_history import by_psi, change_of, history_of
from platform_assets.backtest_matrix import Trainings, matrix_of
from platform_assets.backtest_rows import Echo, weeks_of
from platform_assets.errors import ConfigurationError
from platform_assets.reproduction import spec_of
from resources.deployment import Settings, resources_for

if TYPE_CHECKING:
    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.backtest import Losses, Outcome, Policy, Walked
    from platform_assets.science.replay import Replayed
    from platform_assets.science.retraining_policy import RetrainingPolicy

ROWS: Final = 40_000  # of a training, at most
SERIES: Final = 1000  # that judge, at most
LEAD_WEEKS: Final = 12  # that the gate and the first references look back on
# Asked each week: a day less than so many weeks, which have an hour less where clocks are put forward.
NAMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "weekly": {"when": [{"staleness": 6}], "cooldown_days": 0},
    "monthly": {"when": [{"staleness": 27}], "cooldown_days": 0},
    "quarterly": {"when": [{"staleness": 90}], "cooldown_days": 0},
    "drift": {"when": ["drift"], "follow_up_weeks": []},
    "error": {"when": ["error"], "follow_up_weeks": []},
    # As everybody does it: any feature's index above .2, all of history, at most once in four weeks.
    "psi": {"when": ["drift"], "after_alarm": {}, "cooldown_days": 27, "settle_days": 0, "follow_up_weeks": []},
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


def recipe_of(spec: ModelSpec, rows: int | None, *, is_whole: bool) -> tuple[ModelSpec, int, str]:
    """The model with the recipe that its trainings have here, the most rows of each, and both in words."""
    from platform_assets.science.demand import columns

    small = {} if is_whole else spec.backtest
    most = rows or small.get("rows", ROWS)
    parameters = small.get("parameters", {})
    features = spec.features if small.get("sequences", True) else columns.plain(spec.features)
    told = ", ".join(f"{name} {value:g}" for name, value in parameters.items()) or "as in production"
    chosen = replace(spec, parameters={**spec.parameters, **parameters}, features=features)
    return chosen, most, f"at most {most:,} rows, {told}"


def backtest_policies(
    settings: Settings,
    model: str,
    *,
    policies: Sequence[str],
    weeks: int,
    rows: int | None,
    price: float,
    seeds: int = 1,
    series: int = SERIES,
    is_whole: bool = False,
    echo: Echo,
) -> Answer:
    """Replays the last `weeks` weeks under each policy. `price`: of a training, as a share of an average week's loss.

    A training is of the smaller recipe that the model states for backtests, unless `is_whole`, on at most `rows` rows: a
    backtest compares policies, and a smaller model tells them apart too. It is judged by at most so many `series`.
    With several `seeds` all of it is done with each, and intervals hold what another seed would have said.
    """
    import dagster as dg
    import numpy as np

    from platform_assets.science import backtest, backtest_plot, backtest_rough, backtest_sentence
    from platform_assets.science.gate import GatePolicy
    from platform_assets.science.replay import Training, replay
    from platform_assets.science.retraining_policy import RetrainingPolicy

    spec, rows, recipe = recipe_of(spec_of(model), rows, is_whole=is_whole)
    echo(f"each training: {recipe}")
    asked = {name: policy_named(name, spec) for name in policies if name not in ("never", *PAPERS)}
    context = dg.build_asset_context(resources=resources_for(settings, source_of(settings)))
    usually = RetrainingPolicy.from_mapping(spec.retraining).train_on.but({"start": "scratch"})
    gate, lead = GatePolicy.from_mapping(spec.gate), min(LEAD_WEEKS, weeks)
    matrices: list[Losses] = []
    replayed: dict[str, list[Replayed]] = {name: [] for name in asked}
    walks: dict[str, list[Walked]] = {name: [] for name in (*asked, *(name for name in PAPERS if name in policies))}
    judged = weeks_of(spec, context.resources, weeks + lead, series, echo)

    def first_look(rough: Losses) -> str:
        return backtest_rough.rough_answer(rough, price * float(rough.summed()[0].sum()) / weeks, seed=spec.seed)

    for number in range(seeds):
        one = replace(spec, seed=spec.seed + number)
        if seeds > 1:
            echo(f"training seed {number + 1} of {seeds}")
        trainings = Trainings(one, context.resources, judged, rows)
        made = matrix_of(trainings, echo, lead=lead, usually=usually, first_look=first_look)
        history = history_of(made, context.resources.source.period_days, echo)
        for name, policy in asked.items():
            echo(f"replaying `{name}`")
            seen = replace(history, has_drifted=by_psi(made, PSI_LIMIT), verdicts={}) if name == PSI else history
            replayed[name].append(found := replay(seen, policy, gate, seed=spec.seed))
            walks[name].append(replace(found.walked, change=change_of(found, made)))
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
    sentence = backtest_sentence.recommendation(found, seed=spec.seed)
    drawn = f"reports/{model}/backtest.svg"
    context.resources.artifacts.put(drawn, backtest_plot.plot(found, charge).encode())
    place = context.resources.artifacts.uri(drawn)
    answer = {
        "model": model,
        "state": str(settings.state),
        "weeks": [on.isoformat() for on in losses.periods],
        "trainings": recipe,
        "series": int(losses.loss.shape[2]),
        "training_seeds": [spec.seed + number for number in range(seeds)],
        "price_of_a_training": charge,
        "policies": [_plain(outcome, losses, replayed.get(outcome.name, []), lead) for outcome in found],
        "recommendation": sentence,
        "plot": place,
    }
    return answer, "\n".join([_told(found, losses, price, seeds, recipe), "", sentence, f"plot: {place}"])


def _by_age(losses: Losses, price: float) -> Mapping[str, Policy]:
    """The policies of the literature, fitted on what was known before the first charged week."""
    from platform_assets.science.backtest_rivals import forecast, tuned_threshold

    lead = losses.of_lead()
    return dict(zip(PAPERS, (tuned_threshold(lead, price), forecast(lead, price)), strict=True))


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


def _told(found: Sequence[Outcome], losses: Losses, price: float, seeds: int, recipe: str) -> str:
    never, series = found[0].cost, losses.loss.shape[2]
    lines = [
        f"{len(losses.periods)} weeks from {losses.periods[0]}, {series} series; a training costs {price:.0%} of a week's loss",
        f"each training: {recipe}",
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
