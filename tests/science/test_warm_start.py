"""A training goes on from a fit that has seen nothing of what it is judged by, or from nothing."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.science.demand.masks import Mask
from platform_assets.science.manifest import Began, Kind, Manifest, diff, fit_of
from platform_assets.science.warm_start import began
from tests.science.test_manifest import CUT, MODEL, ROWS, manifest

RECIPE: dict[str, Any] = {
    "features": ("x",),
    "parameters": {"rounds": 300, "rate": 0.05, "inner": {"a": [1, 2]}},
    "code.trainer_sha256": "2" * 64,
}
DAYS = st.integers(0, 400)


def version(evaluation: int, shipped: int, **changes: Any) -> Manifest:
    """A version whose fits were cut so many days after a beginning."""
    cuts = {kind: CUT + timedelta(days=day) for kind, day in (("evaluation", evaluation), ("shipped", shipped))}
    return manifest(**{kind: fit_of(MODEL, ROWS, cut) for kind, cut in cuts.items()}, **changes)


def cuts(evaluation: int, shipped: int) -> dict[Kind, Any]:
    return {"evaluation": CUT + timedelta(days=evaluation), "shipped": CUT + timedelta(days=shipped)}


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ((60, 70), {"evaluation": "shipped", "shipped": "shipped"}),  # judged on what came after the champion's labels
        ((50, 60), {"evaluation": "shipped", "shipped": "shipped"}),  # at that very instant: nothing after it was known
        ((49, 60), {"evaluation": "evaluation", "shipped": "shipped"}),  # the shipped fit has seen the window
        ((20, 50), {"evaluation": "evaluation", "shipped": "shipped"}),
        ((19, 60), {}),  # both have seen the window: judged from nothing, so shipped from nothing
    ],
)
def test_each_fit_goes_on_from_the_newest_that_has_not_seen_past_its_cut(
    new: tuple[int, int], expected: dict[str, str]
) -> None:
    found, why_not = began(version(20, 50), "3", cuts(*new), RECIPE)
    assert {kind: one.fit for kind, one in found.items()} == expected
    assert bool(why_not) == (not expected)
    for one in found.values():
        assert (one.version, one.weights_sha256) == ("3", version(20, 50).fit(one.fit).weights_sha256)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(DAYS, DAYS).map(sorted), min_size=2, max_size=12))
def test_through_any_chain_of_versions_nothing_is_judged_by_what_it_has_seen(chain: list[list[int]]) -> None:
    """Each version goes on from the one before it: what a fit knows, its forebears' labels too, ends at its own cut."""
    knows = dict[tuple[str, str], Any]()
    champion = None
    for number, (evaluation, shipped) in enumerate(chain):
        found: dict[Kind, Began] = {}
        if champion is not None:
            found, _ = began(champion, str(number - 1), cuts(evaluation, shipped), RECIPE)
        assert set(found) in (set(), {"evaluation", "shipped"})
        for kind, cut in cuts(evaluation, shipped).items():
            inherited = [knows[one.version, one.fit] for one in [found[kind]]] if found else []
            knows[str(number), kind] = max([cut, *inherited])
            assert knows[str(number), kind] == cut
        champion = version(evaluation, shipped, began=found)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"features": ("x", "y")}, "features"),
        ({"parameters": {"rounds": 200}}, "parameters"),
        ({"code.trainer_sha256": "9" * 64}, "code.trainer_sha256"),
    ],
)
def test_another_recipe_begins_from_nothing_and_says_why(changed: dict[str, Any], told: str) -> None:
    found, why_not = began(version(20, 50), "3", cuts(60, 70), RECIPE | changed)
    assert (found, why_not) == ({}, f"the recipe has changed since version 3: {told}")


def test_how_far_to_go_on_is_no_other_recipe() -> None:
    further = RECIPE | {"parameters": {**RECIPE["parameters"], "further_rounds": 40}}
    assert began(version(20, 50), "3", cuts(60, 70), further)[0]


def test_a_champion_that_has_learned_from_what_is_masked_now_is_not_gone_on_from() -> None:
    early, late = (Mask(CUT + timedelta(days=day)) for day in (40, 55))
    assert began(version(20, 50), "3", cuts(60, 70), RECIPE, [late])[0]
    assert began(version(20, 50), "3", cuts(60, 70), RECIPE, [early]) == (
        {},
        "version 3 has learned from forecasts that are masked now",
    )
    knew = version(20, 50, masks=(early.to_dict(),))
    assert began(knew, "3", cuts(60, 70), RECIPE, [early])[0]


def test_a_manifest_names_what_its_fits_went_on_from() -> None:
    made = version(20, 50, began={"shipped": Began("3", "shipped", "a" * 64)})
    assert Manifest.from_json(made.to_json()) == made
    other = dataclasses.replace(made, began={"shipped": Began("4", "shipped", "a" * 64)})
    assert diff(made, other) == {"began.shipped.version": ("3", "4")}
