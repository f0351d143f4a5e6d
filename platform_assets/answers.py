"""What the command line says: read from the ledger, the registry and the tables, as data and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from platform_assets import names
from platform_assets.components.model_assets import model_names
from platform_assets.definitions import assemble, component_tree
from platform_assets.errors import ConfigurationError, TableError
from resources.deployment import Settings
from resources.ledger import Ledger

if TYPE_CHECKING:
    import polars as pl

Answer = tuple[dict[str, Any], str]


def known_models() -> list[str]:
    """Models of defs/models."""
    return model_names()


def check_model(model: str) -> None:
    """Raises: ConfigurationError naming the models that there are."""
    if model not in known_models():
        raise ConfigurationError(f"no model {model!r}; known: {', '.join(known_models())}")


def why_champion(settings: Settings, model: str) -> Answer:
    """Which version is champion, since when, from which data, and why; and what was refused since."""
    check_model(model)
    ledger = Ledger(settings.ledger_url)
    champion = ledger.champion(model)
    decisions = ledger.decisions(model)
    refused = [d for d in decisions if d.kind == "gate" and not d.evidence.get("promotes")]
    retraining = [d for d in decisions if d.kind == "retraining"]
    answer: dict[str, Any] = {
        "model": model,
        "champion": champion
        and {"version": champion.version, "since": champion.at, "reason": champion.reason, "kind": champion.kind},
        "trained because": champion and champion.evidence.get("trained because"),
        "data": champion and champion.evidence.get("data"),
        "before": champion and champion.from_version,
        "refused": [
            {"version": d.evidence.get("version"), "at": d.at, "answer": d.answer, "reasons": d.reasons}
            for d in refused
        ],
        "retraining": [{"at": d.at, "answer": d.answer, "reasons": d.reasons} for d in retraining[-5:]],
    }
    if champion is None:
        lines = [f"{model} has no champion yet"]
    else:
        lines = [
            f"{model}@{champion.version} is champion since {champion.at:%Y-%m-%d %H:%M} UTC ({champion.kind})",
            f"  why:     {champion.reason}",
            f"  trained: {answer['trained because'] or 'see the version before it'}",
        ]
        lines += [f"  data:    {name} {told}" for name, told in (answer["data"] or {}).items()]
        lines.append(f"  before:  {champion.from_version or 'none'}")
    lines += [
        f"  refused: {model}@{r['version']} ({r['answer']}): {'; '.join(r['reasons'])}" for r in answer["refused"]
    ]
    lines += [
        f"  policy:  {r['at']:%Y-%m-%d %H:%M} {r['answer']}: {'; '.join(r['reasons'])}" for r in answer["retraining"]
    ]
    return answer, "\n".join(lines)


def roll_back(settings: Settings, model: str, reason: str) -> Answer:
    """The previous champion again, in the ledger and in the registry's mirror; the asset moves, so its forecast follows."""
    import dagster as dg

    from resources.clock import Clock

    check_model(model)
    promotion = Ledger(settings.ledger_url).rollback(model, reason=reason, at=Clock().wall_now())
    settings.registry().mirror_alias(model, promotion.version)
    moved = dg.AssetMaterialization(
        dg.AssetKey(names.model_key(model, "champion")),
        description=f"rolled back: {reason}",
        metadata={"champion": int(promotion.version), "was": str(promotion.from_version), "reason": reason},
    )
    with dg.DagsterInstance.from_config(str(settings.dagster_home())) as instance:
        instance.report_runless_asset_event(moved)
    text = f"{model}: champion is {promotion.version} again, was {promotion.from_version}; reason: {reason}"
    return {"model": model, "version": promotion.version, "was": promotion.from_version, "reason": reason}, text


def ask_for_retraining(settings: Settings, model: str, reason: str) -> Answer:
    """A cause by hand in the ledger, for the model's sensor; the same second's request is refused as a duplicate."""
    from resources.clock import Clock

    check_model(model)
    at = Clock().wall_now()
    episode = f"{at:%Y%m%dT%H%M%S}"
    Ledger(settings.ledger_url).fire(model, "manual", episode, reason=f"by hand: {reason}", at=at)
    text = f"{model}: asked for; the sensor {model}_retraining launches it within a minute while `make dev` runs"
    return {"model": model, "cause": f"manual/{episode}", "reason": reason}, text


