"""The champion's expected loss before labels come, kept as it was estimated, and what came of it, kept as it was known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import polars as pl

    from platform_assets.science.outlook import Scored

EXPECTED: Final = "expected_loss"  # an estimate for each issue and day, as it was made
CAME: Final = "expected_loss_came"  # of each issue's weeks, the loss beside its estimate
WEEKLY: Final = "weekly_performance"  # every figure of each week and segment
CAME_KEY: Final = ("model_version", "issued_at", "week")
WEEKLY_KEY: Final = ("model_version", "week_on", "segment", "metric")


def keep_estimates(
    spec: ModelSpec, res: Any, version: str, tested: Scored, lived: Scored, recorded: pl.DataFrame, known_until: date
) -> dict[str, Any]:
    """Estimates of what the champion has issued since, appended; returns what the UI shows of them.

    recorded: the champion's forecasts; of those for days after `known_until`, the last day known, such as have no
    estimate yet are estimated. So none is made once anything of its day is known, and none is made again.
    """
    import polars as pl

    from platform_assets.science import outlook
    from platform_assets.science.tasks import TASKS

    task, table = TASKS[spec.task], names.table_name(names.model_key(spec.name, EXPECTED))
    kept = pl.DataFrame(schema=outlook.ESTIMATES)
    if res.tables.exists(table):
        kept = res.tables.scan(table).filter(pl.col("model_version") == version).select(*outlook.ESTIMATES).collect()
    came = outlook.compared(kept, lived, known_until=known_until)
    new = recorded.filter(pl.col("target_on") > known_until).join(kept, on=["issued_at", "target_on"], how="anti")
    found = outlook.outlook(tested, lived, came, new, new.select(task.outputs), task)
    if found.estimates.height:
        made = found.estimates.with_columns(model_version=pl.lit(version), made_at=_now(res))
        res.tables.append(table, made, key=list(outlook.KEY))
    if came.height:
        said = came.with_columns(model_version=pl.lit(version))
        keep_revised(res, names.model_key(spec.name, CAME), said, key=CAME_KEY, values=("realized", "rows"))
    return _told(task.primary, pl.concat([kept, found.estimates]), came)


def keep_revised(
    res: Any, key_of_table: Sequence[str], found: pl.DataFrame, *, key: Sequence[str], values: Sequence[str]
) -> None:
    """Append what is new or has changed since it was kept last, with the platform's now as `known_at`."""
    import polars as pl

    from platform_assets.science.performance import revised

    table = names.table_name(list(key_of_table))
    kept = res.tables.scan(table).collect() if res.tables.exists(table) else None
    if kept is not None:
        kept = kept.join(found.select(pl.col("model_version").unique()), on="model_version", how="semi")
    changed = revised(found, kept, key=key, values=values)
    if changed.height:
        res.tables.append(table, changed.with_columns(known_at=_now(res)), key=[*key, "known_at"])


def _now(res: Any) -> pl.Expr:
    import polars as pl

    return pl.lit(res.clock.now()).dt.cast_time_unit("us").dt.convert_time_zone("UTC")


def _told(loss: str, estimates: pl.DataFrame, came: pl.DataFrame) -> dict[str, Any]:
    """Numbers with a history in the UI, and what they stand on."""
    from platform_assets.science import outlook

    told: dict[str, Any] = {}
    for name, (expected, low, high) in outlook.spans(estimates).items():
        told[f"expected {loss}, {name}"] = expected
        if low is not None and high is not None:
            told |= {f"expected {loss}, {name}, low": low, f"expected {loss}, {name}, high": high}
    share, weeks = outlook.coverage(came)
    if weeks:
        told[f"weeks inside their {outlook.LEVEL:.0%} interval"] = share
        told["weeks compared with their estimate"] = weeks
    return {**told, "about the expected loss": outlook.about(estimates)}
