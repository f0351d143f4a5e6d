"""The Feast repository says what science computes."""

from pathlib import Path

import pytest

from platform_assets.science.demand import columns
from resources.source_digest import source_digest

ROOT = Path(__file__).parents[2]
REPO = ROOT / "feature_repo"
TYPES = {"f64": "Float64", "i64": "Int64", "bool": "Bool", "list_f32": "Array(Float32)"}


@pytest.mark.parametrize("view", columns.VIEWS)
def test_fields_keys_and_source_equal_the_columns(view: str) -> None:
    from feature_repo import services

    found = getattr(services, view)
    assert {f.name: str(f.dtype) for f in found.features} == {n: TYPES[columns.DTYPES[n]] for n in columns.VIEWS[view]}
    assert [f.name for f in found.features if columns.DTYPES[f.name] == "f64"] == [
        name for name in columns.VIEWS[view] if columns.DTYPES[name] == "f64"
    ]
    keys = {entity.name: entity.join_key for entity in (services.series, services.target)}
    assert {keys[entity] for entity in found.entities} == set(columns.ENTITY_KEYS[view])
    assert found.batch_source.path == f"features/{view}"
    assert (found.batch_source.timestamp_field, found.batch_source.created_timestamp_column) == ("event_at", "known_at")
    assert len(source_digest(found.tags["computed_by"])) == 64


def test_every_view_module_is_reachable_from_services() -> None:
    """Feast reads the repository through services.py alone, so a view that it does not import would not exist."""
    from feature_repo import services

    modules = {path.stem for path in (REPO / "views").glob("*.py")} - {"__init__"}
    assert modules == set(columns.VIEWS) == {name for name in vars(services) if name in modules}


def test_services_hold_what_they_say() -> None:
    from feature_repo import services

    held = {s.name: [p.name for p in s.feature_view_projections] for s in (services.demand_v1, services.dormant_v1)}
    assert held == {
        "demand_v1": ["demand_history", "price_history", "season", "offer"],
        "dormant_v1": ["demand_history", "price_history", "season"],
    }


def test_feature_store_yaml_says_what_the_platform_says(tmp_path: Path) -> None:
    """Two places configure the store, the file for feast's commands and the resource: all but the paths is equal."""
    import yaml

    from resources.feature_store import FeatureStoreResource

    mine = FeatureStoreResource(state=str(tmp_path), tables=str(tmp_path / "tables")).config()
    file = yaml.safe_load((REPO / "feature_store.yaml").read_text())
    mine["offline_store"].pop("storage_options")
    for settings, key in (("registry", "path"), ("offline_store", "root"), ("online_store", "path")):
        assert file[settings].pop(key).removeprefix("sqlite:///").startswith("../.state/feast/")
        assert str(tmp_path) in mine[settings].pop(key)
    assert file == mine
