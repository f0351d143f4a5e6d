"""The plot of the weeks: well formed, the same bytes for the same weeks, and what happened stands in it, on its day."""

import re
from datetime import date
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from platform_assets.science.bootstrap import Interval
from platform_assets.science.retraining_evidence import ALARMS
from platform_assets.science.story_plot import ALARMED, Alarm, LivedWeek, Training, plot

UNKNOWN = float("nan")
STORY: dict[str, Any] = {
    "model": "demand", "first_on": date(2025, 12, 31), "fault_weeks": (2, 3), "shock_week": 4,
}  # fmt: skip
ALARM = Alarm(date(2026, 1, 27), ("error",))
REFUSED = Training(date(2026, 2, 4), "2", "undecided", is_promoted=False)


def lived() -> list[LivedWeek]:
    before = [LivedWeek(n, ("1",), 100.0 + n, 100.0 + n, Interval(0.0, 0.0, 0.0)) for n in range(1, 6)]
    after = [LivedWeek(n, ("2",), 110.0, 120.0, Interval(0.08, 0.02, 0.14)) for n in range(6, 8)]
    return [*before, *after, LivedWeek(8, ("2", "3"), 110.0, 105.0, Interval(-0.05, UNKNOWN, UNKNOWN))]


def texts(image: str) -> dict[str, float]:
    """Texts of an image, and how far below its top they stand."""
    found = [node for node in ElementTree.fromstring(image).iter() if node.tag.endswith("text")]
    return {
        "".join(node.itertext()): float(
            node.get("y") or node.attrib["transform"].split("translate(")[1].split()[1].rstrip(")")
        )
        for node in found
    }


def test_it_is_an_image_with_what_happened_and_when() -> None:
    image = plot(lived(), **STORY, alarms=[ALARM], trainings=[REFUSED])
    assert ElementTree.fromstring(image).tag.endswith("svg")
    said = texts(image)
    for told in (
        "7 Jan to 20 Jan: one store's figures are ten times too large", "21 Jan: all prices rise by 30%, for good",
        "27 Jan: the check of its errors alarms", "4 Feb: trained again; the gate:", "version 2 is undecided, not promoted",
        "version 1", "version 2", "versions 2 and 3", "the first version, left alone", "the version that answered",
        "week, with its first day; bars: 95% intervals over series", "31 Dec", "18 Feb",
    ):  # fmt: skip
        assert told in said, told
    assert "weeks of the model demand after its first training, from 31 Dec 2025 on" in image
    assert "nothing saved" not in image
    assert image == plot(lived(), **STORY, alarms=[ALARM], trainings=[REFUSED])


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (Training(date(2026, 2, 4), "2", "better", is_promoted=True), "version 2 is better, promoted"),
        (REFUSED, "version 2 is undecided, not promoted"),
        (Training(date(2026, 2, 4)), "4 Feb: trained again"),  # which the gate has not judged
    ],
)
def test_a_training_stands_with_the_gates_answer(training: Training, said: str) -> None:
    assert said in texts(plot(lived(), **STORY, alarms=[], trainings=[training]))
    assert not any("trained again" in text for text in texts(plot(lived(), **STORY, alarms=[], trainings=[])))


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (("drift",), "27 Jan: the check of its inputs alarms"),
        (("performance",), "27 Jan: its performance is beyond a limit"),
        (("drift", "error"), "27 Jan: the check of its inputs alarms and the check of its errors alarms"),
    ],
)
def test_an_alarm_is_told_as_what_it_is_of(of: tuple[str, ...], said: str) -> None:
    """Each was told as one of the errors."""
    assert said in texts(plot(lived(), **STORY, alarms=[Alarm(ALARM.on, of)], trainings=[]))


def test_every_alarm_has_its_words() -> None:
    assert set(ALARMED) == ALARMS


def test_no_two_events_share_a_line() -> None:
    """However many there are, and on the same day too."""
    trainings = [REFUSED, Training(date(2026, 2, 18), "3", "better", is_promoted=True), Training(date(2026, 2, 18))]
    said = texts(plot(lived(), **STORY, alarms=[ALARM, Alarm(date(2026, 2, 17), ("error",))], trainings=trainings))
    heights = sorted(below for text, below in said.items() if re.match(r"\d+ (Jan|Feb).*:", text))
    assert len(heights) == 7
    assert all(after - before > 9 for before, after in pairwise(heights))


def test_where_the_first_version_answered_throughout_nothing_was_saved_or_lost() -> None:
    alone = [LivedWeek(n, ("1",), 100.0, 100.0, Interval(0.0, 0.0, 0.0)) for n in range(1, 9)]
    said = texts(plot(alone, **STORY, alarms=[], trainings=[]))
    assert "nothing saved and nothing lost: the first version answered throughout" in said
    assert "week, with its first day" in said  # no bars are drawn
