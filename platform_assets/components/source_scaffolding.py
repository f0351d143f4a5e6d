"""What `dg scaffold defs platform_assets.components.SalesSource data/<name>` writes."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder
from pydantic import BaseModel, Field

from platform_assets.errors import SchemaError

if TYPE_CHECKING:
    import polars as pl

# Names under which files carry a role, lower case and without accents; the first that a file has is taken.
SPELLINGS: Mapping[str, str] = {
    "units": (
        "units quantity qty units_sold sold sales_units demand volume sales count menge anzahl stueck stuck absatz quantite qte "
        "unites ventes unidades cantidad ventas quantita venduto quantidade vendas aantal"
    ),
    "price": (
        "price unit_price unitprice sell_price price_eur price_usd price_gbp preis stueckpreis prix prix_unitaire precio prezzo "
        "preco prijs"
    ),
    "sold_on": (
        "sold_on date day week week_start ds period order_date datum tag woche jour semaine fecha dia semana data giorno "
        "settimana"
    ),
    "sold_at": "sold_at timestamp ts time datetime invoice_date invoicedate ordered_at zeitpunkt zeit horodatage heure hora",
    "is_promoted": "is_promoted promo promotion on_promotion onpromotion aktion promocion promozione promocao",
    "stock": "stock on_hand inventory stock_on_hand bestand lagerbestand existencias giacenza estoque voorraad",
    "ticket": "ticket invoice receipt order order_id basket basket_id receipt_id ticket_id bon beleg rechnung facture factura scontrino",
}
GUESSES = {role: tuple(words.split()) for role, words in SPELLINGS.items()}
FITTING: Mapping[str, set[str]] = {
    "units": {"integer", "number"},
    "price": {"integer", "number"},
    "stock": {"integer", "number"},
    "sold_on": {"date"},
    "sold_at": {"instant", "local_time"},
    "is_promoted": {"boolean", "integer"},
    "ticket": {"text", "integer"},
}
FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d")
SERIES_WORDS = (
    "store shop branch outlet location sku product item article stock_code upc ean filiale markt artikel produkt magasin boutique "
    "produit tienda producto articulo negozio prodotto articolo loja produto winkel"
)
SERIES = tuple(SERIES_WORDS.split())
PRICED = ("price", "preis", "prix", "preci", "prezz", "preco", "prijs", "cost", "amount", "revenue", "umsatz", "total")

TEMPLATE = """\
type: platform_assets.components.SalesSource
attributes:
  title: {title}
  description: Say what one line of the file is, where it comes from, and its licence.
  owners: [team:demand]

  timezone: {timezone}  # of the local day: day D is known at the local midnight that ends it
  frequency: {frequency}  # day or week
  {dated}dated: {date_is}  # weekly sums: a date is its week's first day (start) or last day (end); `day`: lines have days, add weeks up
  {naive}naive_times: local  # times without a zone are times of `timezone`; without this line such a file is refused
  {date_format}  # of dates in text; YYYY-MM-DD in a CSV needs none
  {delimiter}  # of CSV

  series: [{series}]  # columns that make a series; every series is forecast by itself
  columns:  # role: column of the file. `units` and one of sold_on (a date), sold_at (a time) must be there
{columns}
  extra: {extra}  # the file's other columns and their kind: text, integer, number, boolean, date, instant, local_time
  rules:  # what is no plain sale is set aside with its reason; these are the defaults
    # Of lines equal in every column all but the first are set_aside, or kept as sales of their own. As it stands (ask) they are
    # set aside, and a file in which they are many is refused.
    duplicates: ask
    is_one_line_per_period: {sums}  # true for sums: two lines of one series and period contradict each other
    zero_prices: set_aside  # or keep
    normalise: []  # columns whose values are trimmed and upper-cased before they name a series
    # goods: {{product: '^\\d{{5}}$'}}  # a line whose value does not match sells no goods
    # plausible: {{price: [0.2, 50]}}  # a file whose median lies outside is in another unit: refused

  # country: DE  # public holidays
  overstock_cost: 0.1  # of one unit, as a share of its price
  stockout_cost: 0.3
  # ended: true  # no more lines will come
  # contract: schema.Lines  # a pandera DataFrameModel of the lines in schema.py beside this file
  # adapter: adapter  # set_aside(lines) and sold_at() in adapter.py, for what the above cannot say
