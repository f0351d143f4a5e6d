"""What the columns of a sample file seem to be, from their names and values."""

import difflib
import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

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


class Named(BaseModel):
    """Columns whose roles the user has said."""

    units: str | None = None
    date: str | None = None
    series: list[str] = []


class Guess(BaseModel):
    """What a sample file's columns seem to be."""

    columns: dict[str, str] = {}
    series: list[str] = []
    extra: dict[str, str] = {}
    is_weekly: bool = False
    has_naive_times: bool = False
    date_format: str | None = None
    delimiter: str = ","

    def told(self) -> list[str]:
        """What was taken for what, one line each."""
        rhythm = "weeks" if self.is_weekly else "days"
        lines = [f"  {role:<9} {column}" for role, column in self.columns.items()]
        lines += [f"  {'series':<9} {', '.join(self.series)}", f"  {'periods':<9} {rhythm}"]
        return lines + ([f"  {'the rest':<9} {', '.join(self.extra)}: not read as sales"] if self.extra else [])


def guess(sample: Path, named: Named | None = None) -> Guess:
    """Roles, series and kinds of a sample's columns, as named, else from names and values; a person must look.

    Raises: SchemaError where the file cannot be opened, has no column of a name, or where no column can be a day or a
    series, or none or several can be units: without one the source would keep all others from loading.
    """
    named = named or Named()
    from resources.line_files import raw_lines, read_file, sniff_delimiter

    file = read_file(sample)
    delimiter = sniff_delimiter(file)
    raw = raw_lines(file, delimiter)
    formats = {
        name: found for name in raw.columns if (found := _date_format(raw[name], is_text=file.is_text)) is not None
    }
    kinds = {name: "date" if name in formats else _kind(raw[name]) for name in raw.columns}
    low = {_folded(name): name for name in raw.columns}
    roles = _said_roles(file.name, named, kinds)
    for role, spellings in GUESSES.items():
        if role in roles or (role == "sold_on" and "sold_at" in roles):
            continue
        names = (low[spelling] for spelling in spellings if spelling in low)
        taken = {*roles.values(), *named.series}
        found = next((name for name in names if name not in taken and kinds[name] in FITTING[role]), None)
        roles |= {} if found is None else {role: found}
    if not {"sold_on", "sold_at"} & set(roles):
        times = [
            (role, name) for role in ("sold_on", "sold_at") for name in raw.columns if kinds[name] in FITTING[role]
        ]
        roles |= dict(times[:1])
    if {"sold_on", "sold_at"} <= set(roles):
        del roles["sold_on" if named.date == roles["sold_at"] else "sold_at"]
    free = [name for name in raw.columns if name not in roles.values()]
    series = named.series or [
        name for name in free if kinds[name] in {"text", "integer"} and any(word in _folded(name) for word in SERIES)
    ]
    series = series or [name for name in free if kinds[name] == "text"][:2]
    if "units" not in roles:
        numbers = [name for name in free if name not in series and kinds[name] in FITTING["units"]]
        numbers = [name for name in numbers if not any(word in _folded(name) for word in PRICED)]
        whole = [name for name in numbers if kinds[name] == "integer"]
        if len(likely := whole or numbers) == 1:
            roles["units"] = likely[0]
            free.remove(likely[0])
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
    if "units" not in roles:
        numbers = [name for name in raw.columns if kinds[name] in FITTING["units"] and name not in series]
        raise SchemaError(
            f"{file}: which column is what was sold? {_listed(numbers) or 'None is a number'}; columns: {shown}",
            hint=f"say it with --units, such as --units {json.dumps(numbers[0]) if numbers else 'COLUMN'}"
            if numbers
            else "a decimal point is read, a decimal comma and units such as `3 pcs` are not",
        )


def _listed(names: list[str]) -> str:
    return f"one of {', '.join(f'`{name}`' for name in names)}" if names else ""


def _said_roles(file: str, named: Named, kinds: Mapping[str, str]) -> dict[str, str]:
    """Roles of the columns that the user names.

    Raises: SchemaError where the file has no such column, or one of another kind.
    """
    roles: dict[str, str] = {}
    for name in [named.units, named.date, *named.series]:
        if name is not None and name not in kinds:
            near = difflib.get_close_matches(name, kinds, 1)
            hint = f"did you mean `{near[0]}`?" if near else None
            raise SchemaError(f"{file}: no column `{name}`; columns: {', '.join(kinds)}", hint=hint)
    for name, choices in ((named.units, ("units",)), (named.date, ("sold_on", "sold_at"))):
        if name is None:
            continue
        role = next((role for role in choices if kinds[name] in FITTING[role]), None)
        if role is None:
            fitting = sorted(set().union(*(FITTING[role] for role in choices)))
            raise SchemaError(f"{file}: column `{name}` is {kinds[name]}, expected {' or '.join(fitting)}")
        roles[role] = name
    return roles


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
