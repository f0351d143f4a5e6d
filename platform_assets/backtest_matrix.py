"""What each week's training would have lost in every later week: trained for real, scored, and kept by what made it."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.errors import DataError, EmptyFrameError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.backtest import Losses

WEEK_DAYS: Final = 7
FOLDER: Final = "backtests"  # of the artifacts that keep what each training lost
Echo = Callable[[str], None]


@dataclass(frozen=True)
class Matrix:
    """The losses, the instants at which their weeks begin, and the rows that were fitted on and judged."""

    losses: Losses
    known_at: tuple[datetime, ...]
    fit: pl.DataFrame
    judged: pl.DataFrame
    sales: pl.LazyFrame


def matrix_of(spec: ModelSpec, res: Any, weeks: int, rows: int, echo: Echo, *, lead: int) -> Matrix:
    """Every week's training in every later week, of so many last weeks and of `lead` before them; what was computed before is read."""
    import numpy as np

    from platform_assets.components.evaluating import observed
    from platform_assets.components.training_set import known_sales
    from platform_assets.science import backtest, baselines
    from platform_assets.science.fingerprint import content_hash
    from platform_assets.science.tasks import TASKS

    task, sales = TASKS[spec.task], known_sales(res)
    weeks += lead
    fit, judged, starts = _rows(spec, res, sales, weeks, rows, echo)
    cuts: list[datetime] = []
    series = judged["series_id"].unique().sort()
    place = {on: at for at, on in enumerate(starts)}
    at_week = np.array([place[on] for on in judged["week_on"]])
    at_series = series.search_sorted(judged["series_id"]).to_numpy()

    def by_week(lost: Any) -> Any:
        matrix = np.zeros((weeks, series.len()))
        np.add.at(matrix, (at_week, at_series), lost)
        return matrix

    other = baselines.for_rows(
        [task.baselines[0]], judged, observed(sales), task, period_days=res.source.period_days, seed=spec.seed
    )[task.baselines[0]]
    judged_hash = content_hash(judged)
    loss = np.full((weeks, weeks, series.len()), np.nan)
    seconds, began = np.zeros(weeks), time.monotonic()
    for number, start in enumerate(starts):
        cut = judged.filter(judged["week_on"] == start)["issued_at"].min()
        cuts.append(cut)  # pyright: ignore[reportArgumentType]
        kept, seconds[number], is_new = _scored(spec, res, fit, judged, judged_hash, cut, rows)
        loss[number] = by_week(kept)
        loss[number, :number] = np.nan  # weeks that it has been trained on
        left = (time.monotonic() - began) / (number + 1) * (weeks - number - 1)
        echo(
            f"{number + 1} of {weeks}: trained on labels known by {cut:%Y-%m-%d}{'' if is_new else ', kept from before'}, {left:.0f} s left"
        )
    beside = by_week(task.loss(judged[spec.label], other).to_numpy())
    return Matrix(backtest.Losses(tuple(starts), loss, beside, seconds, lead), tuple(cuts), fit, judged, sales)


def _rows(
    spec: ModelSpec, res: Any, sales: pl.LazyFrame, weeks: int, rows: int, echo: Echo
) -> tuple[pl.DataFrame, pl.DataFrame, list[date]]:
    """Rows to fit on and to judge by, with features as known then and labels; and the first days of the weeks."""
    import polars as pl

    from platform_assets.components.drawing import horizons
    from platform_assets.components.training_set import derived
    from platform_assets.science.demand import labels, panel, sampling

    period_days = res.source.period_days
    last: date | None = panel.periods(sales).select(pl.col(names.PERIOD_ON).max()).collect().item()
    if last is None:
        raise EmptyFrameError(f"{spec.name}: sales has no period in which anything was sold")
    origins = [last - timedelta(days=WEEK_DAYS * (weeks - number)) for number in range(weeks)]
    reach = tuple(range(period_days, WEEK_DAYS + 1, period_days)) if spec.label == names.UNITS else (WEEK_DAYS,)
    fit = sampling.fit_rows(
        sales,
        rows=rows,
        horizons=horizons(spec, res.source),
        are_targets_open=spec.label == names.UNITS,
        seed=spec.seed,
    )
    judged = sampling.evaluation_rows(sales, issued_on=origins, horizons=reach)
    echo(
        f"{fit.height:,} rows to fit on, {judged.height:,} in {weeks} weeks to judge by; joining {spec.feature_service}"
    )
    parts = [fit.with_columns(is_judged=pl.lit(value=False)), judged.with_columns(is_judged=pl.lit(value=True))]
    joined = res.feature_store.historical(pl.concat(parts), spec.feature_service)
    known = labels.attach(derived(spec, res, joined), sales, label=spec.label).filter(
        pl.col(spec.label).is_not_null() & pl.col("label_known_at").is_not_null()
    )
    fit, judged = (
        known.filter(pl.col("is_judged") == value).sort("series_id", "issued_at", "target_on")
        for value in (False, True)
    )
    week_on = (pl.col("target_on") - pl.duration(days=pl.col("horizon_days") - period_days)).alias("week_on")
    judged = judged.with_columns(week_on)
    starts = judged["week_on"].unique().sort().to_list()
    if len(starts) < weeks:
        raise EmptyFrameError(
            f"{spec.name}: {len(starts)} of the last {weeks} weeks have labels", hint="ask for fewer `--weeks`"
        )
    return fit, judged, starts


def _scored(
    spec: ModelSpec, res: Any, fit: pl.DataFrame, judged: pl.DataFrame, judged_hash: str, cut: Any, rows: int
) -> tuple[Any, float, bool]:
    """Loss of each judged row under the training of this cut, its seconds, and whether it was made just now."""
    import polars as pl

    from platform_assets.components.training import fit_once, settings_of
    from platform_assets.science.fingerprint import content_hash
    from platform_assets.science.splits import fit_mask
    from platform_assets.science.tasks import TASKS

    task, known = TASKS[spec.task], fit.filter(fit_mask(fit, cut))
    made_of = [spec.code_version, spec.seed, rows, content_hash(known), judged_hash]
    key = f"{FOLDER}/{spec.name}/{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]}.parquet"
    try:
        kept = pl.read_parquet(io.BytesIO(res.artifacts.get(key)))
        return kept["loss"].to_numpy(), float(kept["seconds"][0]), False
    except DataError:
        pass  # not made yet
    began = time.process_time()
    profile = res.compute.profile(spec.compute)
    with profile.limits():
        settings = settings_of(spec, threads=profile.threads, device="cpu", progress=lambda line: None)
        fitted, _ = fit_once(spec, fit, settings, cut)
        seconds = time.process_time() - began
        lost = task.loss(judged[spec.label], fitted.predict(judged.select(spec.features)))
    content = io.BytesIO()
    pl.DataFrame({"loss": lost}).with_columns(seconds=pl.lit(seconds)).write_parquet(content)
    res.artifacts.put(key, content.getvalue())
    return lost.to_numpy(), seconds, True
