"""What the scaffolder makes of files as shops export them; what cannot be a source is refused with what would do."""

from pathlib import Path

import pytest
import yaml

from platform_assets.components.source_scaffolding import fill, guess
from platform_assets.errors import SchemaError


def written(folder: Path, header: str, *rows: str) -> Path:
    """A CSV file of some dozens of rows; `{n}` counts them, `{day}` is a day of January."""
    file = folder / "sample.csv"
    lines = [row.format(n=n, day=f"{n % 28 + 1:02d}") for n in range(56) for row in rows]
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


@pytest.mark.parametrize(
    ("header", "row", "columns", "series", "more"),
    [
        (  # German: semicolons, days first, a price with a comma stays text
            "datum;filiale;artikel;menge;preis",
            "{day}.01.2024;Nord;A-7;{n};2,49",
            {"sold_on": "datum", "units": "menge"},
            ["filiale", "artikel"],
            {"delimiter": ";", "date_format": "%d.%m.%Y", "extra": {"preis": "text"}},
        ),
        (  # French: accents, times of a till without a zone
            "horodatage,produit,quantité,prix",
            "2024-01-{day} 08:{day}:00,baguette,{n},1.10",
            {"sold_at": "horodatage", "units": "quantité", "price": "prix"},
            ["produit"],
            {"has_naive_times": True},
        ),
        (  # Spanish, products as numbers
            "fecha,tienda,producto,unidades",
            "2024-01-{day},Madrid,17,{n}",
            {"sold_on": "fecha", "units": "unidades"},
            ["tienda", "producto"],
            {},
        ),
        (  # no name is known: the one number that is no price, and the one text
            "when,what,moved,unit cost",
            "2024-01-{day},tea,{n},2.5",
            {"sold_on": "when", "units": "moved"},
            ["what"],
            {"extra": {"unit cost": "number"}},
        ),
        (  # two numbers could be it: neither is taken, and both are named
            "date,product,in,out",
            "2024-01-{day},tea,{n},7",
            {"sold_on": "date"},
            ["product"],
            {"extra": {"in": "integer", "out": "integer"}},
        ),
        (  # a number is all that tells series apart
            "date,code7,units",
            "2024-01-{day},4711,{n}",
            {"sold_on": "date", "units": "units"},
            ["code7"],
            {},
        ),
    ],
)
def test_a_sample_is_understood(
    tmp_path: Path, header: str, row: str, columns: dict[str, str], series: list[str], more: dict[str, object]
) -> None:
    found = guess(written(tmp_path, header, row))
    assert (found.columns, found.series) == (columns, series)
    assert {name: getattr(found, name) for name in more} == more
    text = fill("shop", "Europe/Paris", found)
    stated = yaml.safe_load(text)["attributes"]
    assert (stated["columns"], stated["series"]) == (columns, series)
    assert ("# units: name the column that was sold, one of in, out" in text) == ("in" in found.extra)


@pytest.mark.parametrize(
    ("header", "row", "said", "hint"),
    [
        (
            "week,item,units",
            "2024-W0{n},tea,{n}",
            r"no column is a date .*`week` \(text, such as '2024-W00'\)",
            "first day",
        ),
        ("date,units", "2024-01-{day},{n}", "no column tells one series from another", "the same word in every row"),
    ],
)
def test_what_cannot_be_a_source_is_refused_before_anything_is_written(
    tmp_path: Path, header: str, row: str, said: str, hint: str
) -> None:
    with pytest.raises(SchemaError, match=said) as refused:
        guess(written(tmp_path, header, row))
    assert hint in (refused.value.hint or "")
