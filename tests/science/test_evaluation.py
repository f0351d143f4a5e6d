"""An evaluation's figures are those of the task; it pairs, excludes, slices and hands the gate what the gate needs."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import ConfigurationError, EmptyFrameError, ModelError, SchemaError
from platform_assets.science.evaluation import evaluate
from platform_assets.science.findings import Evaluation, Sample
from platform_assets.science.gate import GatePolicy, decide
from platform_assets.science.stock_cost import UnitCosts
from platform_assets.science.tasks import PROBABILITY, QUANTILES

FIRST = date(2024, 5, 5)
COSTS = UnitCosts(0.1, 0.4)


def world(
    seed: int = 0, series: int = 60, *, origins: int = 2
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame]:
    """Rows with some labels missing; a candidate near the truth, a flat and a bad baseline, one on a sample; segments."""
    generator = np.random.default_rng(seed)
    rate = generator.lognormal(1, 0.7, series)
    keys = [
        (f"s{n:02d}", FIRST + timedelta(days=28 * o), FIRST + timedelta(days=28 * o + ahead), ahead, n)
        for o in range(origins)
        for n in range(series)
        for ahead in range(1, 15)
    ]
    rows = pl.DataFrame(
        {
            "series_id": [key[0] for key in keys],
            "issued_at": [
                datetime(key[1].year, key[1].month, key[1].day, tzinfo=UTC) + timedelta(days=1) for key in keys
            ],
            "target_on": [key[2] for key in keys],
            "horizon_days": pl.Series([key[3] for key in keys], dtype=pl.Int16),
            "units": generator.poisson(rate[[key[4] for key in keys]]).astype(float),
        }
    ).with_columns(units=pl.when(pl.col("target_on").dt.weekday() == 6).then(None).otherwise(pl.col("units")))
    mine = rate[[key[4] for key in keys]]
    flat = np.full(len(keys), rate.mean())

    def quantiles(level: np.ndarray) -> pl.DataFrame:
        spread = level[:, None] + np.sqrt(level)[:, None] * np.array([-2.1, -0.7, 0, 0.7, 1.7, 2.4])
        return pl.DataFrame(np.maximum(spread, 0), schema=list(QUANTILES.outputs))

    sampled = quantiles(mine * 1.2).with_columns(
        pl.when(pl.Series([key[4] < 10 for key in keys])).then(pl.col(name)).alias(name) for name in QUANTILES.outputs
    )
    predictions = {
        "candidate": quantiles(mine),
        "flat": quantiles(flat),
        "bad": quantiles(flat * 3),
        "auto_arima": sampled,
    }
    parts = pl.DataFrame(
        {
            "price": [None if key[4] == 5 else 1.0 + key[4] % 7 for key in keys],
            "volume": ["low volume" if rate[key[4]] < np.median(rate) else "high volume" for key in keys],
        }
    )
    return rows, predictions, parts


def history() -> pl.DataFrame:
    return pl.DataFrame(
        [(f"s{n:02d}", FIRST - timedelta(days=back), float(n)) for n in range(60) for back in range(80)],
        schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64},
        orient="row",
    )


@pytest.fixture(scope="module")
def found() -> Evaluation:
    rows, predictions, parts = world()
    return evaluate(QUANTILES, rows, predictions, segments=parts, history=history(), costs=COSTS, draws=400)


def test_figures_are_those_of_the_task_on_rows_with_a_label(found: Evaluation) -> None:
    rows, predictions, parts = world()
    kept = rows["units"].is_not_null()
    assert found.rows == kept.sum() == rows.height - sum(found.excluded.values())
    for name in ("candidate", "flat", "bad"):
        wanted = QUANTILES.metrics(
            rows["units"].filter(kept), predictions[name].filter(kept), parts["price"].filter(kept), COSTS
        )
        for figure, value in wanted.items():
            if not figure.startswith("calibration"):
                interval = found.figures[name][figure]
                assert interval.estimate == pytest.approx(value), figure
                assert interval.low <= interval.estimate <= interval.high, figure
        distances = {
            f"calibration_{o}": c.distance for o, c in zip(QUANTILES.outputs, found.calibration[name], strict=True)
        }
        assert distances == pytest.approx({k: v for k, v in wanted.items() if k.startswith("calibration")})


@pytest.mark.parametrize(("last_closed", "to_come"), [(0, 3), (1, 2)])
def test_what_is_to_come_is_told_from_what_is_closed_or_unknown(last_closed: int, to_come: int) -> None:
    """Days after the last known one were counted as closed. `last_closed`: known days at the end that have no label."""
    rows, predictions, _ = world(series=5, origins=1)
    days = rows["target_on"].unique().sort()
    known = history().head(1).with_columns(period_on=pl.lit(days[-4 + last_closed]))
    rows = rows.with_columns(units=pl.when(pl.col("target_on") <= days[-4]).then("units"))
    closed = (days[: -4 + 1].dt.weekday() == 6).sum() + last_closed
    found = evaluate(QUANTILES, rows, predictions, history=known, draws=20)
    assert found.excluded == {"not known yet": 5 * to_come, "closed or unknown": 5 * closed}


def test_comparisons_are_paired_and_the_best_baseline_is_whole(found: Evaluation) -> None:
    rows, predictions, _ = world()
    kept = rows["units"].is_not_null()
    loss = {n: QUANTILES.loss(rows["units"].filter(kept), p.filter(kept)) for n, p in predictions.items()}
    assert found.baselines == ("flat", "bad", "auto_arima")
    assert found.best_baseline == "flat" == found.opponent
    gain = found.comparisons["flat"].improvements["pinball"]
    assert gain.estimate == pytest.approx(1 - loss["candidate"].sum() / loss["flat"].sum())
    assert found.comparisons["flat"].difference.estimate == pytest.approx((loss["candidate"] - loss["flat"]).mean())
    sampled = found.comparisons["auto_arima"]
    is_sampled = predictions["auto_arima"]["q500"].is_not_null().filter(kept)
    assert (sampled.rows, sampled.series) == (is_sampled.sum(), 10)
    assert sampled.improvements["pinball"].estimate == pytest.approx(
        1 - loss["candidate"].filter(is_sampled).sum() / loss["auto_arima"].filter(is_sampled).sum()
    )
    assert found.figures["auto_arima"]["pinball"].estimate == pytest.approx(
        loss["auto_arima"].filter(is_sampled).mean()
    )
    assert set(found.comparisons["flat"].improvements) == {*QUANTILES.compared, "rmse"}


@pytest.mark.parametrize("figure", ["pinball_weighted", "mae", "mse", "rmse", "overstock_cost", "stockout_cost"])
def test_every_figure_is_paired_overall_and_in_every_part(found: Evaluation, figure: str) -> None:
    rows, predictions, parts = world()
    kept = rows["units"].is_not_null()
    low = next(part for part in found.slices if part.name == "low volume")
    for mask, compared, mine in (
        (kept, found.comparisons["flat"].improvements, found.figures["candidate"]),
        (kept & (parts["volume"] == "low volume"), low.compared["flat"], low.figures),
    ):
        values = {
            name: QUANTILES.metrics(
                rows["units"].filter(mask), predictions[name].filter(mask), parts["price"].filter(mask), COSTS
            )[figure]
            for name in ("candidate", "flat")
        }
        assert mine[figure].estimate == pytest.approx(values["candidate"])
        assert compared[figure].estimate == pytest.approx(1 - float(values["candidate"]) / float(values["flat"]))
        assert compared[figure].low <= compared[figure].estimate <= compared[figure].high


def test_stock_is_priced_in_whole_units_where_a_series_sells_those() -> None:
    rows, predictions, parts = world()
    is_whole = pl.Series("is_whole", [place % 2 == 0 for place in range(rows.height)])
    found = evaluate(QUANTILES, rows, predictions, segments=parts.with_columns(is_whole), costs=COSTS, draws=20)
    kept = rows["units"].is_not_null()
    wanted = QUANTILES.ratios(
        rows["units"].filter(kept),
        predictions["candidate"].filter(kept),
        parts["price"].filter(kept),
        COSTS,
        is_whole.filter(kept),
    )
    assert found.figures["candidate"]["stock_cost"].estimate == pytest.approx(wanted["stock_cost"].value)


def test_calibration_is_paired_too(found: Evaluation) -> None:
    gain = found.comparisons["bad"].calibration
    assert gain is not None
    mean = {name: np.mean([level.distance for level in found.calibration[name]]) for name in ("candidate", "bad")}
    assert gain.estimate == pytest.approx(mean["bad"] - mean["candidate"])
    assert 0 < gain.low < gain.estimate < gain.high
    assert found.comparisons["auto_arima"].calibration is None  # which predicted a sample


def test_a_baseline_on_a_sample_of_series_is_never_the_best_one_unless_the_sample_is_all() -> None:
    rows, predictions, _ = world(series=30)
    candidate = predictions["candidate"]
    is_drawn = rows["series_id"].is_in([f"s{n:02d}" for n in range(8)])
    drawn = candidate.with_columns(pl.when(is_drawn).then(pl.col(name)).alias(name) for name in QUANTILES.outputs)
    found = evaluate(QUANTILES, rows, {**predictions, "auto_arima": drawn}, draws=50, seed=3)
    assert found.best_baseline == "flat"  # on its own series the sampled one is as good as the candidate
    assert found.sample == Sample(("auto_arima",), 8, 30, 3)
    assert found.gate_evidence("m", candidate_cut=None).against == "flat"
    assert found.to_dict()["sample"] == {"baselines": ["auto_arima"], "series": 8, "of": 30, "seed": 3}
    whole = evaluate(QUANTILES, rows, {**predictions, "auto_arima": candidate}, draws=50)
    assert (whole.best_baseline, whole.sample) == ("auto_arima", None)


def test_slices_of_one_kind_hold_every_row_once(found: Evaluation) -> None:
    rows, predictions, parts = world()
    kept = rows["units"].is_not_null()
    for kind in ("volume", "origin", "horizon"):
        slices = [part for part in found.slices if part.kind == kind]
        assert sum(part.rows for part in slices) == found.rows
        total = sum(part.rows * part.loss["candidate"].estimate for part in slices)
        assert total == pytest.approx(found.rows * found.figures["candidate"]["pinball"].estimate)
    assert [part.name for part in found.slices if part.kind == "horizon"] == ["week 1", "week 2"]
    assert [part.name for part in found.slices if part.kind == "origin"] == ["2024-05-05", "2024-06-02"]
    low = next(part for part in found.slices if part.name == "low volume")
    mine = kept & (parts["volume"] == "low volume")
    loss = {
        n: QUANTILES.loss(rows["units"].filter(mine), predictions[n].filter(mine)).sum() for n in ("candidate", "bad")
    }
    assert low.improvements["bad"].estimate == pytest.approx(1 - loss["candidate"] / loss["bad"])
    assert "auto_arima" not in low.loss


def test_rows_in_another_order_give_the_same_evaluation(found: Evaluation) -> None:
    rows, predictions, parts = world()
    order = np.random.default_rng(1).permutation(rows.height)
    again = evaluate(
        QUANTILES,
        rows[order],
        {name: frame[order] for name, frame in predictions.items()},
        segments=parts[order],
        history=history(),
        costs=COSTS,
        draws=400,
    )
    for figure, interval in found.figures["candidate"].items():
        assert again.figures["candidate"][figure].low == pytest.approx(interval.low, nan_ok=True), figure
    assert [e.series_id for e in again.examples] == [e.series_id for e in found.examples]


def test_examples_are_the_worst_typical_and_best_of_the_last_origin(found: Evaluation) -> None:
    kinds = {kind: [e for e in found.examples if e.kind == kind] for kind in ("worst", "typical", "best")}
    assert all(len(examples) == 2 for examples in kinds.values())
    assert max(e.improvement for e in kinds["worst"]) < min(e.improvement for e in kinds["typical"])
    assert max(e.improvement for e in kinds["typical"]) < min(e.improvement for e in kinds["best"])
    for example in found.examples:
        assert len(example.past) == 56
        assert max(example.past_on) < min(example.target_on)
        assert min(example.target_on) > date(2024, 6, 2)
        assert len(example.actual) == len(example.quantiles) == len(example.target_on)


def test_it_is_plain_json(found: Evaluation) -> None:
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["comparisons"]["flat"]["improvements"]["pinball"]["estimate"] > 0
    assert told["judged_from"] == "2024-05-06T00:00:00+00:00"


def test_the_gate_reads_it(found: Evaluation) -> None:
    evidence = found.gate_evidence("demand", candidate_cut=found.judged_from, has_contract_passed=True)
    assert (evidence.against, evidence.is_against_champion, evidence.series) == ("flat", False, 60)
    assert [s.name for s in evidence.segments] == ["volume: low volume", "volume: high volume"]
    assert decide(evidence, GatePolicy()).answer == "better"
    late = found.gate_evidence("demand", candidate_cut=found.judged_from + timedelta(days=1), has_contract_passed=True)
    assert decide(late, GatePolicy()).answer == "not_better"


def test_a_champion_stands_before_every_baseline() -> None:
    rows, predictions, parts = world()
    predictions = {**predictions, "champion": predictions["candidate"].clone()}
    found = evaluate(QUANTILES, rows, predictions, champion="champion", segments=parts, draws=100)
    assert found.opponent == "champion"
    assert "champion" not in found.baselines
    evidence = found.gate_evidence(
        "demand",
        candidate_cut=found.judged_from,
        champion_cut=found.judged_from,
        champion_version="7",
        has_contract_passed=True,
    )
    assert (evidence.against, evidence.is_against_champion) == ("7", True)
    decision = decide(evidence, GatePolicy())
    assert (decision.answer, decision.promotes) == ("undecided", False), "the same model is no better than itself"


def test_probabilities_have_their_own_figures() -> None:
    generator = np.random.default_rng(3)
    rows, _, _ = world(series=200)
    truth = generator.random(rows.height)
    rows = rows.with_columns(is_dormant=pl.Series((generator.random(rows.height) < truth).astype(float)))
    predictions = {
        "candidate": pl.DataFrame({"probability": truth}),
        "base_rate": pl.DataFrame({"probability": np.full(rows.height, 0.5)}),
    }
    found = evaluate(PROBABILITY, rows, predictions, label="is_dormant", draws=200)
    wanted = PROBABILITY.metrics(rows["is_dormant"], predictions["candidate"])
    for figure, value in wanted.items():
        interval = found.figures["candidate"][figure]
        assert interval.estimate == pytest.approx(value), figure
        if figure != "calibration_error":  # of a calibrated model it is all noise, and a draw has more of it
            assert interval.low <= value <= interval.high
    assert found.figures["base_rate"]["auc"].estimate == 0.5
    assert found.comparisons["base_rate"].improvements["log_loss"].low > 0
    assert found.calibration == {}
    assert found.roc["candidate"][0] == (0, 0)
    assert sum(b.rows for b in found.reliability["candidate"]) == found.rows
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("label", "lacks"), [(0.0, "never came"), (1.0, "always came"), (None, "")])
def test_where_nothing_can_be_told_apart_the_gate_is_told(label: float | None, lacks: str) -> None:
    """A shop whose every product sells every week: a model that says so beat the recency baseline by 99.9%."""
    rows, _, _ = world(series=40)
    truth = rows.select(pl.int_range(pl.len()) % 2).to_series().cast(pl.Float64) if label is None else pl.lit(label)
    rows = rows.drop("units").with_columns(is_dormant=truth)
    said = {name: pl.DataFrame({"probability": [p] * rows.height}) for name, p in (("candidate", 0.001), ("flat", 0.2))}
    found = evaluate(PROBABILITY, rows, said, label="is_dormant", draws=50)
    evidence = found.gate_evidence("dormant", candidate_cut=rows["issued_at"].min())  # pyright: ignore[reportArgumentType]
    assert lacks in evidence.lacks
    assert bool(evidence.lacks) == bool(lacks)


def test_what_does_not_fit_is_refused() -> None:
    rows, predictions, parts = world()
    with pytest.raises(SchemaError, match="columns \\['units'\\] are missing"):
        evaluate(QUANTILES, rows.drop("units"), predictions)
    with pytest.raises(SchemaError, match=r"nulls in {'series_id': 1"):
        evaluate(QUANTILES, rows.with_columns(series_id=pl.Series([None, *rows["series_id"][1:]])), predictions)
    with pytest.raises(ConfigurationError, match="no predictions of the champion 'champion'"):
        evaluate(QUANTILES, rows, predictions, champion="champion")
    with pytest.raises(ModelError, match=f"flat has 3 predictions for {rows.height} rows"):
        evaluate(QUANTILES, rows, {**predictions, "flat": predictions["flat"].head(3)})
    with pytest.raises(ModelError, match=r"candidate: .*null or infinite"):
        evaluate(QUANTILES, rows, {**predictions, "candidate": predictions["auto_arima"]})
    with pytest.raises(SchemaError, match="3 rows of segments"):
        evaluate(QUANTILES, rows, predictions, segments=parts.head(3))
    with pytest.raises(EmptyFrameError, match=r"none of .* rows has a label"):
        evaluate(QUANTILES, rows.with_columns(units=pl.lit(None, pl.Float64)), predictions)
    alone = evaluate(QUANTILES, rows, {"candidate": predictions["candidate"]}, draws=50)
    with pytest.raises(ConfigurationError, match="neither a champion nor a baseline"):
        alone.gate_evidence("demand", candidate_cut=None)
