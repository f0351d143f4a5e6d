"""What the command line says: read from the ledger, the registry and the tables, as data and as text."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from platform_assets import names
from platform_assets.components.going_on import check_goes_on
from platform_assets.components.model_assets import model_names
from platform_assets.components.trainer_source import declared_parameters
from platform_assets.definitions import assemble, component_tree
from platform_assets.errors import ConfigurationError, TableError
from resources.deployment import Settings
from resources.ledger import Ledger

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from resources.ledger_rows import Promotion

Answer = tuple[dict[str, Any], str]
SUMMED = 8  # series of a forecast whose sums are told


def known_models() -> list[str]:
    """Models of defs/models."""
    return model_names()


def check_model(model: str) -> None:
    """Raises: ConfigurationError naming the models that there are."""
    if model not in known_models():
        near = difflib.get_close_matches(model, known_models(), 1)
        hint = f"did you mean {near[0]}?" if near else None
        raise ConfigurationError(f"no model {model!r}; known: {', '.join(known_models())}", hint=hint)


def standing_champion(ledger: Ledger, model: str) -> Promotion | None:
    """The champion; None where nothing was judged yet.

    Raises: TableError where candidates were judged and none became champion.
    """
    champion = ledger.champion(model)
    if champion is None and ledger.decisions(model, kind="gate"):
        raise TableError(
            f"{model} has no champion: what was trained was refused", hint=f"`perennial why {model}` says why"
        )
    return champion


def why_champion(settings: Settings, model: str) -> Answer:
    """Which version is champion, since when, from which data, and why; what was refused, and what asked for retraining."""
    from platform_assets import why

    check_model(model)
    answer = why.why_champion(settings, model)
    return {**answer, "state": str(settings.state)}, why.told(answer)


def said_reason(reason: str) -> str:
    """The reason without blanks around it.

    Raises: ConfigurationError where nothing is left.
    """
    if not reason.strip():
        raise ConfigurationError("the reason is empty", hint="say why, in words: it stands in the ledger for good")
    return reason.strip()


def roll_back(settings: Settings, model: str, reason: str) -> Answer:
    """The previous champion again, in the ledger and in the registry's mirror; the asset moves, so its forecast follows."""
    import dagster as dg

    from resources.clock import Clock

    check_model(model)
    reason = said_reason(reason)
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


def ask_for_retraining(
    settings: Settings, model: str, reason: str, train_on: Mapping[str, Any] | None = None
) -> Answer:
    """A cause by hand in the ledger, for the model's sensor; the same second's request is refused as a duplicate.

    `train_on`: what is to be learned from, where it differs from the `train_on` of the model's policy; a window of 0 days is
    all history.
    """
    from platform_assets.science.retraining_policy import train_on_of
    from resources.clock import Clock

    check_model(model)
    reason = said_reason(reason)
    given = {key: value or None if key == "window_days" else value for key, value in (train_on or {}).items()}
    if train_on_of(given, "train_on").start == "champion":
        check_goes_on(model, declared_parameters(component_tree().defs_module_path / "models" / model))
    at = Clock().wall_now()
    episode = f"{at:%Y%m%dT%H%M%S}"
    evidence = {"train_on": given} if given else None
    Ledger(settings.ledger_url).fire(model, "manual", episode, reason=f"by hand: {reason}", at=at, evidence=evidence)
    text = f"{model}: asked for; the sensor {model}_retraining launches it within a minute while `make dev` runs"
    return {"model": model, "cause": f"manual/{episode}", "reason": reason, "train_on": given}, text


def predictions_of(settings: Settings, model: str, series: list[str]) -> tuple[pl.DataFrame, dict[str, Any], str]:
    """The champion's last forecast of these series, with the stock level that the source's unit costs imply; how old it is."""
    import polars as pl

    from platform_assets.science.demand import panel
    from platform_assets.science.stock_cost import sells_whole_units, stock_level
    from platform_assets.science.tasks import TASKS

    check_model(model)
    champion = standing_champion(Ledger(settings.ledger_url), model)
    tables, table = settings.tables(), names.table_name(names.model_key(model, "predictions"))
    if champion is None or not tables.exists(table):
        raise TableError(
            f"{model} has said nothing yet",
            hint=f"run the demo on {settings.state}, or materialize its predictions in the UI",
        )
    said = tables.scan(table).filter(pl.col("model_version") == champion.version)
    said = said.filter(pl.col("issued_at") == pl.col("issued_at").max()).sort("series_id", "target_on").collect()
    if unknown := sorted(set(series) - set(said["series_id"])):
        live = said["series_id"].unique().sort().to_list()
        near = difflib.get_close_matches(unknown[0], live, 3)
        raise ConfigurationError(
            f"{model} says nothing about series {unknown[:5]}: not live at {said['issued_at'].max()}, or misspelt",
            hint=f"did you mean {', '.join(near)}?" if near else f"such as {', '.join(live[:3])}",
        )
    shown = said.filter(pl.col("series_id").is_in(series)) if series else said
    outputs = [name for task in TASKS.values() for name in task.outputs if name in shown.columns]
    shown = shown.select("series_id", "issued_at", "target_on", "model_version", *outputs)
    levels = next(task.levels for task in TASKS.values() if set(task.outputs) == set(outputs))
    facts = source_of(settings)
    about = ""
    if levels:
        sales = tables.scan(names.SALES).filter(pl.col(names.SERIES_ID).is_in(shown["series_id"].unique().implode()))
        known = panel.latest(sales, known_by=said["issued_at"].item(0))
        wholes = known.group_by(names.SERIES_ID).agg(is_whole=sells_whole_units(names.UNITS)).collect()
        beside = shown.join(wholes, on=names.SERIES_ID, how="left", maintain_order="left")
        is_whole = beside["is_whole"].fill_null(value=True)
        shown = shown.with_columns(
            stock_level(shown.select(outputs), levels, facts.overstock_cost, facts.stockout_cost, is_whole)
        )
        over, short = facts.overstock_cost, facts.stockout_cost
        price = f"{over:.0%} of its price, one too few {short:.0%}"
        costs = price if "price" in facts.columns else f"{over:g}, one too few {short:g}"
        about = f"; stock_level: one unit too many costs {costs}; {_rounding(is_whole)}"
    issued_at = said["issued_at"].dt.convert_time_zone(facts.timezone).item(0)
    age = _age(settings, model, issued_at)
    with pl.Config(
        tbl_rows=56, tbl_cols=20, tbl_hide_dataframe_shape=True, float_precision=2, tbl_hide_column_data_types=True
    ):
        table = str(shown.drop("issued_at", "model_version"))
    head = f"{model}@{champion.version}, issued {issued_at}, on sales up to {age['sales_until']}{about}"
    return shown, age, "\n".join([head, *outdated(age), table, *_sums(shown)])


