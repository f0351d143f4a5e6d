"""Columns as kinds, cells as values of a kind, and values against a pandera contract."""

from datetime import UTC, date, datetime
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from platform_assets.errors import ConfigurationError, ContractError, SchemaError
from platform_assets.science.contract import check_names, check_share, columns_of, findings, schema_of
from platform_assets.science.kinds import Column, parse, typed, widen
from platform_assets.science.source import Kind, Rules, Source

SHOP = Source("shop", ("item",), {"units": "n", "sold_on": "day", "price": "price"}, extra={"note": "text"})

TEXT: list[tuple[Kind, str, Any]] = [
    ("integer", "12", 12),
    ("integer", " -3 ", -3),
    ("integer", "13085.0", 13085),  # pandas writes integers with gaps so
    ("integer", "17.5", None),
    ("integer", "1e3", None),
    ("integer", "1,234", None),
    ("integer", "9" * 19, None),
    ("number", "1.25", 1.25),
    ("number", ".5", 0.5),
    ("number", "1e308", 1e308),
    ("number", "-inf", float("-inf")),  # a number that its line answers for
    ("number", "1,25", None),
    ("number", "0x10", None),
    ("number", "12 ", 12.0),
    ("boolean", "TRUE", True),
    ("boolean", "0", False),
    ("boolean", "yes", None),
    ("date", "2024-02-29", date(2024, 2, 29)),
    ("date", "2024-02-29 00:00:00", date(2024, 2, 29)),
    ("date", "2024-02-29T01:00:00", None),
    ("date", "2023-02-29", None),
    ("date", "24-02-29", None),
    ("instant", "2024-02-29T12:30:00Z", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
    ("instant", "2024-02-29 12:30+02:00", datetime(2024, 2, 29, 10, 30, tzinfo=UTC)),
    ("instant", "2024-02-29 12:30:00", None),  # naive: whose time?
    ("local_time", "2024-02-29 12:30:00.25", datetime(2024, 2, 29, 12, 30, 0, 250000)),
    ("local_time", "2024-02-29 12:30:00Z", None),
    ("key", "007", "007"),
    ("text", "", None),
]


@pytest.mark.parametrize(("kind", "cell", "value"), TEXT)
def test_text_is_read_as_its_kind_or_not_at_all(kind: Kind, cell: str, value: Any) -> None:
    assert parse(pl.Series([cell]), kind, None).to_list() == [value]


@pytest.mark.parametrize(
    ("cells", "keys", "broken"),
    [
        # 17.5 was an article of its own, and 18.0 another one than 18
        (["17", "17.5", "18", "18.0", " 19 ", "20"], ["17", "17.5", "18", "18", " 19 ", "20"], ["17.5"]),
        (["17.0", "18.0", None, ""], ["17", "18", None, None], []),  # a spreadsheet's integers with gaps
        (["007", "8.", "-1"], ["007", "8", "-1"], []),
        (["1.0", "1.1", "1.10", "2.0"], ["1.0", "1.1", "1.10", "2.0"], []),  # versions: codes of the source's own
        (["A1", "17.5", "B2"], ["A1", "17.5", "B2"], []),
    ],
)
def test_a_key_of_whole_numbers_has_no_fractions_and_one_spelling(
    cells: list[str | None], keys: list[str | None], broken: list[str]
) -> None:
    read = parse(pl.Series(cells, dtype=pl.String), "key", None)
    assert read.to_list() == keys
    lines, schema = pl.DataFrame({"item": read}), pa.DataFrameSchema({"item": pa.Column(pl.String, nullable=True)})
    found = findings(lines, schema, [Column("item", "key")])
    assert lines.filter(found.is_not_null())["item"].to_list() == broken
    assert [said for said in found.drop_nulls() if "a fraction among whole numbers" not in said] == []


TYPED: list[tuple[Kind, pl.Series, list[Any] | None]] = [
    ("integer", pl.Series([1, 2], dtype=pl.UInt8), [1, 2]),
    ("integer", pl.Series([1.0, None, 2.5]), [1, None, None]),
    ("integer", pl.Series([1e300]), [None]),
    ("integer", pl.Series(["1"]), None),
    ("number", pl.Series([1, 2]), [1.0, 2.0]),
    ("number", pl.Series([True]), None),
    ("key", pl.Series([7]), ["7"]),
    ("key", pl.Series([7.0]), None),
    ("text", pl.Series([7]), None),
    ("boolean", pl.Series([1, 0, 2]), [True, False, None]),
    ("boolean", pl.Series([1.0]), None),
    ("date", pl.Series([datetime(2024, 1, 1), datetime(2024, 1, 1, 9)]), [date(2024, 1, 1), None]),
    ("date", pl.Series([datetime(2024, 1, 1, tzinfo=UTC)]), None),
    ("instant", pl.Series([datetime(2024, 1, 1)]), None),
    ("local_time", pl.Series([datetime(2024, 1, 1, tzinfo=UTC)]), None),
]


@pytest.mark.parametrize(("kind", "cells", "values"), TYPED)
def test_a_type_is_its_kind_or_is_refused(kind: Kind, cells: pl.Series, values: list[Any] | None) -> None:
    found = widen(cells, kind)
    assert (None if found is None else found.to_list()) == values


def test_a_schema_is_told_from_defs_yaml() -> None:
    columns = columns_of(schema_of(SHOP), SHOP)
    assert {column.name: column.kind for column in columns} == {
        "item": "key",
        "n": "number",
        "day": "date",
        "price": "number",
        "note": "text",
    }


def test_a_contract_must_hold_what_defs_yaml_names() -> None:
    with pytest.raises(ConfigurationError, match=r"names columns \['day', 'item', 'price'\], which its contract lacks"):
        columns_of(pa.DataFrameSchema({"n": pa.Column(pl.Int64)}), SHOP)
    with pytest.raises(ConfigurationError, match="bear names that the platform gives"):
        columns_of(pa.DataFrameSchema({"known_at": pa.Column(pl.Datetime("us", "UTC"))}), SHOP)
    with pytest.raises(ConfigurationError, match="has type List"):
        columns_of(pa.DataFrameSchema({"n": pa.Column(pl.List(pl.Int64))}), SHOP)


def test_names_are_the_declared_ones() -> None:
    columns = [Column("a", "text"), Column("b", "text", is_required=False)]
    check_names("f", ["a"], columns)
    check_names("f", ["b", "a"], columns)
    with pytest.raises(SchemaError, match=r"f: column `a` is missing \(there is 'A '\); column 'A ' is unknown"):
        check_names("f", ["A "], columns)


def test_wrong_cells_are_counted_and_the_first_shown() -> None:
    raw = pl.DataFrame({"a": ["1", "x", "", "y", "z", "w"]})
    with pytest.raises(SchemaError, match=r"f.csv: column `a` .* 4 of 6 rows \(row 2: 'x', row 4: 'y', row 5: 'z'\)"):
        typed(raw, [Column("a", "integer")], "f.csv", is_text=True)


def test_a_column_of_no_values_takes_any_kind() -> None:
    raw = pl.DataFrame({"a": [None, None]}, schema={"a": pl.Null})
    assert typed(raw, [Column("a", "integer"), Column("b", "date", False)], "f", is_text=False).schema == {
        "a": pl.Int64,
        "b": pl.Date,
    }


def test_every_broken_line_has_one_finding() -> None:
    schema = pa.DataFrameSchema(
        {
            "item": pa.Column(pl.String, pa.Check.str_matches(r"^i\d$")),
            "n": pa.Column(pl.Float64, pa.Check.ge(0), nullable=False),
        }
    )
    lines = pl.DataFrame({"item": ["i1", "x", "i2", None, "<b>i3</b>"], "n": [1.0, -1.0, None, 2.0, float("nan")]})
    found = findings(lines, schema, [Column("item", "key"), Column("n", "number")])
    assert found[0] is None
    assert found.null_count() == 1
    assert found[2] == "n: missing, found nothing"
    assert found[3] == "item: missing, found nothing"
    assert found[4] == "n: not finite, found NaN" or found[4] == "item: markup or a formula, found <b>i3</b>"


def test_too_many_broken_lines_stop_the_file() -> None:
    lines = pl.DataFrame({"file_row": [1, 2, 3, 4], "finding": [None, "n: missing, found nothing", None, None]})
    shop = Source("shop", ("item",), {"units": "n", "sold_on": "day"}, rules=Rules(largest_share=0.25))
    assert check_share(lines, shop, "f")["share of findings"] == 0.25
    with pytest.raises(
        ContractError, match=r"f: 1 of 3 lines break the contract, more than 25%: f: row 2, column n: missing"
    ):
        check_share(lines[:3], shop, "f")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"columns": {"sold_on": "day"}}, "`units` is missing"),
        ({"columns": {"units": "n"}}, "either `sold_on`"),
        ({"columns": {"units": "n", "sold_on": "day", "sold_at": "at"}}, "either `sold_on`"),
        ({"series": ()}, "at least one column"),
        ({"series": ("n",)}, "play another role too"),
        ({"plans": {"target_on": "t"}}, "a plan that does not say when it was announced is a leak"),
        ({"dated": "end"}, "only a weekly source"),
    ],
)
def test_a_source_that_contradicts_itself_is_no_source(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Source(**{"name": "shop", "series": ("item",), "columns": {"units": "n", "sold_on": "day"}, **more})


def test_public_holidays_are_those_of_the_part_of_the_country() -> None:
    """England keeps Easter Monday, Great Britain as a whole does not."""
    shop = Source("shop", ("item",), {"units": "n", "sold_on": "day"}, country="GB", subdivision="ENG")
    assert (shop.holidays, Source("shop", ("item",), shop.columns, country="DE").holidays) == ("GB-ENG", "DE")
    assert Source("shop", ("item",), shop.columns).holidays is None
    with pytest.raises(ConfigurationError, match="give the `country` that it is a part of"):
        Source("shop", ("item",), shop.columns, subdivision="ENG")
