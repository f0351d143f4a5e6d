"""What files call their columns: names of roles, of series, of money, and of what is neither."""

import re
import unicodedata
from collections.abc import Mapping


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names under which files carry a role, lower case, without accents, words joined by `_`; the first that a file has is taken.
SPELLINGS: Mapping[str, str] = {
    "units": (
        "units quantity qty units_sold sold sales_units unit_sales sales_qty qty_sold demand volume total_volume count menge anzahl "
        "stueck stuck absatz quantite qte unites unidades cantidad quantita venduto quantidade aantal"
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
GUESSES = {role: _list(words) for role, words in SPELLINGS.items()}
# A name with one of these words is a number of units, whatever else it says: `transaction_qty`, `Order Quantity`.
COUNTED = _set(
    "units qty quantity quantities volume demand sold pieces pcs cnt menge anzahl stueck absatz quantite unidades cantidad"
)
NOT_SOLD = _set("stock hand lag forecast previous planned returned weight inventory bestand")
# These name pieces in one file and money in the next: whole numbers are taken, fractions are asked about.
UNSURE = _set("sales sale ventas ventes vendas vendite verkauf verkaeufe")
# In any part of a name: an amount of money.
PRICED = _list(
    "price preis prix preci prezz preco prijs cost amount revenue umsatz total money betrag importe montant profit discount "
    "rabatt margin turnover income"
)
MONEY = _set("usd eur gbp value net gross tax vat fee fare paid")
# Numbers that count nothing that was sold.
MEASURED = _set(
    "year month week day hour minute quarter weekday dow jahr monat annee mois id code nr no number zip postal "
    "latitude longitude lat lon temperature temp cpi unemployment humidity rating score age flag"
)
INDEX = frozenset(
    ("", "index", "row", "rowid", "row_id", "row_number", "rownumber", "line_number", "unnamed_0", "column_0")
)

# In any part of a name: tells one series from another.
SERIES = _list(
    "store shop branch outlet location sku product item article stock_code upc ean filiale markt artikel produkt magasin "
    "boutique produit tienda producto articulo negozio prodotto loja produto winkel department dept abteilung"
)
# Where none of those is there: what is sold, then where, then what kind of thing.
THINGS = _set("name title description dish drink menu model variety flavour flavor good goods ware titel sorte")
REGIONS = _set("region city country state district market site warehouse depot stadt ort pays ville pais ciudad")
SORTS = _set("type kind category brand class size colour color line family group marke kategorie sorte")
# A last day, in the name of a date.
ENDS = _set("end ending ends ended weekend weekending ende wochenende fin fine bis")
# People, payments, parcels and remarks: they repeat, and yet nobody forecasts them.
NOT_SERIES = _set(
    "customer client kunde buyer user member employee cashier seller card cash payment pay ship shipping order invoice "
    "receipt ticket comment note notes remark currency weekday month year quarter hour day date time flag gender email phone"
)


def folded(name: str) -> str:
    """Lower case, without accents, words joined by `_`."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode() or name.casefold()
    return re.sub(r"[\s\-./:]+", "_", plain.strip())


def words(name: str) -> frozenset[str]:
    """The words of a name: `coffeeName` and `Coffee-name` have the same two."""
    return frozenset(folded(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).split("_"))


def is_money(name: str) -> bool:
    """Whether a name speaks of an amount of money."""
    return any(word in folded(name) for word in PRICED) or bool(words(name) & MONEY)


def is_counted(name: str) -> bool:
    """Whether a name speaks of a number of units sold."""
    said = words(name)
    if folded(name) in GUESSES["units"]:
        return True
    priced = any(word in folded(name) for word in PRICED if word != "total")
    return bool(said & COUNTED) and not (said & (NOT_SOLD | MONEY)) and not priced
