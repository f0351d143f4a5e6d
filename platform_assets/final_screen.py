"""What the demo shows at its end."""

from typing import Any

from platform_assets import names
from platform_assets.answers import Answer, known_models, why_champion
from platform_assets.demo import FIRST_MODEL
from platform_assets.story import EVENTS, SHOCK_WEEK, WEEKS, WORTH
from platform_assets.story_worth import FIRST, judged_by_cause
from platform_assets.why import shown
from resources.deployment import Settings
from resources.ledger import Ledger


def final_screen(settings: Settings, outcome: dict[str, Any]) -> Answer:
    """What the demo shows at its end, from the ledger and the stored values."""
    champions, lines = {}, list[str]()
    for model in known_models():
        answer, _ = why_champion(settings, model)
        champions[model] = answer
        if answer["champion"] or model not in outcome["untrained"]:
            lines += _standing(settings, answer)
        if model in outcome["untrained"]:
            reason = outcome["untrained"][model].removeprefix(f"{model}/training_set: ").replace("\n\n", "\n  ")
            lines.append(f"{model}: not trained: {reason}")
        lines.append("")
    first = next((model for model, answer in champions.items() if answer["champion"]), None)
    did = [*outcome["ran"], *([f"{len(outcome['weeks'])} weeks"] if outcome["weeks"] else [])]
    done = "nothing had to be done: same data, same code" if not did else f"did: {', '.join(did)}"
    ledger, landed = Ledger(settings.ledger_url), landed_lines(settings)
    lived = ledger.completed(WORTH)
    if lived is not None:
        lines += [*_lived(lived, ledger, settings), ""]
    lines += [
        f"state:  {settings.state}",
        *_landed(settings, landed),
        f"{done}; {outcome['seconds']:.0f} s, peak memory {outcome['peak_bytes'] / 1e9:.2f} GB (process tree)"
        f"{_champion_after(outcome)}",
        "next:   make dev                               the graph in the UI",
    ]
    if first is not None:
        lines += [
            f"        .venv/bin/perennial predict {first:<12} the coming days",
            f"        .venv/bin/perennial why {first:<16} which data, what was refused, what asked for a retraining",
        ]
    return {
        "champions": champions,
        **outcome,
        "lines": landed,
        "story": lived,
        "state": str(settings.state),
    }, "\n".join(["", *lines])


def landed_lines(settings: Settings) -> dict[str, Any] | None:
    """How many lines of the source were accepted, and set aside by reason, as its tables have them; None where it has none."""
    import polars as pl

    tables = settings.tables()
    aside, lines = (names.table_name(key(settings.source)) for key in (names.quarantine_key, names.lines_key))
    if not (tables.exists(aside) and tables.exists(lines)):
        return None
    counts = tables.scan(aside).group_by("reason").len().sort("len", "reason", descending=[True, False]).collect()
    by_reason: dict[str, int] = dict(counts.iter_rows())
    # Each line that landed stands behind the sales or in the quarantine; the check `accounting` has seen to it.
    landed = tables.scan(lines).select(pl.len()).collect().item()
    return {"accepted": landed - sum(by_reason.values()), "set_aside": by_reason}


def _landed(settings: Settings, landed: dict[str, Any] | None) -> list[str]:
    if landed is None:
        return []
    aside: dict[str, int] = landed["set_aside"]
    told = f"lines:  {landed['accepted']:,} accepted, {sum(aside.values()):,} set aside"
    if not aside:
        return [told]
    table = settings.tables().uri(names.table_name(names.quarantine_key(settings.source)))
    return [f"{told}: {', '.join(f'{n:,} {reason}' for reason, n in aside.items())} (table {table})"]


