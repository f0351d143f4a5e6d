"""What a report says: figures as sentences that need no statistics."""

from typing import Final

from platform_assets.science.baselines import DESCRIPTIONS
from platform_assets.science.bootstrap import Interval
from platform_assets.science.findings import TO_COME, WITHOUT_LABEL, Evaluation
from platform_assets.science.gate import GateDecision

FIGURES: Final = {
    "pinball": "Pinball loss, sum over the levels",
    "pinball_weighted": "Pinball loss weighted by price",
    "mae": "Mean absolute error of the middle forecast",
    "mae_weighted": "Mean absolute error weighted by price",
    "mse": "Mean squared error of the mean forecast",
    "rmse": "Root mean squared error of the mean forecast",
    "bias": "Forecast surplus as a share of demand",
    "overstock_cost": "Cost of overstock per series and period",
    "stockout_cost": "Cost of stock-outs per series and period",
    "stock_cost": "Cost of stock per series and period",
    "log_loss": "Log loss",
    "log_loss_weighted": "Log loss weighted by price",
    "brier": "Brier score",
    "auc": "AUC",
    "calibration_error": "Expected calibration error",
    "rate_predicted": "Mean probability that was said",
    "rate_observed": "How often it came",
}


def plain(name: str) -> str:
    """A method's name without underscores."""
    return {"candidate": "this model", "champion": "the current model"}.get(name, name.replace("_", " "))


def percent(interval: Interval, *, signed: bool = True) -> str:
    """An interval of shares as text."""
    sign = "+" if signed else ""
    if interval.estimate != interval.estimate:  # of a loss that the other has not at all
        return "not known"
    if not interval.is_known:
        return f"{interval.estimate:{sign}.1%}"
    return f"{interval.estimate:{sign}.1%} ({interval.low:{sign}.1%} to {interval.high:{sign}.1%})"


def points(interval: Interval) -> str:
    """An interval of differences of shares as text, in percentage points."""
    value, low, high = (100 * figure for figure in (interval.estimate, interval.low, interval.high))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})" if interval.is_known else f"{value:+.2f} points"


def number(interval: Interval) -> str:
    """An interval of figures as text."""
    if interval.estimate != interval.estimate:
        return "not known"
    if not interval.is_known:
        return rounded(interval.estimate)
    return f"{rounded(interval.estimate)} ({rounded(interval.low)} to {rounded(interval.high)})"


def rounded(value: float) -> str:
    """Four digits, or all before the point: no reader wants 6.612e+04."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def tone(evaluation: Evaluation) -> str:
    """better, worse or unsure: of the primary loss against the opponent."""
    if evaluation.opponent is None:
        return "unsure"
    gain = evaluation.comparisons[evaluation.opponent].improvements[evaluation.primary]
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "unsure"


def _against(evaluation: Evaluation) -> str:
    opponent = evaluation.opponent or ""
    return "the current model" if evaluation.champion else f"the best simple method ({plain(opponent)})"


def verdict(evaluation: Evaluation) -> str:
    """One sentence: is it better, by how much, and how sure is that?"""
    if evaluation.opponent is None:
        return "There was nothing to compare this model with."
    gain = evaluation.comparisons[evaluation.opponent].improvements[evaluation.primary]
    against, found = _against(evaluation), tone(evaluation)
    size = f"{abs(gain.estimate):.1%}"
    if found == "better":
        return (
            f"Better: its forecast error is {size} less than that of {against}; "
            f"the gain is between {gain.low:.1%} and {gain.high:.1%} with {evaluation.confidence:.0%} confidence."
        )
    if found == "worse":
        return (
            f"Worse: its forecast error is {size} more than that of {against}; "
            f"the loss is between {-gain.high:.1%} and {-gain.low:.1%} with {evaluation.confidence:.0%} confidence."
        )
    if not gain.is_known:
        return f"Unclear: there is too little to compare it with {against}."
    return (
        f"Unclear: against {against} anything between {gain.low:+.1%} and {gain.high:+.1%} fits what was seen, "
        "so chance alone could have made the difference."
    )


def basis(evaluation: Evaluation) -> str:
    """What the verdict rests on."""
    times = "1 date" if evaluation.origins == 1 else f"{evaluation.origins} dates"
    said = (
        f"Judged on {evaluation.rows:,} forecasts for {evaluation.series:,} series, made on {times}, "
        f"for {evaluation.first_target_on} to {evaluation.last_target_on}; the model judged had seen none of these periods."
    )
    why = {
        TO_COME: "of periods that are not known yet",
        WITHOUT_LABEL: "of periods that were closed, or whose demand nobody knows (nothing in stock, under quarantine)",
    }
    left_out = [f"{evaluation.excluded[key]:,} {about}" for key, about in why.items() if evaluation.excluded[key]]
    return f"{said} Forecasts left out: {'; '.join(left_out)}." if left_out else said


def gate(decision: GateDecision) -> str:
    """What the gate decided and why."""
    outcome = "It was promoted" if decision.promotes else "It was not promoted"
    return f"{outcome}: {'; '.join(decision.reasons)}."


def cards(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Three or four figures that matter most: value and what it is."""
    found: list[tuple[str, str]] = []
    opponent = evaluation.opponent
    figures = evaluation.figures[evaluation.candidate]
    if opponent is not None:
        comparison = evaluation.comparisons[opponent]
        found.append(
            _change(comparison.improvements[evaluation.primary], f"forecast error than {_against(evaluation)}")
        )
        if "stock_cost" in comparison.improvements:
            found.append(_change(comparison.improvements["stock_cost"], "stock cost, at the stated costs"))
    for level in evaluation.calibration.get(evaluation.candidate, []):
        if level.level in (0.95, 0.99):
            came = f"{level.share_not_above.estimate:.1%}"
            found.append((came, f"of periods stayed within the {level.level:.0%} level"))
    if "bias" in figures:
        direction = "more" if figures["bias"].estimate > 0 else "less"
        found.append(
            (f"{abs(figures['bias'].estimate):.1%}", f"{direction} forecast than sold in total (mean forecast)")
        )
    if "auc" in figures:
        found.append((f"{figures['auc'].estimate:.2f}", "AUC: 1 finds every case, 0.5 is chance"))
        found.append(
            (f"{figures['calibration_error'].estimate:.1%}", "mean gap between probabilities said and observed")
        )
        found.append((f"{figures['rate_observed'].estimate:.1%}", "of cases came true"))
    return found


