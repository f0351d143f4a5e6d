"""Bad files, made from good ones, and what must be said of each; and unusual files that are good.

A refused file is refused whole: the message holds every word of `says`. A file that is taken has exactly the lines of `aside`
set aside, by reason, and its other lines accepted.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.retail import retailer, simulated

ONLINE, SIMULATOR = "online_retail", "simulator"
ROW = 41  # a row in the middle, as people count: 1 is the first under the header


@dataclass(frozen=True)
class Case:
    """One file. `says` of a refusal; `aside` of what is set aside where the file is taken."""

    name: str
    source: str
    content: bytes
    says: tuple[str, ...] = ()
    aside: Mapping[str, int] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    beside: Mapping[str, bytes] = field(default_factory=dict)
    is_good: bool = False

    @property
    def is_refused(self) -> bool:
        return bool(self.says)


def good(source: str) -> pl.DataFrame:
    return retailer() if source == ONLINE else simulated()


def as_parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def as_csv(frame: pl.DataFrame) -> bytes:
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone is None]
    return frame.with_columns(pl.col(time).dt.to_string("%Y-%m-%d %H:%M:%S") for time in times).write_csv().encode()


def in_row(column: str, value: object, dtype: object = None) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The frame with one cell replaced, in row ROW."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        cells = frame[column].cast(dtype) if dtype is not None else frame[column]  # pyright: ignore[reportArgumentType]
        new = pl.Series([value], dtype=cells.dtype)
        return frame.with_columns(pl.concat([cells[: ROW - 1], new, cells[ROW:]]).alias(column))

    return change


def in_text(column: str, text: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The frame as text cells with one of them replaced; for CSV."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
        frame = frame.with_columns(pl.col(time).dt.to_string("%Y-%m-%d %H:%M:%S") for time in times)
        return in_row(column, text)(frame.with_columns(pl.col(column).cast(pl.String)))

    return change


def everywhere(column: str, expression: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(expression.alias(column))


def cases() -> Iterator[Case]:
    """Every file of the corpus."""
    yield from _damaged()
    yield from _headers()
    yield from _types()
    yield from _cells()
    yield from _values()
    yield from _times()
    yield from _volume()
    yield from _good()


def _case(name: str, source: str, content: bytes, *says: str, **more: object) -> Case:
    return Case(f"{source}-{name}", source, content, tuple(says), **more)  # pyright: ignore[reportArgumentType]


def _damaged() -> Iterator[Case]:
    for source in (ONLINE, SIMULATOR):
        frame = good(source)
        csv, parquet = as_csv(frame), as_parquet(frame)
        yield _case("zero-bytes.csv", source, b"", "0 bytes")
        yield _case("zero-bytes.parquet", source, b"", "0 bytes")
        yield _case("header-only.csv", source, csv.split(b"\n")[0] + b"\n", "a header and no rows")
        yield _case("header-only.parquet", source, as_parquet(frame.clear()), "a header and no rows")
        yield _case("blank-lines.csv", source, csv.split(b"\n")[0] + b"\n\n\n", "a header and no rows")
        yield _case(
            "cut-in-a-row.csv", source, csv[: len(csv) // 2 + 3].rstrip(b"\n"), "ends within row", "without a line end"
        )
        yield _case("cut.parquet", source, parquet[:-200], "damaged Parquet, its end is missing")
        hole = parquet[:60] + bytes(len(parquet) // 2) + parquet[60 + len(parquet) // 2 :]
        yield _case("hole.parquet", source, hole, "damaged Parquet")
        yield _case("gzip.csv", source, gzip.compress(csv), "gzip")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("lines.csv", csv)
        yield _case("zip.parquet", source, archive.getvalue(), "a ZIP archive or a spreadsheet")
        yield _case("utf16.csv", source, csv.decode().encode("utf-16"), "UTF-16")
        yield _case("nul.csv", source, csv.replace(b",1,", b",\x001,", 1), "a NUL byte in row")
        page = b"<!DOCTYPE html><html><body>Your session has expired</body></html>\n"
        yield _case("web-page.csv", source, page, "a web page or XML", "<!DOCTYPE html>")
        yield _case("error.csv", source, b'{"error": "rate limit"}\n', "column", "is missing", "rate limit")
        rows = csv.split(b"\n")
        short = b"\n".join([*rows[:ROW], rows[ROW].rsplit(b",", 1)[0], *rows[ROW + 1 :]])
        yield _case("a-cell-too-few.csv", source, short, f"Row #{ROW + 1}", "columns, got")
        long = b"\n".join([*rows[:ROW], rows[ROW] + b",1", *rows[ROW + 1 :]])
        yield _case("a-cell-too-many.csv", source, long, f"Row #{ROW + 1}", "columns, got")
        joined = csv + csv
        yield _case("header-in-the-middle.csv", source, joined, f"row {frame.height + 1}", "cannot be read as")
    latin = as_csv(in_row("description", "GLÜHWEIN £")(good(ONLINE))).decode().encode("latin-1")
    yield _case("latin-1.csv", ONLINE, latin, f"no UTF-8 in row {ROW}", "0xdc")


def _headers() -> Iterator[Case]:
    for source, column in ((ONLINE, "quantity"), (SIMULATOR, "units")):
        frame = good(source)
        yield _case("no-units.parquet", source, as_parquet(frame.drop(column)), f"column `{column}` is missing")
        yield _case("no-units.csv", source, as_csv(frame.drop(column)), f"column `{column}` is missing")
        renamed = frame.rename({column: column.upper()})
        yield _case("case.csv", source, as_csv(renamed), f"column `{column}` is missing (there is '{column.upper()}')")
        yield _case("space.csv", source, as_csv(frame.rename({column: f" {column}"})), f"(there is ' {column}')")
        more = frame.with_columns(channel=pl.lit("web"))
        yield _case("one-more.parquet", source, as_parquet(more), "column 'channel' is unknown", "extra")
        twice = as_csv(frame).replace(b"price", column.encode(), 1)
        yield _case("twice.csv", source, twice, f"column `{column}` stands there twice")
        table = frame.to_arrow().cast(pa.schema(_plain(frame)))
        doubled = pa.Table.from_arrays([*table.columns, table[column]], names=[*table.column_names, column])
        buffer = io.BytesIO()
        pq.write_table(doubled, buffer)
        yield _case("twice.parquet", source, buffer.getvalue(), f"column `{column}` stands there twice")
        trailing = as_csv(frame).replace(b"\n", b",\n")
        yield _case("trailing-comma.csv", source, trailing, "column", "is unknown")
        semicolons = as_csv(frame).replace(b",", b";")
        yield _case("semicolons.csv", source, semicolons, "is it separated by ';'", "delimiter")
        headless = as_csv(frame).split(b"\n", 1)[1]
        yield _case(
            "no-header.csv", source, headless, "column", "is missing" if source == ONLINE else "stands there twice"
        )
    swapped = good(ONLINE).rename({"quantity": "price", "price": "quantity"})
    yield _case("swapped.csv", ONLINE, as_csv(swapped), "column `quantity` cannot be read as whole numbers", "row 1")
    yield _case(
        "swapped.parquet", ONLINE, as_parquet(swapped), "column `quantity` cannot be read as whole numbers", "row 1"
    )
    keys = good(SIMULATOR).rename({"store": "sku", "sku": "store"})
    yield _case(
        "swapped-keys.parquet", SIMULATOR, as_parquet(keys), "lines break the contract", "row 1, column store", "sku_"
    )


def _plain(frame: pl.DataFrame) -> list[pa.Field]:
    arrow = frame.to_arrow().schema
    return [pa.field(part.name, pa.string() if pa.types.is_large_string(part.type) else part.type) for part in arrow]


def _types() -> Iterator[Case]:
    online, world = good(ONLINE), good(SIMULATOR)
    text = online.with_columns(pl.col("quantity").cast(pl.String))
    yield _case(
        "integers-as-text.parquet", ONLINE, as_parquet(text), "column `quantity` holds String, expected whole numbers"
    )
    everything = world.with_columns(pl.all().cast(pl.String))
    yield _case("all-as-text.parquet", SIMULATOR, as_parquet(everything), "holds String, expected")
    ids = in_row("customer_id", 17.5, pl.Float64)(online)
    yield _case(
        "half-an-id.parquet",
        ONLINE,
        as_parquet(ids),
        f"column `customer_id` cannot be read as whole numbers in 1 of {online.height} rows (row {ROW}: 17.5)",
    )
    yield _case(
        "half-an-id.csv",
        ONLINE,
        as_csv(in_text("customer_id", "17.5")(online)),
        "column `customer_id`",
        f"row {ROW}: '17.5'",
    )
    codes = online.with_columns(pl.col("stock_code").cast(pl.Float64))
    yield _case(
        "codes-as-floats.parquet", ONLINE, as_parquet(codes), "column `stock_code` holds Float64, expected text"
    )
    epoch = online.with_columns(pl.col("ts").dt.epoch("ms"))
    yield _case("epoch.parquet", ONLINE, as_parquet(epoch), "column `ts` holds Int64, expected times without a zone")
    yield _case("epoch.csv", ONLINE, as_csv(epoch), "column `ts` cannot be read as times", "row 1")
    words = online.with_columns(pl.col("ts").dt.to_string("%Y-%m-%d %H:%M"))
    yield _case("times-as-text.parquet", ONLINE, as_parquet(words), "column `ts` holds String")
    nested = online.with_columns(pl.struct("price", "country").alias("price"))
    yield _case("nested.parquet", ONLINE, as_parquet(nested), "column `price` holds struct")
    lists = world.with_columns(pl.concat_list("units").alias("units"))
    yield _case("lists.parquet", SIMULATOR, as_parquet(lists), "column `units` holds", "list")
    raw = online.with_columns(pl.col("country").cast(pl.Binary))
    yield _case("bytes.parquet", ONLINE, as_parquet(raw), "column `country` holds", "binary")
    flags = world.with_columns(pl.col("is_promoted").cast(pl.Int64) + 1)
    yield _case(
        "flags-as-numbers.parquet",
        SIMULATOR,
        as_parquet(flags),
        "column `is_promoted` cannot be read as true or false",
        "row",
    )


def _cells() -> Iterator[Case]:
    """Text that is no value of its column, in a CSV."""
    wrong = {
        "html": ("quantity", "<b>12</b>"),
        "formula": ("price", "=cmd|'/C calc'!A0"),
        "thousands": ("quantity", "1,234"),
        "decimal-comma": ("price", "1,25"),
        "currency": ("price", "£1.25"),
        "words": ("quantity", "twelve"),
        "n-a": ("price", "#N/A"),
        "hexadecimal": ("quantity", "0x1F"),
        "underscores": ("quantity", "1_000"),
        "too-large": ("quantity", "99999999999999999999"),
        "arabic-digits": ("quantity", "١٢"),
        "no-such-day": ("ts", "2011-02-30 09:00:00"),
        "british-date": ("ts", "30/03/2011 09:00"),
        "with-zone": ("ts", "2011-03-05 09:00:00+02:00"),
        "day-only": ("ts", "2011-03-05"),
    }
    for name, (column, cell) in wrong.items():
        content = as_csv(in_text(column, cell)(good(ONLINE)))
        yield _case(f"cell-{name}.csv", ONLINE, content, f"column `{column}` cannot be read", f"row {ROW}: {cell!r}")
    for name, (column, cell) in {
        "yes": ("is_promoted", "yes"),
        "half": ("units", "2.5"),
        "us-date": ("sold_on", "02/28/2024"),
    }.items():
        content = as_csv(in_text(column, cell)(good(SIMULATOR)))
        yield _case(f"cell-{name}.csv", SIMULATOR, content, f"column `{column}` cannot be read", f"row {ROW}: {cell!r}")


def _values() -> Iterator[Case]:
    """Values that can be read, on one line each: set aside, the rest is accepted."""
    infinite, online, world = float("inf"), good(ONLINE), good(SIMULATOR)
    broken = {
        "inf": ("price", infinite, "price: not finite, found inf"),
        "minus-inf": ("price", -infinite, "price: not finite, found -inf"),
        "nan": ("price", float("nan"), "price: not finite, found NaN"),
        "1e308": ("price", 1e308, "price: beyond 1e+09, found 1e+308"),
        "no-price": ("price", None, "price: missing"),
        "no-code": ("stock_code", None, "stock_code: missing"),
        "no-quantity": ("quantity", None, "quantity: missing"),
        "blank-code": ("stock_code", "   ", "stock_code: blank"),
        "html": ("description", "<script>alert(1)</script>", "description: markup or a formula"),
        "entity": ("description", "TEA &amp; CAKE", "description: markup or a formula"),
        "formula": ("description", "=cmd|'/C calc'!A0", "description: markup or a formula"),
        "plus-formula": ("country", "+SUM(A1:A9)", "country: markup or a formula"),
        "category": ("country", "Atlantis", "country: isin"),
        "invoice": ("invoice", "Total", "invoice: str_matches"),
        "id-of-nobody": ("customer_id", -1, "customer_id: greater_than_or_equal_to(10000), found -1"),
        "huge-quantity": ("quantity", 2_000_000_000, "quantity: beyond 1e+09, found 2000000000"),
        "zero-width": ("stock_code", "20001\u200b", "stock_code: invisible characters"),
    }
    for name, (column, value, detail) in broken.items():
        changed = in_row(column, value)(online)
        more = {"aside": {"broken": 1}, "details": (detail,)}
        yield _case(f"{name}.parquet", ONLINE, as_parquet(changed), **more)
        if value is not None or column != "description":
            yield _case(f"{name}.csv", ONLINE, as_csv(changed), **more)
    reasons = {
        "free": ("price", 0.0, "price_not_positive"),
        "negative-price": ("price", -3.0, "price_not_positive"),
        "return": ("quantity", -4, "negative_units"),
        "cancellation": ("invoice", "C500001", "cancellation"),
        "postage": ("stock_code", "POST", "not_goods"),
        "half-a-code": ("stock_code", "17.5", "broken"),
        "bulk": ("quantity", 80_995, "extreme_units"),
    }
    late = online.height - 30
    for name, (column, value, reason) in reasons.items():
        row = late if name == "bulk" else ROW - 1
        cells = online[column].to_list()
        changed = online.with_columns(
            pl.Series(column, [*cells[:row], value, *cells[row + 1 :]], dtype=online.schema[column])
        )
        yield _case(f"{name}.parquet", ONLINE, as_parquet(changed), aside={reason: 1})
        yield _case(f"{name}.csv", ONLINE, as_csv(changed), aside={reason: 1})
    again = pl.concat([online, online[10:15]])
    yield _case("repeated.parquet", ONLINE, as_parquet(again), aside={"duplicate": 5})
    all_twice = pl.concat([online, online])
    yield _case("all-twice.csv", ONLINE, as_csv(all_twice), aside={"duplicate": online.height})
    chain = {
        "negative-stock": ("stock", -5, "stock: greater_than_or_equal_to(0), found -5"),
        "null-units": ("units", None, "units: missing"),
        "key-half": ("sku", "17.5", "sku: str_matches"),
        "inf": ("price", infinite, "price: not finite, found inf"),
        "million": ("units", 5_000_000, "units: less_than_or_equal_to(1000000)"),
    }
    for name, (column, value, detail) in chain.items():
        changed = in_row(column, value)(world)
        yield _case(f"{name}.parquet", SIMULATOR, as_parquet(changed), aside={"broken": 1}, details=(detail,))
        yield _case(f"{name}.csv", SIMULATOR, as_csv(changed), aside={"broken": 1}, details=(detail,))
    yield _case("minus.csv", SIMULATOR, as_csv(in_row("units", -2)(world)), aside={"negative_units": 1})
    contradiction = pl.concat([world, world[ROW : ROW + 1].with_columns(pl.col("units") + 1)])
    yield _case("contradiction.parquet", SIMULATOR, as_parquet(contradiction), aside={"contradiction": 2})
    yield _case(
        "zeros.parquet",
        SIMULATOR,
        as_parquet(world.with_columns(units=pl.lit(0, pl.Int64))),
        "column `units` is above 0 in none of",
    )
    mostly = online.with_columns(
        country=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("Mars")).otherwise("country")
    )
    yield _case(
        "mostly-mars.csv",
        ONLINE,
        as_csv(mostly),
        "lines break the contract",
        "row 1, column country: isin",
        "found Mars",
    )


def _times() -> Iterator[Case]:
    online, world = good(ONLINE), good(SIMULATOR)
    for name, at in {
        "future": datetime(2035, 1, 1, 9),
        "epoch-zero": datetime(1970, 1, 1),
        "year-1011": datetime(1011, 3, 5),
    }.items():
        changed = in_row("ts", at)(online)
        yield _case(
            f"{name}.parquet",
            ONLINE,
            as_parquet(changed),
            "column `ts` is out of time in 1 of",
            f"row {ROW}: {at.date()}",
        )
        yield _case(
            f"{name}.csv", ONLINE, as_csv(changed), "column `ts` is out of time in 1 of", f"row {ROW}: {at.date()}"
        )
    far = in_row("sold_on", date(2019, 5, 5))(world)
    yield _case(
        "alone.parquet",
        SIMULATOR,
        as_parquet(far),
        "column `sold_on` is out of time in 1 of",
        f"row {ROW}: 2019-05-05",
        "two years",
    )
    yield _case(
        "no-time.parquet",
        ONLINE,
        as_parquet(in_row("ts", None)(online)),
        "column `ts` is missing in 1 of",
        f"row {ROW}",
    )
    yield _case(
        "no-day.csv",
        SIMULATOR,
        as_csv(in_row("sold_on", None)(world)),
        "column `sold_on` is missing in 1 of",
        f"row {ROW}",
    )
    for zone in ("UTC", "America/New_York"):
        aware = online.with_columns(pl.col("ts").dt.replace_time_zone(zone))
        yield _case(
            f"zone-{zone.split('/')[0]}.parquet",
            ONLINE,
            as_parquet(aware),
            "column `ts` holds Datetime",
            zone,
            "expected times without a zone",
        )
    hours = world.with_columns(pl.col("sold_on").cast(pl.Datetime("us")).dt.offset_by("90m"))
    yield _case(
        "not-midnight.parquet", SIMULATOR, as_parquet(hours), "column `sold_on` cannot be read as dates", "row 1"
    )


def _volume() -> Iterator[Case]:
    for source in (ONLINE, SIMULATOR):
        frame = good(source)
        when = "ts" if source == ONLINE else "sold_on"
        day = pl.col(when).cast(pl.Date)
        tail = frame.filter(day == day.max()).height
        cut = frame.head(frame.height - tail + 6)
        says = ("has 6 lines", "is the file cut off?")
        yield _case("cut-at-a-row-end.csv", source, as_csv(cut), *says)
        yield _case("cut-at-a-row-end.parquet", source, as_parquet(cut), *says)
        stated = json.dumps({"rows": frame.height}).encode()
        whole_days = frame.filter(day != day.max())
        yield _case(
            "cut-at-a-day.csv",
            source,
            as_csv(whole_days),
            f"{whole_days.height} rows, its manifest states {frame.height}",
            beside={".manifest.json": stated},
        )
        yield _case(
            "other-content.csv",
            source,
            as_csv(frame),
            "its manifest states abc",
            beside={".manifest.json": b'{"sha256": "abc"}'},
        )
        yield _case("no-manifest.csv", source, as_csv(frame), "no JSON", beside={".manifest.json": b"rows: 5"})
        yield _case(
            "cents.parquet",
            source,
            as_parquet(frame.with_columns(pl.col("price") * 100)),
            "column `price` has median",
            "another unit",
        )
        middle = frame[when][frame.height * 3 // 4]
        later = pl.when(pl.col(when) >= middle).then(pl.col("price") * 100).otherwise("price").alias("price")
        yield _case(
            "cents-from-a-day-on.csv",
            source,
            as_csv(frame.with_columns(later)),
            "column `price` is",
            "times what it was before",
            "row",
        )
    grams = good(SIMULATOR).with_columns(
        pl.when(pl.col("sold_on") > date(2024, 2, 10)).then(pl.col("units") * 1000).otherwise("units").alias("units")
    )
    yield _case(
        "grams.parquet", SIMULATOR, as_parquet(grams), "column `units` is", "times what it was before", "2024-02-11"
    )


def _good() -> Iterator[Case]:
    """Files that look odd and say the same."""
    online, world = good(ONLINE), good(SIMULATOR)

    def fine(name: str, source: str, content: bytes) -> Case:
        return _case(name, source, content, is_good=True)

    for source in (ONLINE, SIMULATOR):
        frame = good(source)
        yield fine("plain.csv", source, as_csv(frame))
        yield fine("plain.parquet", source, as_parquet(frame))
        yield fine("bom.csv", source, b"\xef\xbb\xbf" + as_csv(frame))
        yield fine("crlf.csv", source, as_csv(frame).replace(b"\n", b"\r\n"))
        yield fine("columns-in-another-order.csv", source, as_csv(frame.select(reversed(frame.columns))))
        yield fine(
            "rows-in-another-order.parquet", source, as_parquet(frame.sample(fraction=1.0, shuffle=True, seed=5))
        )
        stated = json.dumps({"rows": frame.height}).encode()
        yield _case("manifest.csv", source, as_csv(frame), beside={".manifest.json": stated}, is_good=True)
    quoted = in_row("description", 'MUG, "LARGE"\nBLUE')(online)
    yield fine("quoted.csv", ONLINE, as_csv(quoted))
    yield fine(
        "wide.parquet", ONLINE, as_parquet(online.with_columns(pl.col("quantity", "customer_id").cast(pl.Int64)))
    )
    yield fine(
        "pandas-integers.parquet", ONLINE, as_parquet(online.with_columns(pl.col("customer_id").cast(pl.Float64)))
    )
    yield fine("pandas-integers.csv", ONLINE, as_csv(online.with_columns(pl.col("customer_id").cast(pl.Float64))))
    yield fine("nanoseconds.parquet", ONLINE, as_parquet(online.with_columns(pl.col("ts").dt.cast_time_unit("ns"))))
    yield fine(
        "categories.parquet",
        ONLINE,
        as_parquet(online.with_columns(pl.col("country", "stock_code").cast(pl.Categorical))),
    )
    yield fine("decimal.parquet", ONLINE, as_parquet(online.with_columns(pl.col("price").cast(pl.Decimal(10, 2)))))
    spaced = online.with_columns(pl.format(" {} ", "stock_code").alias("stock_code"))
    yield fine("spaces-in-codes.csv", ONLINE, as_csv(spaced))
    midnight = world.with_columns(pl.col("sold_on").cast(pl.Datetime("us")))
    yield fine("days-at-midnight.parquet", SIMULATOR, as_parquet(midnight))
    yield fine(
        "flags-as-numbers-too.parquet", SIMULATOR, as_parquet(world.with_columns(pl.col("is_promoted").cast(pl.Int64)))
    )
    yield fine("days-at-midnight.csv", SIMULATOR, as_csv(midnight))


NOW = datetime(2026, 1, 1, tzinfo=UTC)
