"""What the scaffolder makes of files as shops export them; what cannot be a source is refused with what would do."""

from pathlib import Path

import click
import dagster as dg
import pytest
import yaml

from platform_assets.components.source_guesses import Named, guess
from platform_assets.components.source_scaffolding import SalesSourceScaffolder, SourceParameters, fill
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
        (  # of two numbers the whole one
            "date,product,moved,weight",
            "2024-01-{day},tea,{n},7.5",
            {"sold_on": "date", "units": "moved"},
            ["product"],
            {"extra": {"weight": "number"}},
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


@pytest.mark.parametrize(
    ("header", "row", "said", "hint"),
    [
        (
            "week,item,units",
            "2024-W0{n},tea,{n}",
            r"no column is a date .*`week` \(text, such as '2024-W00'\)",
            "first day",
        ),
        (  # an incomplete defs.yaml would keep every other source from loading
            "date,product,in,out",
            "2024-01-{day},tea,{n},7",
            "which column is what was sold\\? one of `in`, `out`",
            '--units "in"',
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


def test_what_the_user_says_is_taken(tmp_path: Path) -> None:
    sample = written(tmp_path, "date,delivered,product,in,out", "2024-01-{day},2024-02-{day},tea,{n},7")
    found = guess(sample, Named(units="out", date="delivered", series=["product", "in"]))
    assert (found.columns, found.series) == ({"units": "out", "sold_on": "delivered"}, ["product", "in"])
    assert found.told() == [
        "  units     out",
        "  sold_on   delivered",
        "  series    product, in",
        "  periods   days",
        "  the rest  date: not read as sales",
    ]
    with pytest.raises(SchemaError, match="no column `oot`") as refused:
        guess(sample, Named(units="oot"))
    assert refused.value.hint == "did you mean `out`?"
    with pytest.raises(SchemaError, match="column `product` is text, expected integer or number"):
        guess(sample, Named(units="product"))


def test_the_command_refuses_in_words_and_writes_nothing(tmp_path: Path) -> None:
    sample, target = written(tmp_path, "date,product,in,out", "2024-01-{day},tea,{n},7"), tmp_path / "shop"

    def scaffold(units: str | None, timezone: str = "UTC") -> None:
        params = SourceParameters(sample=str(sample), units=units, timezone=timezone)
        request = dg.ScaffoldRequest("SalesSource", target, "yaml", tmp_path, params)
        SalesSourceScaffolder().scaffold(request)

    target.mkdir()  # as Dagster's command does; left behind it would refuse the next attempt
    with pytest.raises(click.ClickException, match="--units"):
        scaffold(None)
    assert not target.exists()
    target.mkdir()
    with pytest.raises(
        click.ClickException, match="--timezone: unknown timezone 'Europa/Berlin'; such as Europe/Berlin"
    ):
        scaffold("out", "Europa/Berlin")
    assert not target.exists()
    scaffold("out")
    assert yaml.safe_load((target / "defs.yaml").read_text())["attributes"]["columns"]["units"] == "out"
