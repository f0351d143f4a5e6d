"""The drift report: its order, its figures, and names that are markup."""

import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from platform_assets.science import drift_plots, drift_report, feature_drift
from platform_assets.science.joint_shift import JointShift
from platform_assets.science.skew import Finding

EVIL = "</script><script>alert(1)</script>"


def samples(seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    random = np.random.default_rng(seed)

    def rows(days: int, shift: float) -> pl.DataFrame:
        size = days * 100
        return pl.DataFrame(
            {
                "day": np.repeat(np.arange(days), 100),
                "steady": random.normal(size=size),
                EVIL: random.normal(shift, 1.0, size),
                "kind": random.choice(["tea", EVIL], size),
                "is_open": random.random(size) < 0.5,
                "gone": pl.Series([None] * size, dtype=pl.Float64),
            }
        )

    return rows(30, 0.0), rows(1, 3.0)


def page(**changes: object) -> str:
    reference, current = samples()
    names = ["steady", "kind", "is_open", EVIL, "gone"]
    made = {
        "title": f"demand@7 {EVIL}",
        "verdict": f"1 of 4 features have left their range: {EVIL}",
        "has_passed": False,
        "about_reference": "the training set",
        "about_current": "the issue of 2025-03-01",
        "reference": reference,
        "current": current,
        "drift": feature_drift.feature_drift(reference, current, names, window="day"),
        "findings": [Finding("new category", EVIL, EVIL, EVIL)],
        "joint": JointShift(0.9, 0.6, 0.001, ((EVIL, 1.0),)),
        "descriptions": {"steady": EVIL},
        **changes,
    }
    return drift_report.build(drift_report.DriftPage(**made))  # pyright: ignore[reportArgumentType]


class Seen(HTMLParser):
    """Tags and addresses that a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "h3" and data.strip():
            self.headings.append(data)


def seen(html: str) -> Seen:
    parser = Seen()
    parser.feed(html)
    return parser


def test_a_name_that_is_markup_stays_text() -> None:
    """Evidently writes such a column's name into a script of its page as it is."""
    html = page()
    assert EVIL not in html
    found = seen(html)
    assert "script" not in found.tags
    assert found.addresses == []
    assert not re.search(r"url\(|@import|https?://", html)
    assert EVIL in found.headings


def test_the_worst_feature_comes_first_and_what_is_not_judged_last() -> None:
    found = seen(page())
    assert found.headings[0] == EVIL
    assert found.headings[-1] == "gone"
    assert found.tags.count("svg") == 5


def test_a_verdict_without_faults_or_joint_shift_is_a_page_too() -> None:
    html = page(findings=[], joint=None, has_passed=True)
    assert "No fault was found" in html
    assert "classifier" not in html
    assert page() == page()  # the same bytes for the same figures


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (pl.Series("x", [1.0, 2.0, None, float("nan")]), pl.Series("x", [2.0, 2.0])),
        (pl.Series("x", np.arange(100.0)), pl.Series("x", np.arange(50.0) + 60)),
        (pl.Series("x", [1.0] * 50 + list(range(60))), pl.Series("x", [None], dtype=pl.Float64)),
        (pl.Series("x", [f"k{at}" for at in range(40)]), pl.Series("x", ["k1", None, "new"])),
        (pl.Series("x", [True, False]), pl.Series("x", [True])),
    ],
)
def test_shares_of_each_side_sum_to_one(before: pl.Series, now: pl.Series) -> None:
    labels, first, second = drift_plots.shares(before, now)
    assert first.sum() == pytest.approx(1.0)
    assert second.sum() == pytest.approx(1.0 if now.count() else 0.0)
    assert len(labels) in (2, first.size)
    assert first.size == second.size <= max(drift_plots.BINS, drift_plots.BARS)
    assert drift_plots.panel(before, now, has_drifted=True).count("<path") == 3