def _standing(settings: Settings, answer: dict[str, Any]) -> list[str]:
    """A model in a few lines: who answers, what it gained over whom, why it was trained, what was refused last."""
    model, champion = answer["model"], answer["champion"]
    if champion is None:
        lines = [f"{model} has no champion yet"]
    else:
        lines, gain = (
            [f"{model}@{champion['version']} is champion since {shown(champion['since'])}"],
            champion["improvement"],
        )
        if gain and champion["against"]:
            interval = f"[{gain['low']:.1%}, {gain['high']:.1%}]"
            lines.append(f"  gain     {gain['estimate']:.1%} {interval} over {champion['against']}")
        lines.append(f"  trained  {champion['trained_because'] or 'see the version before it'}")
    if answer["refused"]:
        refused = answer["refused"][-1]
        lines.append(f"  refused  {model}@{refused['version']} ({refused['answer']}): {'; '.join(refused['reasons'])}")
    page = champion["version"] if champion else "latest"  # which may be a refused version's
    report = settings.state / "reports" / model / f"{page}.html"
    return [*lines, f"  report   {report}"] if report.exists() else lines


def _champion_after(outcome: dict[str, Any]) -> str:
    after = outcome["seconds_to_champion"]
    return f"; the first champion after {after:.0f} s" if after else ""


def _lived(story: dict[str, Any], ledger: Ledger, settings: Settings) -> list[str]:
    """The weeks after the history: what happened, who answered, and what it was worth against the first champion."""
    lines = [f"{WEEKS} weeks later{'':<48}answered by     loss   @1 alone"]
    for week in story["weeks"]:
        who, number = "/".join(f"@{version}" for version in week["model_version"]), week["week"]
        told = f"  week {number}  {EVENTS.get(number, '')}"
        lines.append(f"{told:<61}{who:<11}{week['loss']:>9,.0f}{week['alone']:>11,.0f}")
    for found in ledger.quarantines(settings.source):
        if found.action == "found":
            lines.append(f"  quarantined  {found.segment}, {found.first_on} to {found.last_on}: {found.reason}")
    lines += _fault(story.get("fault"))
    causes = ledger.causes(FIRST_MODEL)
    asked = [cause for cause in causes if [cause.trigger, cause.episode] in story.get("asked", [])]
    open_ = [cause for cause in asked if cause.status == "fired"]
    judged = judged_by_cause(settings, FIRST_MODEL)
    for cause in (one for one in causes if one not in asked):
        lines.append(f"  retrained    as of {cause.at:%Y-%m-%d}: {cause.reason}")
        if (decision := judged.get((cause.trigger, cause.episode))) is not None:
            is_better = "promoted" if decision.evidence["promotes"] else "not promoted"
            told = f"{FIRST_MODEL}@{decision.evidence['version']} is {decision.answer}, {is_better}"
            lines.append(f"               {told}: {decision.reasons[0]}")
    if all(week["model_version"] == [FIRST] for week in story["weeks"]):
        lines.append("  saved        nothing, and nothing lost: the gate promoted no other version than @1")
    else:
        since = f"{_gain(story['since_shock'])} of all since week {SHOCK_WEEK}"
        lines.append(f"  saved        {_gain(story['last'])} of week {WEEKS}'s loss, {since}, beside @1 alone")
    lines += [f"  asked for    as of {cause.at:%Y-%m-%d}: {cause.reason}; `make dev` runs it" for cause in open_]
    return [*lines, *([f"  plot         {story['plot']}"] if "plot" in story else [])]


def _fault(cost: dict[str, Any] | None) -> list[str]:
    """What the wrong figures would have cost."""
    if cost is None:
        return []
    first, last = cost["weeks"]
    return [
        f"  left in      it would have cost {_gain(cost['cost'])} there in weeks {first} to {last}, trained and asked on what came;",
        f"               {_gain(cost['by_training'])} by the training alone (two small models that differ in their data)",
    ]


def _gain(gain: dict[str, float | None]) -> str:
    if None in gain.values():
        return "an unknown share"
    return f"{gain['estimate']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}]"
