"""Which state directory a file belongs to, and where it belongs instead."""

from datetime import date
from pathlib import Path

import pytest

from platform_assets.errors import ConfigurationError
from platform_assets.locate import Pin, choose
from resources.landing import Landing
from tests.small import write_world


def hint_of(state: Path, data: Path | None, source: str = "simulator") -> str | None:
    with pytest.raises(ConfigurationError, match="belongs to source") as caught:
        choose(data=data, source=source, state=state)
    return caught.value.hint


def test_a_grown_file_is_told_where_it_belongs(tmp_path: Path) -> None:
    """The same shop's file, a month longer and under another name, was told of nothing but another state directory."""
    world, state = write_world(tmp_path / "world.parquet"), tmp_path / "state"
    state.mkdir()
    own = "give this data a state directory of its own with STATE=path (--state)"
    pin = Pin("simulator", "/shop/january.csv", date(2024, 1, 1), date(2024, 1, 31))
    (state / "source.json").write_text(pin.to_json())
    landing = Landing(folder=str(state)).arriving  # where the sensor looks
    assert hint_of(state, world) == (
        f"newer lines, a grown file too, belong into {landing}, which `make dev` watches; for another history {own}"
    )
    assert hint_of(state, None) == own  # there is no file to be laid
    assert hint_of(state, world, "online_retail") == own  # another shop's lines never belong there
