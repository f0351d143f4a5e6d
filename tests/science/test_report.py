"""The report stands alone, says what was found, escapes every name, and is the same for the same evaluation."""

import base64
import html.parser
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from platform_assets.science import report, report_words
from platform_assets.science.bootstrap import Interval
from platform_assets.science.evaluation import evaluate
from platform_assets.science.findings import Evaluation, Sample
from platform_assets.science.gate import GateDecision
from platform_assets.science.tasks import PROBABILITY, QUANTILES

EVIL = '<script>alert(1)</script>"$x_1^{--><img src=x onerror=alert(2)>'
FIRST = date(2024, 5, 5)


def quantile_evaluation(names: list[str], *, better: float = 0.7, champion: bool = False) -> Evaluation:
    generator = np.random.default_rng(0)
    keys = [(n, o, ahead) for o in (0, 28) for n in range(len(names)) for ahead in range(1, 15)]
    rows = pl.DataFrame(
        {
            "series_id": [names[n] for n, _, _ in keys],
            "issued_at": [datetime(2024, 5, 6, tzinfo=UTC) + timedelta(days=o) for _, o, _ in keys],
            "target_on": [FIRST + timedelta(days=o + ahead) for _, o, ahead in keys],
            "horizon_days": pl.Series([ahead for *_, ahead in keys], dtype=pl.Int16),
            "units": generator.poisson(4, len(keys)).astype(float),
        }
    )
    truth = np.array([1, 3, 4, 5, 8, 9.0])
    predictions = {
        name: pl.DataFrame(np.tile(truth * factor, (len(keys), 1)), schema=list(QUANTILES.outputs))
        for name, factor in {
            "candidate": 1.0,
            "moving_average": 1 + better,
            EVIL: 2.5,
            **({"champion": 1.3} if champion else {}),
        }.items()
    }
    parts = pl.DataFrame({"price": [2.0] * len(keys), "volume": [EVIL if n % 2 else "high volume" for n, *_ in keys]})
    history = pl.DataFrame(
        [(name, FIRST - timedelta(days=back), float(back % 5)) for name in names for back in range(70)],
        schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64},
        orient="row",
    )
    return evaluate(
        QUANTILES,
        rows,
        predictions,
        champion="champion" if champion else None,
        segments=parts,
        history=history,
        draws=100,
    )


def probability_evaluation() -> Evaluation:
    generator = np.random.default_rng(1)
    said = generator.random(600)
    rows = pl.DataFrame(
        {
            "series_id": [f"s{n}" for n in range(600)],
            "issued_at": [datetime(2024, 5, 6, tzinfo=UTC)] * 600,
            "target_on": [FIRST + timedelta(days=7)] * 600,
            "horizon_days": pl.Series([7] * 600, dtype=pl.Int16),
            "is_dormant": (generator.random(600) < said).astype(float),
        }
    )
    predictions = {
        name: pl.DataFrame({"probability": values})
        for name, values in {"candidate": said, "base_rate": np.full(600, 0.5)}.items()
    }
    return evaluate(PROBABILITY, rows, predictions, label="is_dormant", draws=100)


