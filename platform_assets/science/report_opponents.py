"""The part of a report that compares: every opponent, on every judged series or on a sample of them."""

from platform_assets.science import report_plots as plots
from platform_assets.science import report_words as words
from platform_assets.science.bootstrap import Interval
from platform_assets.science.findings import Evaluation
from platform_assets.science.report_html import figure, section, table


def ranked(evaluation: Evaluation) -> list[tuple[str, Interval]]:
    """Opponents on every judged row with the improvement of the primary loss: the champion first, then the hardest to beat."""
    on_a_sample = sampled(evaluation)
    found = [
        (c.opponent, c.improvements[evaluation.primary])
        for c in evaluation.comparisons.values()
        if c.opponent not in on_a_sample
    ]
    return sorted(found, key=lambda pair: (pair[0] != evaluation.champion, pair[1].estimate))


def sampled(evaluation: Evaluation) -> tuple[str, ...]:
    """Baselines that predicted a sample of the series."""
    return evaluation.sample.baselines if evaluation.sample else ()


def against(evaluation: Evaluation) -> str:
    """The section on all opponents that predicted every judged row."""
    opponents = ranked(evaluation)
    if not opponents:
        return ""
    drawing = plots.forest([(words.plain(n), i) for n, i in opponents], label="Improvement against each method")
    rows = [
        [
            words.plain(name),
            words.baseline(name, evaluation),
            words.percent(interval),
            f"{evaluation.comparisons[name].rows:,}",
        ]
        for name, interval in opponents
    ]
    return section(
        "Is it better than simple methods?",
        f"Each line compares the same forecasts, series by series. The dot is the gain; the line is the range in which it lies "
        f"with {evaluation.confidence:.0%} confidence. A line wholly to the right of zero is a gain beyond chance.",
        figure(drawing) + table(["Compared with", "What that is", "Error less by", "Forecasts"], rows, numbers=(2, 3)),
    )


def automatic(evaluation: Evaluation) -> str:
    """The section on those that predicted a sample; nothing where there are none."""
    sample = evaluation.sample
    if sample is None:
        return ""
    gains = [(name, evaluation.comparisons[name]) for name in sample.baselines]
    drawing = plots.forest(
        [(words.plain(name), c.improvements[evaluation.primary]) for name, c in gains],
        label="Improvement against automatic models",
    )
    rows = [
        [
            words.plain(name),
            words.baseline(name, evaluation),
            words.number(evaluation.figures[name][evaluation.primary]),
            words.rounded(evaluation.figures[name][evaluation.primary].estimate + c.difference.estimate),
            words.percent(c.improvements[evaluation.primary]),
            f"{c.series:,}",
            f"{c.rows:,}",
        ]
        for name, c in gains
    ]
    return section(
        "And than models that choose their own form?",
        words.sample_rule(evaluation),
        figure(drawing)
        + table(
            [
                "Compared with",
                "What that is",
                "Its error",
                "This model's there",
                "Error less by",
                "Series",
                "Forecasts",
            ],
            rows,
            numbers=(2, 3, 4, 5, 6),
        ),
    )
