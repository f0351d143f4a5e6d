"""Feature services of our own repository as assets: what they resolve to, and what makes them stale."""

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from platform_assets import names
from platform_assets.components import service_features
from platform_assets.components.service_features import service_version, services, view_version
from platform_assets.defs.features.services.assets import feature_services
from platform_assets.errors import FeatureStoreError
from platform_assets.science.demand import columns

OF_DORMANT = [feature for view in ("demand_history", "price_history", "season") for feature in columns.VIEWS[view]]


def resolve(held: list[str]) -> dg.ExecuteInProcessResult:
    (asset,) = (a for a in feature_services if a.key == dg.AssetKey(names.service_key("dormant_v1")))
    store = SimpleNamespace(features=lambda service: tuple(held))
    return dg.materialize([asset.with_attributes()], resources={"feature_store": store})


def test_every_service_is_an_asset_below_its_views() -> None:
    found = {asset.key.path[-1]: {dep.path[-1] for dep in asset.dependency_keys} for asset in feature_services}
    assert found == {service: {*views, "feature_registry"} for service, views in services().items()}


def test_a_service_records_what_the_registry_resolves_it_to() -> None:
    (event,) = resolve(OF_DORMANT[::-1]).get_asset_materialization_events()
    assert event.materialization.metadata["features"].value == len(OF_DORMANT)
    assert event.materialization.metadata["resolved"].value == sorted(OF_DORMANT)


def test_a_registry_that_lacks_a_feature_is_told() -> None:
    with pytest.raises(FeatureStoreError, match=f"registry and repository differ in {OF_DORMANT[3]}"):
        resolve([feature for feature in OF_DORMANT if feature != OF_DORMANT[3]])


@pytest.mark.parametrize(("view", "stale"), [("offer", {"demand_v1"}), ("season", {"demand_v1", "dormant_v1"})])
def test_an_edited_view_changes_its_own_version_and_those_of_its_services(
    view: str, stale: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {v: view_version(v) for v in columns.VIEWS}, {s: service_version(s) for s in services()}
    found = service_features.module_file
    edited = tmp_path / f"{view}.py"
    original = found(f"feature_repo.views.{view}")
    assert original is not None
    edited.write_text(original.read_text() + "\n# edited\n")
    monkeypatch.setattr(service_features, "module_file", lambda m: edited if m.endswith(f".{view}") else found(m))
    assert {v for v in columns.VIEWS if view_version(v) != before[0][v]} == {view}
    assert {s for s in services() if service_version(s) != before[1][s]} == stale