"""


class SourceParameters(BaseModel):
    """Options of the scaffold command."""

    sample: str | None = Field(
        default=None, description="Parquet or CSV file of lines; its columns are filled in as far as guessed"
    )
    timezone: str = Field(default="UTC", description="zone of the local day, such as Europe/London")


class SalesSourceScaffolder(Scaffolder[SourceParameters]):
    """Writes a commented defs.yaml, filled in from a sample file where one is named."""

    @classmethod
    def get_scaffold_params(cls) -> type[SourceParameters]:
        return SourceParameters

    def scaffold(self, request: dg.ScaffoldRequest[SourceParameters]) -> None:
        found = guess(Path(request.params.sample)) if request.params.sample else Guess()
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = fill(request.target_path.name, request.params.timezone, found)
        (request.target_path / "defs.yaml").write_text(text)


class Guess(BaseModel):
    """What a sample file's columns seem to be."""

    columns: dict[str, str] = {}
    series: list[str] = []
    extra: dict[str, str] = {}
    is_weekly: bool = False
    has_naive_times: bool = False
    date_format: str | None = None
    delimiter: str = ","


def guess(sample: Path) -> Guess:
    """Roles, series and kinds of a sample's columns, from names and values; a person must look.

    Raises: SchemaError where the file cannot be opened, or where no column can be a day or a series.
    """
    from resources.line_files import raw_lines, read_file, sniff_delimiter

    file = read_file(sample)
    delimiter = sniff_delimiter(file)
    raw = raw_lines(file, delimiter)
    formats = {
        name: found for name in raw.columns if (found := _date_format(raw[name], is_text=file.is_text)) is not None
    }
    kinds = {name: "date" if name in formats else _kind(raw[name]) for name in raw.columns}
    low = {_folded(name): name for name in raw.columns}
    roles: dict[str, str] = {}
    for role, spellings in GUESSES.items():
        names = (low[spelling] for spelling in spellings if spelling in low)
        found = next((name for name in names if name not in roles.values() and kinds[name] in FITTING[role]), None)
        roles |= {} if found is None else {role: found}
    if not {"sold_on", "sold_at"} & set(roles):
        times = [
            (role, name) for role in ("sold_on", "sold_at") for name in raw.columns if kinds[name] in FITTING[role]
        ]
        roles |= dict(times[:1])
    if {"sold_on", "sold_at"} <= set(roles):
        del roles["sold_at"]
    free = [name for name in raw.columns if name not in roles.values()]
    series = [
        name for name in free if kinds[name] in {"text", "integer"} and any(word in _folded(name) for word in SERIES)
    ]
    series = series or [name for name in free if kinds[name] == "text"][:2]
    if "units" not in roles:
        numbers = [name for name in free if name not in series and kinds[name] in FITTING["units"]]
        numbers = [name for name in numbers if not any(word in _folded(name) for word in PRICED)]
        if len(numbers) == 1:
            roles["units"] = numbers[0]
            free.remove(numbers[0])
    series = series or [name for name in free if kinds[name] == "integer"][:1]
    _refuse_what_cannot_be(file.name, raw, kinds, roles, series)
    day = roles.get("sold_on")
    return Guess(
        columns=roles,
        series=series,
        extra={name: kinds[name] for name in free if name not in series},
        is_weekly=day is not None and _is_weekly(raw[day], formats.get(day)),
        has_naive_times=kinds.get(roles.get("sold_at", "")) == "local_time",
        date_format=formats.get(day or ""),
        delimiter=delimiter,
    )


def _folded(name: str) -> str:
    """Lower case, without accents."""
    return unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode() or name.casefold()


