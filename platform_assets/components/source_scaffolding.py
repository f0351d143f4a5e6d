"""What `dg scaffold defs platform_assets.components.SalesSource data/<name>` writes."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder
from pydantic import BaseModel, Field

# Names under which files carry a role, lower case; the first that a file has is taken.
GUESSES: Mapping[str, tuple[str, ...]] = {
    "units": ("units", "quantity", "qty", "units_sold", "sold", "sales_units", "demand", "volume", "sales", "count"),
    "price": ("price", "unit_price", "unitprice", "sell_price", "price_eur", "price_usd", "price_gbp"),
    "sold_on": ("sold_on", "date", "day", "week", "week_start", "ds", "period", "order_date", "datum"),
    "sold_at": ("sold_at", "timestamp", "ts", "time", "datetime", "invoice_date", "invoicedate", "ordered_at"),
    "is_promoted": ("is_promoted", "promo", "promotion", "on_promotion", "onpromotion"),
    "stock": ("stock", "on_hand", "inventory", "stock_on_hand"),
    "ticket": ("ticket", "invoice", "receipt", "order", "order_id", "basket", "basket_id", "receipt_id", "ticket_id"),
}
SERIES = (
    "store",
    "shop",
    "branch",
    "outlet",
    "location",
    "sku",
    "product",
    "item",
    "article",
    "stock_code",
    "upc",
    "ean",
)

TEMPLATE = """\
type: platform_assets.components.SalesSource
attributes:
  title: {title}
  description: Say what one line of the file is, where it comes from, and its licence.
  owners: [team:demand]

  timezone: {timezone}  # of the local day: day D is known at the local midnight that ends it
  frequency: {frequency}  # day or week
  {dated}dated: start  # weekly sums: a date is its week's first day (start) or last day (end); `day`: lines have days, add weeks up
  {naive}naive_times: local  # times without a zone are times of `timezone`; without this line such a file is refused
  # date_format: "%d/%m/%Y"  # of dates in text; YYYY-MM-DD needs none
  # delimiter: ";"  # of CSV

  series: [{series}]  # columns that make a series; every series is forecast by itself
  columns:  # role: column of the file. `units` and one of sold_on (a date), sold_at (a time) must be there
{columns}
  extra: {extra}  # the file's other columns and their kind: text, integer, number, boolean, date, instant, local_time
  rules:  # what is no plain sale is set aside with its reason; these are the defaults
    duplicates: set_aside  # lines equal in every column to one before them; keep: they are sales of their own
    is_one_line_per_period: {sums}  # true for sums: two lines of one series and period contradict each other
    zero_prices: set_aside  # or keep
    normalise: []  # columns whose values are trimmed and upper-cased before they name a series
    # goods: {{product: '^\\d{{5}}$'}}  # a line whose value does not match sells no goods
    # plausible: {{price: [0.2, 50]}}  # a file whose median lies outside is in another unit: refused

  # country: DE  # public holidays
  # currency: EUR
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
        found = guess(Path(request.params.sample)) if request.params.sample else Guess({}, [], {})
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = fill(request.target_path.name, request.params.timezone, found)
        (request.target_path / "defs.yaml").write_text(text)


class Guess(BaseModel):
    """What a sample file's columns seem to be."""

    columns: dict[str, str]
    series: list[str]
    extra: dict[str, str]
    is_weekly: bool = False
    has_naive_times: bool = False

    def __init__(self, columns: dict[str, str], series: list[str], extra: dict[str, str], **more: bool) -> None:
        super().__init__(columns=columns, series=series, extra=extra, **more)


def guess(sample: Path) -> Guess:
    """Roles, series and kinds of a sample's columns, from names and values; a person must look.

    Raises: SchemaError where the file cannot be opened.
    """
    import polars as pl

    from resources.line_files import raw_lines, read_file

    raw = raw_lines(read_file(sample))
    kinds = {name: _kind(raw[name]) for name in raw.columns}
    low = {name.casefold(): name for name in raw.columns}
    roles: dict[str, str] = {}
    for role, spellings in GUESSES.items():
        fitting = [low[spelling] for spelling in spellings if spelling in low and low[spelling] not in roles.values()]
        fitting = [name for name in fitting if _fits(role, kinds[name])]
        if fitting:
            roles[role] = fitting[0]
    times = [name for name, kind in kinds.items() if kind in {"instant", "local_time"} and name not in roles.values()]
    dates = [name for name, kind in kinds.items() if kind == "date" and name not in roles.values()]
    if "sold_on" not in roles and "sold_at" not in roles:
        roles |= {"sold_on": dates[0]} if dates else {"sold_at": times[0]} if times else {}
    if {"sold_on", "sold_at"} <= set(roles):
        del roles["sold_at"]
    free = [name for name in raw.columns if name not in roles.values()]
    series = [
        name for name in free if any(word in name.casefold() for word in SERIES) and kinds[name] in {"text", "integer"}
    ]
    series = series or [name for name in free if kinds[name] == "text"][:2]
    is_weekly = False
    if "sold_on" in roles:
        days = (
            raw[roles["sold_on"]]
            .cast(pl.String)
            .str.slice(0, 10)
            .str.to_date("%Y-%m-%d", strict=False)
            .drop_nulls()
            .unique()
            .sort()
        )
        is_weekly = len(days) > 2 and days.dt.weekday().n_unique() == 1
    extra = {name: kinds[name] for name in free if name not in series}
    naive = "sold_at" in roles and kinds[roles["sold_at"]] == "local_time"
    return Guess(roles, series, extra, is_weekly=is_weekly, has_naive_times=naive)


def _fits(role: str, kind: str) -> bool:
    wanted = {
        "units": {"integer", "number"},
        "price": {"integer", "number"},
        "stock": {"integer", "number"},
        "sold_on": {"date"},
        "sold_at": {"instant", "local_time"},
        "is_promoted": {"boolean", "integer"},
        "ticket": {"text", "integer"},
    }
    return kind in wanted[role]


def _kind(cells: "object") -> str:
    import polars as pl

    from platform_assets.science.contract import DTYPES, parse, widen
    from platform_assets.science.source import Kind

    assert isinstance(cells, pl.Series)
    filled = cells.drop_nulls()
    if filled.dtype == pl.String:
        filled = filled.filter(filled.str.strip_chars() != "")
    order: tuple[Kind, ...] = ("integer", "number", "boolean", "date", "instant", "local_time")
    for kind in order:
        read = parse(filled, kind, None) if filled.dtype == pl.String else widen(filled, kind)
        if read is not None and read.dtype == DTYPES[kind] and len(filled) and not read.null_count():
            return kind
    return "text"


def fill(name: str, timezone: str, found: Guess) -> str:
    """The text of defs.yaml."""
    columns = found.columns or {"units": "units", "sold_on": "date"}
    sample = {"price": "price", "is_promoted": "promotion", "stock": "stock", "ticket": "receipt"}
    lines = [f"    {role}: {column}" for role, column in columns.items()]
    lines += [f"    # {role}: {column}" for role, column in sample.items() if role not in columns]
    return TEMPLATE.format(
        title=name.replace("_", " ").capitalize(),
        timezone=timezone,
        frequency="week" if found.is_weekly else "day",
        dated="" if found.is_weekly else "# ",
        naive="" if found.has_naive_times else "# ",
        series=", ".join(found.series or ["product"]),
        columns="\n".join(lines),
        extra="{" + ", ".join(f"{column}: {kind}" for column, kind in found.extra.items()) + "}",
        sums=str(found.is_weekly).lower(),
    )
