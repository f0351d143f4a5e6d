"""The plot of the weeks: well formed, the same bytes for the same weeks, and what happened stands in it."""

from xml.etree import ElementTree

from platform_assets.science.bootstrap import Interval
from platform_assets.science.story_plot import LivedWeek, plot

UNKNOWN = float("nan")


def lived() -> list[LivedWeek]:
    before = [LivedWeek(n, ("1",), 100.0 + n, 100.0 + n, Interval(0.0, 0.0, 0.0)) for n in range(1, 6)]
    after = [LivedWeek(n, ("2",), 110.0, 120.0, Interval(0.08, 0.02, 0.14)) for n in range(6, 8)]
    return [*before, *after, LivedWeek(8, ("2", "3"), 110.0, 105.0, Interval(-0.05, UNKNOWN, UNKNOWN))]


def test_it_is_an_image_with_what_happened() -> None:
    image = plot(lived(), fault_weeks=(2, 3), shock_week=4, trained_after=[5])
    assert ElementTree.fromstring(image).tag.endswith("svg")
    for said in ("one store's feed x 10", "prices +30%", "trained again", "@1", "@2", "@2/@3", "week"):
        assert said in image
    assert image == plot(lived(), fault_weeks=(2, 3), shock_week=4, trained_after=[5])
    assert "trained again" not in plot(lived(), fault_weeks=(2, 3), shock_week=4, trained_after=[])
