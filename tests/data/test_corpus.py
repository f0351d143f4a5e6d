"""Every bad file is refused whole or its bad lines are set aside, and named; no good file is."""

import os
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import DataError, SchemaError
from platform_assets.science import quarantine, sales
from platform_assets.science.intake import Rulebook, examine
from platform_assets.science.landing import resolve
from resources.landing import Landing
from resources.line_files import LineFile, raw_lines
from resources.source_folder import rulebook
from tests.data.corpus import NOW, Case, as_csv, as_parquet, cases, good
from tests.data.sandbox import facts

CASES = list(cases())


@cache
def book(source: str) -> Rulebook:
    return rulebook(facts(source))


def landing(folder: Path, case: Case) -> Landing:
    path = folder / case.name
    path.write_bytes(case.content)
    for suffix, content in case.beside.items():
        path.with_name(path.name + suffix).write_bytes(content)
    return Landing(data=str(path), folder=str(folder))


def classified(folder: Path, case: Case) -> pl.DataFrame:
    rules = book(case.source)
    lines = landing(folder, case).lines(rules.source, now=NOW).lines
    return quarantine.classify(lines, rules.source, rules.set_aside)


@pytest.mark.parametrize("case", [case for case in CASES if case.is_refused], ids=lambda case: case.name)
def test_a_bad_file_is_refused_and_named(tmp_path: Path, case: Case) -> None:
    with pytest.raises(DataError) as caught:
        classified(tmp_path, case)
    said = str(caught.value)
    assert case.name in said
    assert [word for word in case.says if word not in said] == [], said


@pytest.mark.parametrize("case", [case for case in CASES if case.aside], ids=lambda case: case.name)
def test_bad_lines_are_set_aside_with_their_reason(tmp_path: Path, case: Case) -> None:
    lines = classified(tmp_path, case)
    aside = lines.filter(pl.col("reason").is_not_null())
    assert Counter(aside["reason"]) == Counter(case.aside)
    assert set(aside["file_name"]) == {case.name}
    details = aside["detail"].drop_nulls().to_list()
    assert [word for word in case.details if not any(word in detail for detail in details)] == [], details
    assert quarantine.account(lines, lines).accepted == lines.height - sum(case.aside.values())


@cache
def expected(source: str) -> pl.DataFrame:
    rules = book(source)
    frame = good(source)
    units, price = rules.source.columns["units"], rules.source.columns["price"]
    when = pl.col(rules.source.when).cast(pl.Date)
    return (
        frame.group_by(pl.concat_str(rules.source.series, separator="/").alias("series_id"), period_on=when)
        .agg(
            units=pl.col(units).cast(pl.Float64).sum(),
            price=(pl.col(units) * pl.col(price)).sum() / pl.col(units).sum(),
        )
        .with_columns(pl.col("price").fill_nan(None))
        .sort("period_on", "series_id")
    )


@pytest.mark.parametrize("case", [case for case in CASES if case.is_good], ids=lambda case: case.name)
def test_an_odd_but_good_file_gives_the_same_sales(tmp_path: Path, case: Case) -> None:
    lines = classified(tmp_path, case)
    assert lines["reason"].null_count() == lines.height
    sold = sales.aggregate(lines, book(case.source).source).select("series_id", "period_on", "units", "price")
    priced = pl.when(pl.col("units") > 0).then("price").alias("price")
    assert_frame_equal(sold.with_columns(priced), expected(case.source), check_row_order=False)


JUNK = (
    b'"',
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b"=",
    b"<b>",
    b"1e999",
    b"-",
    b"nan",
    b"9" * 30,
    b"0001-01-01",
    b"9999-12-31",
    b"262143-01-01",
)


def damaged(content: bytes, random: Random) -> bytes:
    """The content with one to five bytes changed, cut out, repeated, or replaced by what parsers stumble over."""
    data = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        at, length = random.randrange(len(data)), random.choice([1, 4, 30, 300])
        match random.randrange(5):
            case 0:
                data[at] = random.randrange(256)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = random.choice(JUNK)
            case 3:
                start = random.randrange(len(data))
                data[at:at] = data[start : start + length]
            case _:
                data[at : at + length] = random.choice(JUNK)
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happened_to_a_file_is_a_refusal_or_an_accounting(seed: int) -> None:
    """Bit rot once made a library panic, past `except Exception`, and a day after the year 9999 made another.

    Thousands more were tried with other seeds; these stand for them.
    """
    random, refusals = Random(seed), []
    for source in ("online_retail", "simulator"):
        rules, frame = book(source), good(source).head(60)
        for content in (as_csv(frame), as_parquet(frame)):
            for number in range(10):
                file = LineFile(f"damaged-{number}", damaged(content, random))
                try:
                    raw = raw_lines(file)
                    delivery = examine(raw, rules, file=file.name, digest=file.digest, is_text=file.is_text)
                except DataError as error:
                    refusals.append((file.name, str(error)))
                    continue
                lines = quarantine.classify(resolve([delivery], rules.source), rules.source, rules.set_aside)
                assert quarantine.account(delivery.lines, lines).is_balanced
    assert [said for name, said in refusals if name not in said] == []


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(not case.is_good for case in CASES) >= 100


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    (tmp_path / "folder.parquet").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name, word in {
        "loop.csv": "loop.csv",
        "folder.parquet": "a folder",
        "pipe.csv": "no regular file",
        "no.csv": "no such file",
    }.items():
        with pytest.raises(SchemaError, match=word) as caught:
            Landing(data=str(tmp_path / name), folder=str(tmp_path)).lines(facts("simulator"), now=NOW)
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sales.parquet", "sales.parquet: not a Parquet file: it begins with b'date,units"),
        ("sales.xlsx", "sales.xlsx: xlsx is not read"),
        ("SALES.XLS", "SALES.XLS: xls is not read"),
    ],
)
def test_a_name_that_promises_something_else_is_refused(name: str, said: str) -> None:
    with pytest.raises(SchemaError) as caught:
        raw_lines(LineFile(name, b"date,units\n2024-01-01,1\n"))
    assert caught.value.message.startswith(said)
