"""Feature services of our own repository as assets: what they resolve to, and what makes them stale."""

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from platform_assets import names
from platform_assets.components import service_features
from platform_assets.components.service_features import said_of_view, service_version, services, view_version
from platform_assets.defs.features.services.assets import feature_services
from platform_assets.errors import ConfigurationError, FeatureStoreError
from platform_assets.science.demand import columns
from tests.components.code_copy import copied_code, edit

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

    def changed() -> tuple[set[str], set[str]]:
        views = {v for v in columns.VIEWS if view_version(v) != before[0][v]}
        return views, {s for s in services() if service_version(s) != before[1][s]}

    folder = copied_code(tmp_path, monkeypatch) / "feature_repo"
    assert changed() == (set(), set())
    # A comment, and a source that another view will have.
    with (folder / "views" / f"{view}.py").open("a") as file:
        file.write("\n# edited\n")
    with (folder / "sources.py").open("a") as file:
        file.write('\nweather_table = _table("weather")\n')
    assert changed() == (set(), set())
    edit(folder / "views" / f"{view}.py", "ttl=timedelta(days=400)", "ttl=timedelta(days=401)")
    assert changed() == ({view}, stale)


def test_what_is_not_written_out_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copied_code(tmp_path, monkeypatch) / "feature_repo" / "views" / "offer.py"
    edit(path, 'owner="team:demand"', "owner=OWNER")
    with pytest.raises(ConfigurationError, match=r"offer.py, line \d+: `owner` of a FeatureView is OWNER, expected it"):
        said_of_view("offer")
    path.write_text("")
    with pytest.raises(ConfigurationError, match="defines no FeatureView with the name 'offer'"):
        said_of_view("offer")


def test_a_part_of_a_view_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models read all features of a service's views; of a part the asset said that the registry was to be applied."""
    path = copied_code(tmp_path, monkeypatch) / "feature_repo" / "services.py"
    edit(path, "features=[demand_history, price_history, season, offer]", 'features=[season, offer[["planned_price"]]]')
    monkeypatch.setattr(service_features, "SERVICES", path)
    with pytest.raises(
        ConfigurationError, match=r"line \d+: a service takes offer\[\['planned_price'\]\], expected whole"
    ):
        service_features.said_of_services.__wrapped__()


def test_a_service_says_what_feast_says_of_it() -> None:
    (asset,) = (a for a in feature_services if a.key == dg.AssetKey(names.service_key("dormant_v1")))
    spec = asset.get_asset_spec()
    assert spec.owners == ["team:range"]
    assert "What tells whether a series will sell at all next week." in str(spec.description)
    assert [column.name for column in spec.metadata["dagster/column_schema"].columns] == OF_DORMANT