def _age(settings: Settings, model: str, issued_at: datetime) -> dict[str, Any]:
    """When a forecast was issued, on which sales, and whether newer ones are known by now.

    A period on which nothing is known to have sold issues no forecast (`panel.periods`), so it makes none old.
    """
    import polars as pl

    from resources.clock import Clock

    known = settings.tables().scan(names.SALES).filter(pl.col(names.UNITS) > 0)
    known = known.filter(pl.col(names.KNOWN_AT) <= Clock(settings.now).now())
    ended_at = known.select(pl.col(names.EVENT_AT).max()).collect().item() or issued_at
    newest = max(ended_at.astimezone(issued_at.tzinfo), issued_at)
    behind = (newest.date() - issued_at.date()).days
    return {
        "issued_at": issued_at.astimezone(UTC),
        "sales_until": issued_at.date() - timedelta(days=1),  # a local day is known at the midnight that ends it
        "newest_sales_on": newest.date() - timedelta(days=1),
        "days_behind": behind,
        "refresh": "/".join(names.model_key(model, "predictions")) if behind else None,
    }


def outdated(age: dict[str, Any]) -> list[str]:
    """A warning where newer sales are known than a forecast was issued on, with what makes a newer one."""
    days = age["days_behind"]
    if not days:
        return []
    return [
        f"warning: sales up to {age['newest_sales_on']} are known, {days} day{'s' if days > 1 else ''} more than when it was issued; "
        f"materialize {age['refresh']} (in the UI: `make dev`) for a newer forecast"
    ]


def _rounding(is_whole: pl.Series) -> str:
    """How levels come from quantiles, of series that are sold in whole units or in fractions."""
    if is_whole.all():
        return "the nearest whole unit"
    return (
        "the nearest whole unit, where no fractions are sold" if is_whole.any() else "not rounded: fractions are sold"
    )


def _sums(shown: pl.DataFrame) -> list[str]:
    """A line for each of a few series: what its periods add up to; and what such a sum is not."""
    import polars as pl

    if not {"q500", "stock_level"} <= set(shown.columns) or shown["series_id"].n_unique() > SUMMED:
        return []
    sums = shown.group_by("series_id", maintain_order=True).agg(
        pl.len(), pl.col("q500").sum(), pl.col("stock_level").sum()
    )
    digits = ".1f" if sums["stock_level"].dtype.is_float() else "d"
    lines = [
        f"{series}: the {periods} medians add up to {median:.1f}, the stock levels to {level:{digits}}"
        for series, periods, median, level in sums.iter_rows()
    ]
    return [
        *lines,
        "Each stock level is for its own period alone: what it leaves over is not carried into the next. "
        "Neither sum forecasts what all the periods sell together.",
    ]


def features_with(word: str | None) -> Answer:
    """Features that a Feast service offers, with their meanings; only those with the word in either."""
    from platform_assets.components.service_features import features_of, services
    from platform_assets.science.demand.columns import ALL

    offered = {name: service for service in services() for name in features_of(service)}
    found = {
        name: feature
        for name, feature in ALL.items()
        if name in offered and (word is None or word.lower() in f"{name} {feature.about}".lower())
    }
    if not found:
        raise ConfigurationError(f"no feature has {word!r} in its name or meaning", hint="`perennial features list`")
    answer = [{"name": name, "type": feature.dtype, "meaning": feature.about} for name, feature in found.items()]
    width = max(map(len, found))
    return {"features": answer}, "\n".join(f"{name:<{width}}  {feature.about}" for name, feature in found.items())


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
        known = sorted(f"{t}.{c}" for t, c in edges if t == table) or sorted(tables)
        near = difflib.get_close_matches(column, [f"{t}.{c}" for t, c in edges], 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ConfigurationError(
            f"nothing is known to depend on {column!r}",
            hint=f"{meant}write it as table.column; known: {', '.join(known[:40])}",
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