def _change(gain: Interval, what: str) -> tuple[str, str]:
    return f"{abs(gain.estimate):.1%}", f"{'less' if gain.estimate >= 0 else 'more'} {what}"


def baseline(name: str, evaluation: Evaluation) -> str:
    """What a method does."""
    if name == evaluation.champion:
        return "the model in use now"
    return DESCRIPTIONS.get(name, "")


def sample_rule(evaluation: Evaluation) -> str:
    """Which series the slow baselines were fitted on, and what their figures may be used for."""
    sample = evaluation.sample
    assert sample is not None, "asked for only where there is one"
    return (
        f"These take too long to be fitted to every series, so they are on a seeded sample of {sample.series:,} of {sample.of:,} series "
        f"(seed {sample.seed}), the same at every date. Each is compared with this model on the same forecasts of the same series. "
        "Like this model they were fitted once, on what was known at the first date, and carried forward. "
        "The best simple method, against which a first version must prove itself, is chosen from those that forecast every series: "
        "these take part only where the sample is all of them."
    )


def cost_rule(evaluation: Evaluation) -> str:
    """How the stock's cost was computed."""
    costs = evaluation.costs
    unit = "of its price" if evaluation.has_prices else "each (no prices are known)"
    over, out = (f"{v:.0%}" if evaluation.has_prices else f"{v:g}" for v in (costs.overstock, costs.stockout))
    return (
        f"Had stock been set anew for every period at the level that these costs make cheapest ({costs.critical_ratio:.1%} of periods served): "
        f"a unit left over costs {over} {unit}, a unit that was asked for and not there {out} {unit}. "
        "What is sold in whole units is stocked in whole units, the nearest to the level, as `perennial predict` prints it. Per series and period"
        f"{', in the currency of the prices' if evaluation.has_prices else ''}."
    )


def glossary(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Term and meaning."""
    percent_sure = f"{evaluation.confidence:.0%}"
    found = [
        ("Series", "What is forecast by itself, such as a product in a store."),
        (
            "Interval",
            f"The series were drawn again at random {evaluation.draws:,} times, whole series at a time, and each figure computed for each draw; "
            f"the range holds the middle {percent_sure} of the results. Both methods are always compared on the same draw.",
        ),
        (
            "Simple method",
            "A forecast by a rule of thumb or a textbook model, from the same past sales. A model must beat the best of them to be worth its keep.",
        ),
        (
            "Parts of the assortment",
            "Thirds by sales and by price in the 91 days before the forecast; new ones first sold within the half year before.",
        ),
    ]
    if evaluation.levels:
        return [
            (
                "Error",
                "The pinball loss, summed over the levels: what a forecast of a range costs if too low and too high are weighed "
                "as each level asks. 0 is perfect; it is in units.",
            ),
            ("Level", "The 95% level is the quantity that demand should not exceed in 95 of 100 periods."),
            *found,
            (
                "Stock cost",
                "Overstock and stock-outs valued at stated costs; the cheapest stock level follows from their ratio.",
            ),
        ]
    return [
        (
            "Error",
            "The log loss: how surprised one is by what came, given the probabilities. 0 is perfect; sure mistakes cost most.",
        ),
        ("AUC", "How often a case that came true had been given a higher probability than one that did not."),
        *found,
    ]