@pytest.fixture(scope="module")
def evil() -> tuple[Evaluation, report.Report]:
    found = quantile_evaluation([f"{EVIL}{n}" for n in range(30)])
    return found, report.build(found, title=EVIL, decision=GateDecision("better", True, EVIL, (EVIL,)))


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; fails where tags are not closed in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", ["quantiles", "evil", "probability"])
def test_the_page_stands_alone_and_runs_nothing(kind: str, evil: tuple[Evaluation, report.Report]) -> None:
    built = {
        "quantiles": lambda: report.build(quantile_evaluation([f"s{n}" for n in range(30)])),
        "evil": lambda: evil[1],
        "probability": lambda: report.build(probability_evaluation()),
    }[kind]()
    page = Page(built.html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "img", "image", "foreignobject", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "http-equiv" in next(
        attributes for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes
    )
    urls = set(re.findall(r"https?://[^\s\"'<>]+", built.html))
    assert urls <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names of XML only"


def test_every_name_is_shown_as_text(evil: tuple[Evaluation, report.Report]) -> None:
    page = Page(evil[1].html)
    assert page.text.index(report_words.verdict(evil[0])) < page.text.index("Is it better than")
    assert page.text.count(EVIL) >= 4  # title, heading, gate's reason, segment
    assert EVIL[:33] in page.text, "an example's series, shortened"
    assert "<script" not in evil[1].html
    assert "<script" not in evil[1].markdown


def test_the_same_evaluation_gives_the_same_bytes(evil: tuple[Evaluation, report.Report]) -> None:
    found, built = evil
    assert report.build(found, title=EVIL, decision=GateDecision("better", True, EVIL, (EVIL,))) == built


def test_short_forms_are_short(evil: tuple[Evaluation, report.Report]) -> None:
    for built in (evil[1], report.build(probability_evaluation())):
        assert len(built.markdown) < 1000
        assert len(built.svg) < 700
        drawing = ElementTree.fromstring(base64.b64decode(built.svg))
        assert drawing.tag.endswith("svg")
        json.dumps(built.summary, allow_nan=False)


def test_names_of_any_alphabet_and_with_control_characters_are_drawn() -> None:
    built = report.build(quantile_evaluation(["店/茶\x00\x1b", "$100$_{a}", "naïve & <b>", "a" * 300, "", "e"]))
    drawings = re.findall(r"<svg .*?</svg>", built.html, flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert "店/茶\ufffd\ufffd" in "".join(drawings)


def test_the_tiny_plot_drops_names_that_do_not_fit_and_keeps_the_hardest() -> None:
    found = quantile_evaluation(["a", "b", "c"])
    comparison = found.comparisons["moving_average"]
    many = {f"a_rather_long_method_{n}": replace(comparison, opponent=f"a_rather_long_method_{n}") for n in range(30)}
    built = report.build(
        replace(
            found,
            comparisons=many,
            slices=[],
            figures={"candidate": found.figures["candidate"], **dict.fromkeys(many, found.figures["candidate"])},
            best_baseline="a_rather_long_method_0",
        )
    )
    text = base64.b64decode(built.svg).decode()
    assert "method 0" in text
    assert "method 29" not in text
    assert len(built.svg) < 700
    assert len(built.markdown) < 1000


def with_gain(found: Evaluation, gain: Interval) -> Evaluation:
    assert found.opponent is not None
    comparison = found.comparisons[found.opponent]
    changed = replace(comparison, improvements={**comparison.improvements, found.primary: gain})
    return replace(found, comparisons={**found.comparisons, found.opponent: changed})


@pytest.mark.parametrize(
    ("gain", "tone", "said"),
    [
        (Interval(0.05, 0.03, 0.07), "better", "Better: its forecast error is 5.0% less"),
        (Interval(-0.05, -0.07, -0.03), "worse", "Worse: its forecast error is 5.0% more"),
        (Interval(0.01, -0.02, 0.04), "unsure", "between -2.0% and +4.0% fits"),
        (Interval(0.01, float("nan"), float("nan")), "unsure", "too little to compare"),
    ],
)
@pytest.mark.parametrize("champion", [False, True])
def test_the_verdict_comes_first_and_is_plain(gain: Interval, tone: str, said: str, champion: bool) -> None:
    found = with_gain(quantile_evaluation(["a", "b", "c"], champion=champion), gain)
    assert report_words.tone(found) == tone
    verdict = report_words.verdict(found)
    assert said in verdict
    assert ("the current model" if champion else "the best simple method (moving average)") in verdict


def test_a_page_shows_what_its_task_has() -> None:
    quantiles = Page(report.build(quantile_evaluation([f"s{n}" for n in range(30)])).html).text
    probability = Page(report.build(probability_evaluation()).html).text
    assert "Can the range be trusted?" in quantiles
    assert "What would the stock have cost?" in quantiles
    assert "Can the probability be trusted?" not in quantiles
    assert "Can the probability be trusted?" in probability
    assert "What would the stock have cost?" not in probability
    for text in (quantiles, probability):
        assert "What the words mean" in text
        assert "nan" not in re.sub(r"\w*nan\w+|\w+nan\w*", "", text)


@pytest.mark.parametrize(
    ("to_come", "closed", "said"),
    [
        (0, 0, []),
        (12, 0, ["Forecasts left out: 12 of periods that are not known yet."]),
        (0, 1_200, ["Forecasts left out: 1,200 of periods that were closed"]),
        (12, 3, ["left out: 12 of periods that are not known yet; 3 of periods that were closed"]),
    ],
)
def test_what_is_not_known_yet_is_told_from_what_is_closed_or_unknown(
    to_come: int, closed: int, said: list[str]
) -> None:
    found = replace(quantile_evaluation(["a", "b"]), excluded={"not known yet": to_come, "closed or unknown": closed})
    told = report_words.basis(found)
    assert all(text in told for text in said)
    assert ("left out" in told) == bool(said)
    assert f"forecasts for {found.series} series" in told


def test_no_page_calls_a_series_a_product() -> None:
    for found in (quantile_evaluation(["a", "b"], champion=True), probability_evaluation()):
        text = Page(report.build(found).html).text.lower()
        assert not re.findall(r"(?<!such as a )\bproducts?\b", text)


def test_baselines_on_a_sample_stand_in_a_section_of_their_own_with_its_size_and_seed() -> None:
    found = quantile_evaluation([f"s{n}" for n in range(30)])
    name = next(name for name in found.baselines if name != found.best_baseline)
    sampled = replace(
        found,
        sample=Sample((name,), 7, 30, 11),
        comparisons={
            **found.comparisons,
            name: replace(found.comparisons[name], opponent=name, rows=196, series=7),
        },
    )
    built = report.build(sampled)
    text = Page(built.html).text
    section = text[text.index("models that choose their own form") : text.index("What do the forecasts look like?")]
    assert "a seeded sample of 7 of 30 series (seed 11)" in section
    assert "chosen from those that forecast every series" in section
    assert report_words.plain(name) in section
    assert report_words.plain(name) not in text[: text.index("models that choose their own form")]
    assert f"{report_words.plain(name).replace('<', '&lt;')}, on 7 series" in built.markdown
    assert built.summary["sample"] == {"baselines": [name], "series": 7, "of": 30, "seed": 11}
    assert "choose their own form" not in report.build(found).html


def test_nobody_to_compare_with_is_said() -> None:
    found = quantile_evaluation(["a", "b"])
    alone = replace(
        found,
        comparisons={},
        best_baseline=None,
        slices=[],
        examples=[],
        figures={"candidate": found.figures["candidate"]},
        calibration={},
    )
    assert "nothing to compare" in Page(report.build(alone).html).text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.0123"), (12.3456, "12.35"), (999.96, "1000"), (66120.4, "66,120"), (-1234567.8, "-1,234,568")],
)
def test_large_figures_are_read_without_powers_of_ten(value: float, text: str) -> None:
    assert report_words.rounded(value) == text
