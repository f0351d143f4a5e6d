"""A file that ends within a line: cut off, for all we know, unless somebody says that it is whole."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from platform_assets.components.source_choice import date_range
from platform_assets.components.source_guesses import guess
from platform_assets.errors import ContractError, SchemaError
from platform_assets.science.source import Source
from resources.landing import Landing
from resources.line_files import LineFile, check_end

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOP = Source("shop", ("item",), {"units": "units", "sold_on": "day"})
ROWS = "".join(f"{item},{n},2024-03-{n:02}\n" for n in range(1, 29) for item in ("bread", "rolls"))
WHOLE = f"item,units,day\n{ROWS}".removesuffix("\n").encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (file := tmp_path / "bakery.csv").write_bytes(WHOLE)
    return file


def refused(path: Path) -> str:
    with pytest.raises((SchemaError, ContractError)) as caught:
        Landing(data=str(path), folder=str(path.parent)).lines(SHOP, now=NOW)
    return str(caught.value)


def states(path: Path, **manifest: object) -> None:
    path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(manifest))


def test_it_is_refused_and_told_what_to_do(path: Path) -> None:
    said = refused(path)
    assert "bakery.csv: ends within row 56 ('rolls,28,2024-03-28'), without a line end: is the file cut off?" in said
    assert "(echo >> bakery.csv)" in said
    assert "bakery.csv.manifest.json" in said
    with pytest.raises(SchemaError, match="ends within row 56"):  # at once, not by the first run
        date_range(path, SHOP)
    with path.open("ab") as file:
        file.write(b"\n")  # as the hint says
    assert Landing(data=str(path), folder=str(path.parent)).lines(SHOP, now=NOW).lines.height == 56


@pytest.mark.parametrize("manifest", [{"rows": 56}, {"sha256": hashlib.sha256(WHOLE).hexdigest()}])
def test_it_is_taken_where_its_manifest_is_right(path: Path, manifest: dict[str, object]) -> None:
    """A true number of rows beside the file was never asked: every such file of a shop had to be written again."""
    states(path, **manifest)
    assert date_range(path, SHOP)[1].isoformat() == "2024-03-28"
    assert Landing(data=str(path), folder=str(path.parent)).lines(SHOP, now=NOW).lines.height == 56


def test_a_wrong_manifest_or_one_of_other_things_does_not_help(path: Path) -> None:
    states(path, rows=60)
    assert "56 rows, its manifest states 60: the file is cut off or grown" in refused(path)
    states(path, units_checked=True)
    assert "ends within row 56" in refused(path)
    states(path, rows=56)
    path.write_bytes(WHOLE[: -len("28,2024-03-28")])  # cut off in its last row, between cells
    assert "bakery.csv" in refused(path)


def test_an_arrival_and_what_was_kept_of_it(tmp_path: Path, path: Path) -> None:
    """The manifest stays behind in the landing folder; what was accepted is read again without it."""
    path.write_bytes(WHOLE + b"\n")
    landing = Landing(data=str(path), folder=str(tmp_path))
    (new := Path(landing.arriving) / "29.csv").parent.mkdir()
    new.write_bytes(b"item,units,day\nbread,3,2024-03-29\nrolls,4,2024-03-29")
    with pytest.raises(SchemaError, match="ends within row 2"):
        landing.accept(new, SHOP, now=NOW)
    states(new, rows=2)
    landing.accept(new, SHOP, now=NOW)
    shutil.rmtree(new.parent)
    shutil.rmtree(tmp_path / "landed")
    assert landing.lines(SHOP, now=NOW).lines.height == 58
    assert date_range(path, SHOP, state=tmp_path)[1].isoformat() == "2024-03-29"


def test_a_sample_may_end_so(path: Path) -> None:
    assert guess(path).series == ["item"]


def test_parquet_has_an_end_of_its_own() -> None:
    check_end(LineFile("a.parquet", b"PAR1...PAR1"))
