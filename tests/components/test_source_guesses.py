"""What the scaffolder makes of files as shops export them; what cannot be a source is refused with what would do."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import dagster as dg
import polars as pl
import pytest
import yaml

from platform_assets.components.source_dates import DAYS, FORMATS, days
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
            "2024-01-{day},tea,{n},1{n}",
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
    sample = written(tmp_path, "date,delivered,product,in,out", "2024-01-{day},2024-02-{day},tea,{n},17")
    found = guess(sample, Named(units="out", date="delivered", series=["product"]))
    assert (found.columns, found.series) == ({"units": "out", "sold_on": "delivered"}, ["product"])
    assert found.told() == [
        "  units     out",
        "  sold_on   delivered",
        "  series    product: 1 series with about 56 lines, in 28 periods",
        "  periods   days",
        "  the rest  date, in: not read as sales",
    ]
    with pytest.raises(SchemaError, match="no column `oot`") as refused:
        guess(sample, Named(units="oot"))
    assert refused.value.hint == 'did you mean "out"?'
    with pytest.raises(SchemaError, match="column `product` is text, expected integer or number"):
        guess(sample, Named(units="product"))
    with pytest.raises(SchemaError, match="column `in` cannot both make a series and play another role"):
        guess(sample, Named(units="in", series=["product", "in"]))


def test_the_command_refuses_in_words_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample, target = written(tmp_path, "date,product,in,out", "2024-01-{day},tea,{n},1{n}"), tmp_path / "shop"

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
    told = capsys.readouterr().out  # Dagster refuses a second attempt before our code runs, and does not say what to do
    assert f"delete the folder first:\n    rm -r {target}" in told
    assert yaml.safe_load((target / "defs.yaml").read_text())["attributes"]["columns"]["units"] == "out"


def lines_of(folder: Path, header: str, *rows: str) -> Path:
    """A CSV file of these rows."""
    file = folder / "sample.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def till(folder: Path, more: str = "", header: str = "") -> Path:
    """A till's receipts over 40 days: two of four drinks each day, dates month first, a clock in a column of its own shape."""
    rows = [
        f"{on.month}/{on.day}/{on.year},{on.month}/{on.day}/{on.year} {8 + n % 9}:{n % 60:02d},{('card', 'cash')[n % 2]},"
        f"ANON-{n:04d},{2.5 + n % 3},{('Latte', 'Mocha', 'Tea', 'Cocoa')[n % 4]}{more}"
        for n in range(80)
        for on in [date(2024, 3, 1) + timedelta(days=n // 2)]
    ]
    return lines_of(folder, f"date,datetime,cash_type,card,money,coffee_name{header}", *rows)


def test_times_and_what_is_nearly_unique_never_make_a_series(tmp_path: Path) -> None:
    """`datetime` in the American order was text to us, and each minute became a series, which a model then forecast as zero
    a hundred per cent better than the best baseline."""
    sample = till(tmp_path, ",1", ",quantity")
    sample.write_text(sample.read_text() + "4/10/2024,4/10/2024 8:00,card,ANON-1,2.5,,1\n")  # no drink is no series
    found = guess(sample)
    assert found.series == ["coffee_name"]
    assert found.columns == {"units": "quantity", "sold_on": "date"}
    assert found.date_format == "%m/%d/%Y"
    assert found.extra["datetime"] == "text"  # a date in another shape than the source's could not be read
    assert "  series    coffee_name: 4 series, each with about 20 lines, in 20 periods" in found.told()


@pytest.mark.parametrize("said", ["datetime", "date"])
def test_a_time_cannot_be_said_to_make_a_series(tmp_path: Path, said: str) -> None:
    with pytest.raises(SchemaError, match=f"`{said}` holds days or times, such as '3/1/2024"):
        guess(till(tmp_path, ",1", ",quantity"), Named(series=["coffee_name", said]))


def test_series_of_a_single_line_are_asked_about(tmp_path: Path) -> None:
    """Each column comes again, and yet together they name each line."""
    rows = [f"2024-01-{n % 28 + 1:02d},store {n % 8},item {n // 8},{n % 5}" for n in range(64)]
    sample = lines_of(tmp_path, "date,store,item,qty", *rows)
    with pytest.raises(
        SchemaError, match="`store, item` would be 64 series of 64 lines, 100% of them with a single"
    ) as no:
        guess(sample)
    assert "--series what comes again in every period, such as `store` (8 values), `item` (8 values)" in str(
        no.value.hint
    )
    found = guess(sample, Named(series=["store", "item"]))
    assert found.notes == ["nearly every series has a single line: nothing can be learned from those"]
    assert guess(sample, Named(series=["store"])).notes == [
        "most series have lines in fewer than 14 periods; fewer columns in --series make longer ones"
    ]


def test_a_sample_of_one_day_does_not_tell_its_series(tmp_path: Path) -> None:
    sample = lines_of(tmp_path, "date,sku,qty", *(f"2024-01-01,SKU-{n},{n % 7}" for n in range(40)))
    with pytest.raises(SchemaError, match=r"one series from another .`sku`: another in nearly every row"):
        guess(sample)
    assert guess(sample, Named(series=["sku"])).series == ["sku"]


def test_of_two_columns_that_say_the_same_one_is_taken(tmp_path: Path) -> None:
    rows = [f"{n // 4 + 1}/1/2024,{n % 9 + 1},Nord,P-{n % 4},thing {n % 4},{n % 7}" for n in range(112)]
    found = guess(lines_of(tmp_path, "day,row nr,Store,Product ID,Product Name,Quantity", *rows))
    assert found.series == ["Store", "Product ID"]  # a single store says nothing, and stays: another may follow
    assert found.extra["Product Name"] == "text"
    assert found.notes == ["`Product Name` says the same as `Product ID`: one of the two is enough"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("transaction_qty", "{n}"), ("Sales Qty", "{n}"), ("Qty Sold", "{n}"), ("Total Volume", "{n}.25")),
        *(("Order-Quantity", "{n}"), ("weekly_sales", "{n}"), ("unit_sales", "{n}.5"), ("quantity", "1")),
    ],
)
def test_usual_names_of_a_number_of_units_are_known(tmp_path: Path, name: str, value: str) -> None:
    sample = written(tmp_path, f",date,product,is_open,{name},rank", "{n},2024-01-{day},tea,1," + value + ",{n}.5")
    assert guess(sample).columns["units"] == name