def predictions_of(settings: Settings, model: str, series: list[str]) -> tuple[pl.DataFrame, str]:
    """The champion's last forecast of these series, with the stock level that the source's unit costs imply."""
    import polars as pl

    from platform_assets.science.stock_cost import stock_level
    from platform_assets.science.tasks import TASKS

    check_model(model)
    champion = Ledger(settings.ledger_url).champion(model)
    tables, table = settings.tables(), names.table_name(names.model_key(model, "predictions"))
    if champion is None or not tables.exists(table):
        raise TableError(
            f"{model} has said nothing yet", hint="run `make demo`, or materialize its predictions in the UI"
        )
    said = tables.scan(table).filter(pl.col("model_version") == champion.version)
    said = said.filter(pl.col("issued_at") == pl.col("issued_at").max()).sort("series_id", "target_on").collect()
    if unknown := sorted(set(series) - set(said["series_id"])):
        raise ConfigurationError(
            f"{model} says nothing about series {unknown[:5]}: not live at {said['issued_at'].max()}, or misspelt",
            hint=f"such as {said['series_id'].unique().sort().head(3).to_list()}",
        )
    shown = said.filter(pl.col("series_id").is_in(series)) if series else said
    outputs = [name for task in TASKS.values() for name in task.outputs if name in shown.columns]
    shown = shown.select("series_id", "issued_at", "target_on", "model_version", *outputs)
    levels = next(task.levels for task in TASKS.values() if set(task.outputs) == set(outputs))
    about = ""
    if levels:
        facts = source_of(settings)
        shown = shown.with_columns(
            stock_level(shown.select(outputs), levels, facts.overstock_cost, facts.stockout_cost)
        )
        about = (
            f"; stock_level: one unit too many costs {facts.overstock_cost:.0%} of its price, one too few "
            f"{facts.stockout_cost:.0%}; whole units, rounded up"
        )
    with pl.Config(
        tbl_rows=56, tbl_cols=20, tbl_hide_dataframe_shape=True, float_precision=2, tbl_hide_column_data_types=True
    ):
        text = f"{model}@{champion.version}, issued {said['issued_at'].max()}{about}\n{shown.drop('issued_at', 'model_version')}"
    return shown, text


def source_of(settings: Settings) -> Any:
    """Facts of the source of this state directory."""
    from platform_assets.components.source_choice import source_facts

    return source_facts(component_tree().defs_module_path / "data" / settings.source)


def impact_of(settings: Settings, column: str) -> Answer:
    """Every column that is computed from this one, by the lineage that the assets declare."""
    table, _, name = column.rpartition(".")
    edges: dict[tuple[str, str], list[tuple[str, str]]] = {}
    tables: set[str] = set()
    for spec in assemble(settings).resolve_all_asset_specs():
        tables.add(spec.key.to_user_string())
        lineage = spec.metadata.get("dagster/column_lineage")
        if lineage is None:
            continue
        lineage = getattr(lineage, "value", lineage)
        for target, deps in lineage.deps_by_column.items():
            for dep in deps:
                edges.setdefault((dep.asset_key.to_user_string(), dep.column_name), []).append(
                    (spec.key.to_user_string(), target)
                )
    if (table, name) not in edges:
        near = sorted(f"{t}.{c}" for t, c in edges if t == table) or sorted(tables)
        raise ConfigurationError(
            f"nothing is known to depend on {column!r}", hint=f"write it as table.column; known: {', '.join(near[:40])}"
        )
    found: dict[str, set[str]] = {}
    queue = [(table, name)]
    seen = set(queue)
    while queue:
        for target in edges.get(queue.pop(0), []):
            if target not in seen:
                seen.add(target)
                queue.append(target)
                found.setdefault(target[0], set()).add(target[1])
    answer = {"column": column, "impact": {asset: sorted(columns) for asset, columns in sorted(found.items())}}
    lines = [f"{column} reaches {sum(map(len, found.values()))} columns of {len(found)} assets"]
    lines += [f"  {asset}: {', '.join(sorted(columns))}" for asset, columns in sorted(found.items())]
    return answer, "\n".join(lines)


def final_screen(settings: Settings, outcome: dict[str, Any]) -> Answer:
    """What the demo shows at its end, from the ledger and the stored values."""
    champions, lines = {}, []
    for model in known_models():
        answer, text = why_champion(settings, model)
        champions[model] = answer
        if model in outcome["untrained"]:
            reason = outcome["untrained"][model].removeprefix(f"{model}/training_set: ").replace("\n\n", "\n  ")
            told = f"{model}: not trained: {reason}"
            text = f"{text}\n{told}" if answer["champion"] else told
        lines += [text, ""]
    report = [f"  report:  {path}" for path in sorted(settings.state.glob("reports/*/latest.html"))]
    done = "nothing had to be done: same data, same code" if not outcome["ran"] else f"did: {', '.join(outcome['ran'])}"
    lines += [
        *report,
        f"  state:   {settings.state}",
        f"  {done}; {outcome['seconds']:.0f} s, peak memory {outcome['peak_bytes'] / 1e9:.2f} GB (process tree)",
        "  next:    make dev (the graph in the UI) · .venv/bin/perennial why demand · .venv/bin/perennial predict demand",
    ]
    return {"champions": champions, **outcome, "state": str(settings.state)}, "\n".join(["", *lines])
