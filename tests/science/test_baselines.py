"""Each baseline against a naive loop, SQL or another library; and nothing from after the origin is seen."""

from datetime import date, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import ConfigurationError, EmptyFrameError, ModelError
from platform_assets.science import baselines, dormancy, smoothing
from platform_assets.science.splits import Origin, origin
from platform_assets.science.tasks import LEVELS, PROBABILITY, QUANTILES, QuantileTask

ISSUED_ON = date(2024, 6, 30)  # a Sunday
AT = origin(ISSUED_ON)
NAMES = list(baselines.QUANTILE_BASELINES)


def panel_of(
    seed: int, *, series: int = 4, days: int = 400, period_days: int = 1, closed_weekday: int | None = 5
) -> pl.DataFrame:
    """Weekly-shaped, intermittent demand; closed on one weekday; the last series is three weeks old."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(series):
        periods = days // period_days
        age = (
            max(21 // period_days, 1)
            if number == series - 1
            else periods - int(generator.integers(0, 50 // period_days))
        )
        for back in range(max(age, 1) - 1, -1, -1):
            on = ISSUED_ON - timedelta(days=back * period_days)
            if period_days == 1 and on.weekday() == closed_weekday:
                continue
            rows.append(
                (f"s{number}", on, float(generator.poisson((1 + on.weekday()) * generator.choice([0, 0.5 + number]))))
            )
    return pl.DataFrame(rows, schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64}, orient="row")


def values(panel: pl.DataFrame, name: str, *, last_days: int) -> dict[date, float]:
    """What a naive reader sees of one series."""
    first = ISSUED_ON - timedelta(days=last_days - 1)
    return {
        on: units
        for series, on, units in panel.iter_rows()
        if series == name and first <= on <= ISSUED_ON and units is not None
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_series_and_target_has_ascending_quantiles(name: str) -> None:
    found = baselines.forecast(name, panel_of(0), AT)
    assert found.columns == ["series_id", "target_on", *QUANTILES.outputs]
    assert found.height == 4 * 28 == found.select("series_id", "target_on").n_unique()
    assert (found["target_on"].min(), found["target_on"].max()) == (date(2024, 7, 1), date(2024, 7, 28))
    QUANTILES.validate(found.select(QUANTILES.outputs))
    assert_frame_equal(found, baselines.forecast(name, panel_of(0).sample(fraction=1, shuffle=True, seed=1), AT))


@pytest.mark.parametrize("name", [*NAMES, *baselines.SAMPLED, *dormancy.BASELINES])
def test_nothing_after_the_origin_is_seen(name: str) -> None:
    known = panel_of(1)
    future = known.with_columns(period_on=pl.col("period_on") + timedelta(days=400), units=pl.lit(1e6))
    if name in baselines.SAMPLED:
        known, future = (frame.filter(pl.col("series_id") == "s1") for frame in (known, future))
    assert_frame_equal(baselines.forecast(name, known, AT), baselines.forecast(name, pl.concat([future, known]), AT))


@pytest.mark.parametrize(("name", "days"), [("historical_quantile", 364), ("recent_quantile", 56)])
def test_historical_quantiles_equal_sql(name: str, days: int) -> None:
    panel = panel_of(2)
    found = baselines.forecast(name, panel, AT)
    asked = ", ".join(f"quantile_cont(units, {level})" for level in LEVELS)
    wanted = duckdb.sql(
        f"select series_id, {asked} from panel where period_on > date '{ISSUED_ON}' - {days} and period_on <= '{ISSUED_ON}' group by 1"
    ).fetchall()
    for series_id, *quantiles in wanted:
        ours = found.filter(pl.col("series_id") == series_id).select(QUANTILES.outputs)
        np.testing.assert_allclose(ours.to_numpy(), np.tile(quantiles, (28, 1)))


def test_weekday_quantiles_equal_a_naive_loop() -> None:
    panel = panel_of(3)
    found = baselines.forecast("weekday_quantile", panel, AT)
    for series_id, target_on, *quantiles in found.iter_rows():
        seen = values(panel, series_id, last_days=364)
        same = [units for on, units in seen.items() if on.weekday() == target_on.weekday()]
        used = same if len(same) >= 4 else list(seen.values())
        np.testing.assert_allclose(quantiles, np.quantile(used, LEVELS), err_msg=f"{series_id} {target_on}")


def test_the_moving_average_equals_a_naive_loop() -> None:
    panel = panel_of(4)
    found = baselines.forecast("moving_average", panel, AT)
    for series_id in ("s0", "s3"):
        seen = values(panel, series_id, last_days=364)
        errors = []
        for on, units in seen.items():
            before = [u for o, u in seen.items() if on - timedelta(days=28) <= o < on]
            if before and on > ISSUED_ON - timedelta(days=182):
                errors.append(units - np.mean(before))
        point = np.mean([u for o, u in seen.items() if o > ISSUED_ON - timedelta(days=28)])
        wanted = np.maximum(point + np.quantile(errors, LEVELS), 0)
        ours = found.filter(pl.col("series_id") == series_id).select(QUANTILES.outputs).to_numpy()
        np.testing.assert_allclose(ours, np.tile(wanted, (28, 1)))


def test_the_seasonal_naive_repeats_the_last_same_weekday() -> None:
    panel = panel_of(5, closed_weekday=None)
    found = baselines.forecast("seasonal_naive", panel, AT, levels=(0.25, 0.5))
    for series_id in ("s0", "s2"):
        seen = values(panel, series_id, last_days=364)
        errors = [
            units - seen[on - timedelta(days=7)]
            for on, units in seen.items()
            if on - timedelta(days=7) in seen and on > ISSUED_ON - timedelta(days=182)
        ]
        for _, target_on, _, median in found.filter(pl.col("series_id") == series_id).iter_rows():
            last = max(on for on in seen if on.weekday() == target_on.weekday())
            assert median == pytest.approx(max(seen[last] + np.quantile(errors, 0.5), 0))


def test_smoothing_equals_a_naive_loop_over_the_grid() -> None:
    units = _gappy(6, series=3, periods=90)
    found = smoothing.exponential_smoothing(units, 7, 10)
    for row in range(len(units)):
        best = (np.inf, 0.0, 0.0, [0.0])
        for alpha in smoothing.ALPHAS:
            for gamma in smoothing.GAMMAS:
                squares, ahead = _smooth_naively(units[row], alpha, gamma, 10)
                if squares < best[0] - 1e-9:
                    best = (squares, alpha, gamma, ahead)
        np.testing.assert_allclose(found.parameters[row], best[1:3])
        np.testing.assert_allclose(found.ahead[row], best[3])


def _smooth_naively(y: np.ndarray, alpha: float, gamma: float, horizon: int) -> tuple[float, list[float]]:
    seen = [at for at in range(y.size) if not np.isnan(y[at])][:28]
    level = np.mean([y[at] for at in seen])
    season = []
    for slot in range(7):
        same = [y[at] for at in seen if at % 7 == slot]
        season.append((np.mean(same) if same else level) - level)
    season = [s - np.mean(season) for s in season]
    squares = 0.0
    for at in range(y.size):
        if not np.isnan(y[at]):
            error = y[at] - level - season[at % 7]
            squares += error**2
            level += alpha * error
            season[at % 7] += gamma * error
    return squares, [level + season[(y.size + step) % 7] for step in range(horizon)]


def _gappy(seed: int, *, series: int, periods: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    units = generator.poisson(3 + 2 * np.sin(np.arange(periods) * 2 * np.pi / 7), (series, periods)).astype(float)
    units[generator.random(units.shape) < 0.1] = np.nan
    return units


def test_arima_is_as_good_as_the_librarys() -> None:
    """The library maximises the likelihood, mean included, without a grid: ours lies within 1% of its squared error."""
    from statsforecast.models import ARIMA

    generator = np.random.default_rng(7)
    for phi, theta in ((0.8, -0.4), (0.5, 0.3), (-0.4, 0.0), (0.9, -0.8)):
        shocks = generator.normal(0, 1, 400)
        y = np.zeros(400)
        for at in range(1, 400):
            y[at] = phi * y[at - 1] + shocks[at] + theta * shocks[at - 1]
        y = 10 + y[200:]
        found = smoothing.arima(y[None, :], 14)
        theirs = ARIMA(order=(1, 0, 1)).forecast(y=y, h=14, fitted=True)
        our_error = np.nanmean((y[1:] - found.fitted[0, 1:]) ** 2)
        assert our_error < 1.01 * np.mean((y[1:] - theirs["fitted"][1:]) ** 2)
        assert np.abs(found.ahead[0] - theirs["mean"]).max() < 0.1 * y.std()


def test_arima_equals_a_naive_recursion_at_its_parameters() -> None:
    units = _gappy(8, series=3, periods=120)
    found = smoothing.arima(units, 5)
    for row in range(3):
        mean, phi, theta = found.parameters[row]
        assert mean == pytest.approx(np.nanmean(units[row]))
        value = shock = 0.0
        for at in range(120):
            forecast = phi * value + theta * shock
            if at and not np.isnan(found.fitted[row, at]):
                assert found.fitted[row, at] == pytest.approx(mean + forecast)
            shock = 0.0 if np.isnan(units[row, at]) else units[row, at] - mean - forecast
            value = forecast + shock
        steps = [phi * value + theta * shock]
        for _ in range(4):
            steps.append(phi * steps[-1])
        np.testing.assert_allclose(found.ahead[row], mean + np.array(steps))


def test_automatic_models_forecast_a_seeded_sample_on_open_days() -> None:
    panel = panel_of(9, series=6)
    found = baselines.forecast("auto_ets", panel, AT, sample=2, seed=1)
    assert found["series_id"].n_unique() == 2
    assert found.height == 2 * 28
    assert_frame_equal(found, baselines.forecast("auto_ets", panel, AT, sample=2, seed=1))
    QUANTILES.validate(found.select(QUANTILES.outputs))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([1, 7]), st.sampled_from(NAMES))
def test_any_history_gives_valid_quantiles(seed: int, series: int, period_days: int, name: str) -> None:
    """Gaps, nulls, one-row series, all-zero series, days and weeks."""
    generator = np.random.default_rng(seed)
    panel = panel_of(seed, series=series, days=int(generator.integers(22, 500)), period_days=period_days)
    panel = panel.filter(pl.Series(generator.random(panel.height) < generator.choice([0.02, 0.5, 1.0])))
    panel = panel.with_columns(units=pl.col("units") * int(generator.integers(0, 2)))
    one = pl.DataFrame({"series_id": ["one"], "period_on": [ISSUED_ON - timedelta(days=period_days)], "units": [3.0]})
    found = baselines.forecast(name, pl.concat([panel, one]), origin(ISSUED_ON, period_days=period_days))
    QUANTILES.validate(found.select(QUANTILES.outputs))
    assert found.filter(pl.col("series_id") == "one").height == 28 // period_days


def test_weeks_repeat_the_same_week_of_last_year() -> None:
    first = ISSUED_ON - timedelta(days=7 * 119)
    panel = pl.DataFrame(
        {
            "series_id": ["a"] * 120,
            "period_on": [first + timedelta(days=7 * week) for week in range(120)],
            "units": [float(week % 52) for week in range(120)],
        }
    )
    found = baselines.forecast("seasonal_naive", panel, origin(ISSUED_ON, period_days=7), levels=(0.25, 0.5))
    assert found["q500"].to_list() == [float(week % 52) for week in range(120, 124)]
    assert found["target_on"].to_list() == [ISSUED_ON + timedelta(days=7 * ahead) for ahead in range(1, 5)]


def rows_of(at: Origin, series: list[str], horizon: int) -> pl.DataFrame:
    return pl.DataFrame(
        [(name, at.issued_on + timedelta(days=ahead), ahead) for name in series for ahead in range(1, horizon + 1)],
        schema={"series_id": pl.String, "target_on": pl.Date, "horizon_days": pl.Int16},
        orient="row",
    )


def test_rows_get_the_forecast_of_their_own_origin_in_their_own_order() -> None:
    panel = panel_of(10)
    earlier = origin(ISSUED_ON - timedelta(days=28))
    rows = pl.concat([rows_of(AT, ["s0", "s1"], 28), rows_of(earlier, ["s0", "s1"], 28)]).sample(
        fraction=1, shuffle=True, seed=0
    )
    found = baselines.for_rows(["moving_average", "auto_ets"], rows, panel, QUANTILES)["moving_average"]
    joined = pl.concat([rows, found], how="horizontal")
    for at in (AT, earlier):
        wanted = baselines.forecast("moving_average", panel, at).filter(pl.col("series_id").is_in(["s0", "s1"]))
        mine = joined.filter(pl.col("target_on") - pl.duration(days=pl.col("horizon_days")) == at.issued_on)
        assert_frame_equal(
            mine.drop("horizon_days").sort("series_id", "target_on"), wanted.sort("series_id", "target_on")
        )


def test_sampled_baselines_are_null_elsewhere_and_others_refuse() -> None:
    panel = panel_of(11, series=5)
    rows = rows_of(AT, ["s0", "s1", "never_sold"], 3)
    with pytest.raises(ModelError, match=r"3 of 9 rows have no history.*never_sold"):
        baselines.for_rows(["moving_average"], rows, panel, QUANTILES)
    found = baselines.for_rows(["auto_ets"], rows, panel, QUANTILES)["auto_ets"]
    assert found["q500"].null_count() == 3


def test_the_sample_is_of_the_judged_series_and_the_same_at_every_origin() -> None:
    panel = panel_of(13, series=9)
    earlier = origin(ISSUED_ON - timedelta(days=28))
    judged = [f"s{n}" for n in range(8) if n != 2]  # s2 is not judged, s8 is three weeks old: neither may be drawn
    rows = pl.concat([rows_of(earlier, judged, 28), rows_of(AT, judged, 28)])
    found = baselines.for_rows(["auto_ets"], rows, panel, QUANTILES, sample=3, seed=5)["auto_ets"]
    drawn = rows.filter(found["q500"].is_not_null())
    chosen = baselines.sample_of(pl.Series(judged), 3, 5)
    assert set(drawn["series_id"]) == set(chosen) < set(judged)
    assert drawn.height == 2 * 28 * 3
    other = baselines.for_rows(["auto_ets"], rows, panel, QUANTILES, sample=3, seed=6)["auto_ets"]
    assert set(rows.filter(other["q500"].is_not_null())["series_id"]) != set(chosen)


@pytest.mark.parametrize("name", list(baselines.SAMPLED))
def test_an_automatic_model_is_chosen_at_the_first_origin_and_carried_forward(name: str) -> None:
    """Later sales move what it says at later origins; never what it says at the first, nor which model it is."""
    from statsforecast.models import AutoARIMA, AutoETS

    panel = panel_of(14, series=3, closed_weekday=None).filter(pl.col("series_id") == "s1")
    first, cut = origin(ISSUED_ON - timedelta(days=28)), ISSUED_ON - timedelta(days=28)
    rows = pl.concat([rows_of(first, ["s1"], 28), rows_of(AT, ["s1"], 28)])

    def said(units: pl.Expr) -> pl.DataFrame:
        changed = panel.with_columns(units=pl.when(pl.col("period_on") > cut).then(units).otherwise(pl.col("units")))
        return baselines.for_rows([name], rows, changed, QUANTILES)[name]

    as_it_was, doubled = said(pl.col("units")), said(pl.col("units") * 2)
    assert_frame_equal(as_it_was.head(28), doubled.head(28))
    assert not as_it_was.tail(28).equals(doubled.tail(28))

    arima = AutoARIMA(season_length=7, approximation=True, max_p=2, max_q=2, max_P=1, max_Q=1, nmodels=20)
    values = panel.sort("period_on").filter(pl.col("period_on") > ISSUED_ON - timedelta(days=140))
    known = values.filter(pl.col("period_on") <= cut)["units"].to_numpy()
    model = (AutoETS(season_length=7) if name == "auto_ets" else arima).fit(y=known)
    later = values.tail(112)["units"].to_numpy()
    told = model.forward(y=later, h=28, fitted=True)
    wanted = told["mean"][:, None] + np.quantile((later - told["fitted"])[~np.isnan(told["fitted"])], LEVELS)
    np.testing.assert_allclose(as_it_was.tail(28).to_numpy(), np.maximum(wanted, 0))


def test_other_levels_and_unknown_names() -> None:
    panel = panel_of(12)
    assert baselines.forecast("arima", panel, AT, levels=(0.1, 0.9)).columns[2:] == ["q100", "q900"]
    assert baselines.for_rows(["arima"], rows_of(AT, ["s0"], 2), panel, QuantileTask((0.1, 0.9)))["arima"].width == 2
    with pytest.raises(ConfigurationError, match="'prophet' is unknown"):
        baselines.forecast("prophet", panel, AT)
    with pytest.raises(EmptyFrameError, match="no units from"):
        baselines.forecast("arima", panel, origin(date(2020, 1, 1)))
    assert set(QUANTILES.baselines) == {*baselines.QUANTILE_BASELINES, *baselines.SAMPLED}
    assert set(PROBABILITY.baselines) == set(dormancy.BASELINES)
    assert {*QUANTILES.baselines, *PROBABILITY.baselines} == set(baselines.DESCRIPTIONS)


def dormant_world(seed: int, series: int = 60, days: int = 364) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rate = generator.lognormal(-2, 1.5, series)[:, None]
    units = generator.poisson(np.repeat(rate, days, axis=1)).astype(float)
    units[:, 5::7] = np.nan
    units[-1, :-3] = np.nan
    return units


def test_dormant_rates_equal_a_naive_loop() -> None:
    units = dormant_world(0)
    dormant = {}  # (series, weeks back) -> 1 or 0
    for row in range(60):
        for back in range(26):
            end = 364 - 7 * back
            week, before = units[row, end - 7 : end], units[row, max(end - 7 - 91, 0) : end - 7]
            if not np.isnan(week).all() and np.nansum(before) > 0:
                dormant[row, back] = float(np.nansum(week) == 0)
    base = (sum(dormant.values()) + 1) / (len(dormant) + 2)
    np.testing.assert_allclose(dormancy.base_rate(units, 1), base)
    for row in (0, 7, 59):
        mine = [value for (series, _), value in dormant.items() if series == row]
        assert dormancy.series_rate(units, 1)[row] == pytest.approx((sum(mine) + 4 * base) / (len(mine) + 4))


def test_the_logistic_regression_equals_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    inputs = np.column_stack([np.ones(400), generator.normal(size=(400, 2))])
    came = (generator.random(400) < 1 / (1 + np.exp(-inputs @ [0.5, 1.0, -2.0]))).astype(float)
    theirs = LogisticRegression(C=1 / dormancy.RIDGE, fit_intercept=False, tol=1e-10).fit(inputs, came)
    np.testing.assert_allclose(dormancy._logistic(inputs, came), theirs.coef_[0], rtol=1e-4)


def test_better_informed_baselines_of_dormancy_are_better() -> None:
    units = dormant_world(2, series=800, days=371)
    past, came = units[:, :364], (np.nansum(units[:, 364:], axis=1) == 0).astype(float)
    live = np.nansum(past[:, -91:], axis=1) > 0
    label = pl.Series(came[live])
    loss = {
        name: PROBABILITY.metrics(label, pl.DataFrame({"probability": rate(past, 1)[live]}))["log_loss"]
        for name, rate in dormancy.BASELINES.items()
    }
    assert loss["recency"] < loss["base_rate"]
    assert loss["series_rate"] < loss["base_rate"]


@pytest.mark.parametrize("name", dormancy.BASELINES)
@pytest.mark.parametrize("period_days", [1, 7])
def test_probabilities_are_valid_even_of_poor_histories(name: str, period_days: int) -> None:
    week = origin(ISSUED_ON, horizon_days=7, period_days=period_days)
    panel = panel_of(3, period_days=period_days)
    for poor in (panel, panel.with_columns(units=pl.lit(0.0)), panel.group_by("series_id").tail(1)):
        found = baselines.forecast(name, poor, week)
        assert found.columns == ["series_id", "target_on", "probability"]
        assert found["target_on"].unique().to_list() == [ISSUED_ON + timedelta(days=7)]
        PROBABILITY.validate(found.select("probability"))