def _refuse_what_cannot_be(
    file: str, raw: "pl.DataFrame", kinds: Mapping[str, str], roles: Mapping[str, str], series: list[str]
) -> None:
    shown = ", ".join(f"`{name}` ({kinds[name]}, such as {_first(raw[name])})" for name in raw.columns)
    if not {"sold_on", "sold_at"} & set(roles):
        raise SchemaError(
            f"{file}: no column is a date or a time; columns: {shown}",
            hint="write days as 2024-12-31, one format for the whole column, and a week as the date of its first day",
        )
    if not series:
        raise SchemaError(
            f"{file}: no column tells one series from another; columns: {shown}",
            hint="add one to the file, such as a product; for a single series the same word in every row",
        )


def _first(cells: "pl.Series") -> str:
    filled = _filled(cells)
    return repr(filled[0]) if len(filled) else "nothing"


def _filled(cells: "pl.Series") -> "pl.Series":
    import polars as pl

    cells = cells.drop_nulls()
    return cells.filter(cells.str.strip_chars() != "") if cells.dtype == pl.String else cells


def _date_format(cells: "pl.Series", *, is_text: bool) -> str | None:
    """The one format that reads every cell, where the column needs one; None where it needs none, or two read it."""
    import polars as pl

    if cells.dtype != pl.String:
        return None
    filled = _filled(cells)
    if is_text and not filled.str.to_date("%Y-%m-%d", strict=False).null_count():
        return None
    reading = [text for text in FORMATS if len(filled) and not filled.str.to_date(text, strict=False).null_count()]
    return reading[0] if len(reading) == 1 else None


def _is_weekly(cells: "pl.Series", date_format: str | None) -> bool:
    import polars as pl

    days = (
        cells.cast(pl.String)
        .str.slice(0, 10)
        .str.to_date(date_format or "%Y-%m-%d", strict=False)
        .drop_nulls()
        .unique()
    )
    return len(days) > 2 and days.dt.weekday().n_unique() == 1


def _kind(cells: "pl.Series") -> str:
    import polars as pl

    from platform_assets.science.kinds import DTYPES, parse, widen
    from platform_assets.science.source import Kind

    filled = _filled(cells)
    order: tuple[Kind, ...] = ("integer", "number", "boolean", "date", "instant", "local_time")
    for kind in order:
        read = parse(filled, kind, None) if filled.dtype == pl.String else widen(filled, kind)
        if read is not None and read.dtype == DTYPES[kind] and len(filled) and not read.null_count():
            return kind
    return "text"


def fill(name: str, timezone: str, found: Guess) -> str:
    """The text of defs.yaml."""
    columns = found.columns or {"units": "units", "sold_on": "date"}
    numbers = [column for column, kind in found.extra.items() if kind in FITTING["units"]]
    sample = {"price": "price", "is_promoted": "promotion", "stock": "stock", "ticket": "receipt"}
    lines = [f"    {role}: {_said(column)}" for role, column in columns.items()]
    if "units" not in columns:
        lines.insert(0, f"    # units: name the column that was sold, one of {', '.join(numbers) or 'the numbers'}")
    lines += [f"    # {role}: {column}" for role, column in sample.items() if role not in columns]
    return TEMPLATE.format(
        title=_said(name.replace("_", " ").capitalize()),
        timezone=timezone,
        frequency="week" if found.is_weekly else "day",
        dated="" if found.is_weekly else "# ",
        date_is="end" if "end" in columns.get("sold_on", "").casefold() else "start",
        naive="" if found.has_naive_times else "# ",
        date_format=f'date_format: "{found.date_format}"' if found.date_format else '# date_format: "%d/%m/%Y"',
        delimiter=f"delimiter: {_said(found.delimiter)}" if found.delimiter != "," else '# delimiter: ";"',
        series=", ".join(map(_said, found.series or ["product"])),
        columns="\n".join(lines),
        extra="{" + ", ".join(f"{_said(column)}: {kind}" for column, kind in found.extra.items()) + "}",
        sums=str(found.is_weekly).lower(),
    )


def _said(text: str) -> str:
    """A YAML scalar."""
    is_plain = text.replace("_", "").replace(" ", "").isalnum() and not text[0].isdigit() and text.strip() == text
    return (
        text
        if is_plain and text.lower() not in {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
        else json.dumps(text)
    )
