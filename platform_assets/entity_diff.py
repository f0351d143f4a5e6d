"""`perennial features diff ENTITY`: one entity's values online, offline now, and in the champion's training set."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from platform_assets import names
from platform_assets.answers import Answer, check_model, known_models, source_of
from platform_assets.components.service_features import services
from platform_assets.errors import ConfigurationError, TableError
from platform_assets.reproduction import spec_of
from platform_assets.science.demand import columns
from resources.clock import Clock
from resources.deployment import Settings
from resources.ledger import Ledger

_EPOCH = date(1970, 1, 1)


def diff_entity(settings: Settings, entity: str, model: str | None = None, target: date | None = None) -> Answer:
    """Each feature of the model's service: online, offline now, and in the last training row of this series.

    Raises: ConfigurationError for a series that no table has, naming some that there are.
    """
    import polars as pl

    model = model or _first_with_champion(settings)
    check_model(model)
    service = spec_of(model).feature_service
    views = services()[service]
    store, tables = settings.feature_store(), settings.tables()

    from resources.feast_polars.parity import is_same  # 7 CPU s: it imports Feast

    last, known_last = _last_row(tables, views, entity)
    now = Clock(settings.now).as_served(known_last, settings.source_ends_at())
    target = target or first_target(last, source_of(settings).timezone)
    rows = pl.DataFrame({names.SERIES_ID: [entity], names.TARGET_DAY: [(target - _EPOCH).days]})
    online = store.online(rows, service, now=now).row(0, named=True)
    offline = store.historical(rows.with_columns(pl.lit(now).alias(names.ISSUED_AT)), service).row(0, named=True)
    version, trained = _training_row(settings, tables, model, entity)
    found = []
    for view in views:
        for feature in columns.VIEWS[view]:
            row = {"view": view, "feature": feature, "online": online[feature], "offline": offline[feature]}
            row["training"] = trained.get(feature) if trained else None
            found.append(row | {"is_same": is_same(online[feature], offline[feature])})
    answer = {
        "entity": entity,
        "model": model,
        "champion": version,
        "as_of": now,
        "target": target,
        "training_row": trained and {name: trained[name] for name in (names.ISSUED_AT, names.TARGET_ON)},
        "differences": sum(not row["is_same"] for row in found),
        "features": found,
    }
    return answer, _text(answer)


def first_target(ended_at: datetime, timezone: str) -> date:
    """The period that begins where the last known one ended, at a local midnight."""
    return ended_at.astimezone(ZoneInfo(timezone)).date()


def target_day(text: str | None) -> date | None:
    """Raises: ConfigurationError for what is no day."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--target is {text!r}, expected a day such as 2025-12-31") from error


def _first_with_champion(settings: Settings) -> str:
    ledger = Ledger(settings.ledger_url)
    champions = [model for model in known_models() if ledger.champion(model) is not None]
    return champions[0] if champions else known_models()[0]


def _last_row(tables: Any, views: tuple[str, ...], entity: str) -> tuple[datetime, datetime]:
    """Event and known-at time of the last row of all, if the entity has one."""
    import polars as pl

    name = names.table_name(names.view_key(views[0]))
    if not tables.exists(name):
        raise TableError(f"{name}: no such table yet", hint="run `make demo`, or materialize it in the UI")
    scanned = tables.scan(name)
    if scanned.filter(pl.col(names.SERIES_ID) == entity).head(1).collect().is_empty():
        some = scanned.select(pl.col(names.SERIES_ID).unique()).collect().to_series().sort().head(3).to_list()
        raise ConfigurationError(
            f"no series {entity!r} in {name}", hint=f"such as {', '.join(some)}" if some else "the table is empty"
        )
    return scanned.select(pl.col(names.EVENT_AT).max(), pl.col(names.KNOWN_AT).max()).collect().row(0)


def _training_row(settings: Settings, tables: Any, model: str, entity: str) -> tuple[str | None, dict[str, Any] | None]:
    """The champion and its last training row of the series, the nearest target first."""
    import polars as pl

    champion = Ledger(settings.ledger_url).champion(model)
    if champion is None:
        return None, None
    name = names.table_name(names.model_key(model, "training_set"))
    read = settings.registry().manifest(model, champion.version).tables[name]
    rows = tables.scan(name, version=read).filter(pl.col(names.SERIES_ID) == entity, pl.col("purpose") == "fit")
    last = rows.sort(names.ISSUED_AT, names.TARGET_ON, descending=[True, False]).head(1).collect()
    return champion.version, None if last.is_empty() else last.row(0, named=True)


def _text(answer: dict[str, Any]) -> str:
    row = answer["training_row"]
    trained = f"row issued {row[names.ISSUED_AT]} for {row[names.TARGET_ON]}" if row else "has no row of it"
    champion = (
        f"{answer['model']}@{answer['champion']}" if answer["champion"] else f"{answer['model']} without champion"
    )
    lines = [
        f"{answer['entity']} as of {answer['as_of'].astimezone(UTC):%Y-%m-%d %H:%M} UTC, target {answer['target']}; "
        f"training set of {champion}: {trained}",
        f"{answer['differences']} of {len(answer['features'])} features differ between online and offline",
        f"  {'feature':<42}{'online':>16}{'offline now':>16}{'training':>16}",
    ]
    lines += [
        f"{' ' if f['is_same'] else '!'} {f['view'] + '.' + f['feature']:<42}"
        + "".join(f"{_shown(f[place]):>16}" for place in ("online", "offline", "training"))
        for f in answer["features"]
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{len(value)} values" if isinstance(value, list) else str(value)
