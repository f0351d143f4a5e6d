"""A file that is cut short, emptied, overwritten or gone is named before polars panics over it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from platform_assets.errors import TableError
from resources.table_damage import damage_of_files
from resources.tables import Tables

ROWS = pl.DataFrame({"day": [date(2024, 1, 5), date(2024, 2, 5), date(2024, 3, 5)], "x": [1, 2, 3]})
DAMAGES: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "cut short": (lambda file, whole: file.write_bytes(whole[:-20]), "bytes, expected"),
    "emptied": (lambda file, whole: file.write_bytes(b""), "has 0 bytes, expected"),
    "overwritten": (lambda file, whole: file.write_bytes(whole[:-4] + b"XXXX"), "is no whole Parquet file"),
    "gone": (lambda file, whole: file.unlink(), "is not there"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_the_hint_mends_it(tmp_path: Path, damage: str) -> None:
    tables = Tables(tmp_path)
    tables.write("t", ROWS, partition_by="day")
    (file,) = (tmp_path / "t").glob("month_of_day=2024-02/*.parquet")
    harm, said = DAMAGES[damage]
    harm(file, file.read_bytes())
    with pytest.raises(TableError, match=rf"table t, version 0: .*2024-02.*{said}"):
        tables.scan("t")
    with pytest.raises(TableError, match=said):
        tables.scan("t", between=(date(2024, 2, 3), date(2024, 2, 9)))
    others = tables.scan("t", between=(date(2024, 3, 1), date(2024, 4, 1))).collect()
    assert others["x"].to_list() == [3]
    # As the hint says.
    file.unlink(missing_ok=True)
    DeltaTable(tables.uri("t")).repair()
    tables.write("t", ROWS[1:2], between=(date(2024, 2, 1), date(2024, 3, 1)))
    assert tables.scan("t").collect().sort("day").equals(ROWS)


def test_files_of_a_folder_are_looked_at_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ROWS.write_parquet(tmp_path / f"{name}.parquet")
    files = sorted(tmp_path.glob("*.parquet"))
    assert damage_of_files(files) is None
    files[1].write_bytes(files[1].read_bytes()[:-1])
    assert damage_of_files(files) == f"{files[1]} is no whole Parquet file: it does not end as one"
