"""An edit makes again what it can change, and nothing else."""

from pathlib import Path

import pytest

from platform_assets import recipes as module
from platform_assets.recipes import recipes
from resources import source_digest
from tests.small import copy_project
from tests.test_definitions import graph


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("recipes") / "project")


def changed(project: Path, monkeypatch: pytest.MonkeyPatch, file: str, line: str = "\n# another line\n") -> set[str]:
    """Assets whose recipe another line at the end of a file changes."""
    monkeypatch.setattr(module, "PROJECT", project)
    monkeypatch.setattr(source_digest, "ROOT", project)
    before, path = recipes(graph("simulator"), "simulator"), project / file
    text = path.read_text()
    path.write_text(f"{text.rstrip()}{line}")
    after = recipes(graph("simulator"), "simulator")
    path.write_text(text)
    return {key.to_user_string() for key, recipe in after.items() if recipe != before[key]}


def test_what_belongs_to_one_part_is_made_again_with_what_reads_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after(file: str) -> set[str]:
        return changed(project, monkeypatch, file)

    dormant = {f"dormant/{stage}" for stage in ("training_set", "candidate", "evaluation", "champion", "predictions")}
    assert after("platform_assets/defs/models/dormant/train.py") == {
        *dormant,
        "dormant/monitoring",
        "dormant/performance",
        "leaderboard",
    }
    assert after("feature_repo/views/offer.py") == {"feature_registry", "online/offer"}
    assert after("platform_assets/defs/data/online_retail/adapter.py") == set()
    assert after("sensors/arrival.py") == set()

    offer = after("platform_assets/defs/features/offer/defs.yaml")
    assert {"features/offer", "online/offer", "demand/training_set", "demand_deep/predictions"} <= offer
    assert not {"sales", "features/season", "online/season", "feature_registry", *dormant} & offer


@pytest.mark.parametrize(
    ("setting", "made_again"),
    [
        ("retraining: {when: [code]}", set()),
        (
            "gate: {undecided: promote}",
            {"dormant/champion", "dormant/predictions", "dormant/monitoring", "dormant/performance", "leaderboard"},
        ),
        ("seed: 8", None),
    ],
)
def test_a_policy_is_no_part_of_the_model(
    setting: str, made_again: set[str] | None, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What retrains it trains nothing, and what its gate asks decides again on what has been evaluated."""
    folder = "platform_assets/defs/models/dormant"
    found = changed(project, monkeypatch, f"{folder}/defs.yaml", f"\n  {setting}\n")
    whole = changed(project, monkeypatch, f"{folder}/train.py")
    assert found == (whole if made_again is None else made_again)


def test_the_platforms_own_code_and_the_sources_count_for_all(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {key.to_user_string() for key in recipes(graph("simulator"), "simulator")}
    assert changed(project, monkeypatch, "resources/tables.py") >= everything - {"feature_registry"}
    source = changed(project, monkeypatch, "platform_assets/defs/data/simulator/schema.py")
    assert source >= {"simulator/lines", "sales", "plans", "features/offer", "online/season", "dormant/candidate"}
    assert "feature_registry" not in source
    assert changed(project, monkeypatch, "platform_assets/science/sales.py") == source