@pytest.mark.parametrize(
    ("header", "row", "said", "hint"),
    [
        (  # of whole numbers only a flag was left, and became the units
            "Store,Date,Weekly_Sales,Holiday_Flag,Temperature",
            "1,{day}-01-2010,{n}43690.9,0,42.31",
            "perhaps `Weekly_Sales` \\(`Weekly_Sales` may be an amount of money\\)",
            '--units "Weekly_Sales"',
        ),
        (  # the unnamed first column counts the rows
            ",date,product,flag,in,out",
            "{n},2024-01-{day},tea,0,1{n},2{n}",
            "one of `in`, `out`",
            '--units "in"',
        ),
        (
            "date,product,money",
            "2024-01-{day},tea,3.{n}",
            "`money` looks like money, and no other is a number",
            "a column `quantity` of ones",
        ),
        ("date,product,flag,same", "2024-01-{day},tea,0,7", "None is a number of units", "a column `quantity` of ones"),
        (
            "date,product,qty",
            '2024-01-{day},tea,"1,{n}75"',
            "`qty` reads as numbers in 0 of 56 rows, not in row 1",
            "comma",
        ),
    ],
)
def test_what_may_not_be_units_is_asked_about(tmp_path: Path, header: str, row: str, said: str, hint: str) -> None:
    with pytest.raises(SchemaError, match=said) as refused:
        guess(written(tmp_path, header, row))
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize("text", [*DAYS, *FORMATS[len(DAYS) :: 5]])
def test_a_format_that_only_one_reading_fits_is_taken(tmp_path: Path, text: str) -> None:
    """Days beyond the twelfth tell day-first from month-first; what is taken reads every day as it was written."""
    told = [datetime(2024, 1, 1, 0, 0, tzinfo=UTC) + timedelta(days=n, hours=n % 24) for n in range(40)]
    rows = [f'"{at.strftime(text)}",tea,{n % 5}' for n, at in enumerate(told)]
    found = guess(lines_of(tmp_path, "when,product,qty", *rows))
    assert found.columns["sold_on"] == "when"
    cells = pl.Series([at.strftime(text) for at in told])
    assert days(cells, found.date_format).to_list() == [at.date() for at in told]
    assert any("time of day is not kept" in note for note in found.notes) == ("%M" in text)


def test_dates_that_read_in_two_ways_are_asked_about(tmp_path: Path) -> None:
    sample = lines_of(tmp_path, "date,product,qty", *(f"01-{n % 12 + 1:02d}-2014,tea,{n}" for n in range(30)))
    with pytest.raises(SchemaError, match=r"`date` read in 2 ways: '01-01-2014' is 2014-01-01 .%d-%m-%Y. or") as asked:
        guess(sample)
    assert '--date-format "%m-%d-%Y"' in str(asked.value.hint)
    assert guess(sample, Named(date_format="%m-%d-%Y")).date_format == "%m-%d-%Y"
    with pytest.raises(SchemaError, match=r"reads as dates \(%Y.%m.%d\) in 0 of 30 rows, not in row 1: '01-01-2014'"):
        guess(sample, Named(date="date", date_format="%Y.%m.%d"))
    plain = lines_of(tmp_path, "date,product,qty", *(f"2024-01-{n % 28 + 1:02d},tea,{n}" for n in range(30)))
    with pytest.raises(SchemaError, match=r"reads as dates \(dd.mm\) in 0 of 30 rows"):
        guess(plain, Named(date_format="dd.mm"))  # what is said is not passed over
    kept = tmp_path / "sample.parquet"
    pl.read_csv(plain, try_parse_dates=True).write_parquet(kept)
    with pytest.raises(SchemaError, match="`date` holds days or times, not text"):
        guess(kept, Named(date_format="%d.%m.%Y"))


def test_a_sample_may_name_its_columns_as_it_likes(tmp_path: Path) -> None:
    rows = [f"2024-01-{n % 28 + 1:02d},tea {n % 2},Nord,{n}" for n in range(56)]
    found = guess(lines_of(tmp_path, "day,period,lines,key 0", *rows), Named(units="key 0", series=["period", "lines"]))
    assert found.sizes == "2 series, each with about 28 lines, in 14 periods"


def test_the_row_that_spoils_the_dates_is_named(tmp_path: Path) -> None:
    """The message showed the first date, which was right, and said that no column was one."""
    rows = [f"2024-01-{n % 28 + 1:02d},tea,{n}" for n in range(60)]
    rows[40] = "date,product,qty"
    with pytest.raises(SchemaError, match=r"in 59 of 60 rows, not in row 41: 'date', the header line once more") as no:
        guess(lines_of(tmp_path, "date,product,qty", *rows))
    assert "delete rows" in str(no.value.hint)
    rows[40] = "n/a,tea,3"
    with pytest.raises(SchemaError, match="not in row 41: 'n/a'"):
        guess(lines_of(tmp_path, "date,product,qty", *rows), Named(date="date"))


@pytest.mark.parametrize(
    ("name", "dated", "said"),
    [
        (
            "Week Ending",
            "end",
            "weeks, each named by its last day; where the date is the first one, say `dated: start`",
        ),
        ("calendar", "start", "weeks, each named by its first day; where the date is the last one, say `dated: end`"),
    ],
)
def test_what_the_date_of_a_week_is_taken_for_is_told(tmp_path: Path, name: str, dated: str, said: str) -> None:
    rows = [f"{date(2024, 1, 5) + timedelta(days=7 * n)},tea,{n}" for n in range(30)]
    found = guess(lines_of(tmp_path, f"{name},product,qty", *rows))
    assert f"  periods   {said} in defs.yaml" in found.told()
    stated = yaml.safe_load(fill("shop", "UTC", found))["attributes"]
    assert (stated["dated"], stated["rules"]["is_one_line_per_period"]) == (dated, True)


def test_several_lines_of_a_week_are_added_up_and_not_refused(tmp_path: Path) -> None:
    rows = [f"{date(2024, 1, 5) + timedelta(days=7 * (n // 3))},tea,{n}" for n in range(60)]
    found = guess(lines_of(tmp_path, "date,product,qty", *rows))
    assert found.notes == ["a series has several lines in a week: they are added up"]
    assert yaml.safe_load(fill("shop", "UTC", found))["attributes"]["rules"]["is_one_line_per_period"] is False
