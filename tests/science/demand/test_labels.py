"""What came true and when it was known: each case beside its reason."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from platform_assets.errors import ConfigurationError
from platform_assets.science.demand.labels import attach

DAY = timedelta(days=1)


def sale(series: str, on: date, units: float, *, stock: float | None = None, known: datetime | None = None) -> dict:
    end = datetime(on.year, on.month, on.day, tzinfo=UTC) + DAY
    return {
        "series_id": series, "period_on": on, "event_at": end, "known_at": known or end, "units": units, "stock": stock
    }  # fmt: skip


def table(*rows: dict) -> pl.LazyFrame:
    times = {"event_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")}
    return pl.LazyFrame(rows, schema_overrides={"stock": pl.Float64, **times})


def asked(*targets: tuple[str, date]) -> pl.DataFrame:
    return pl.DataFrame(targets, schema={"series_id": pl.String, "target_on": pl.Date}, orient="row")


def midnight_after(on: date) -> datetime:
    return datetime(on.year, on.month, on.day, tzinfo=UTC) + DAY


MON, TUE, WED, THU = (date(2024, 1, day) for day in (1, 2, 3, 4))
CORRECTED = datetime(2024, 2, 1, tzinfo=UTC)


def test_units() -> None:
    sales = table(
        sale("a", MON, 3.0),
        sale("b", MON, 2.0),
        sale("b", MON, 5.0, known=CORRECTED),
        sale("c", MON, 0.0, stock=0.0),
        sale("d", MON, 1.0, stock=0.0),
        sale("a", WED, 1.0),
    )
    rows = asked(("a", MON), ("b", MON), ("c", MON), ("d", MON), ("e", MON), ("a", TUE), ("a", THU))
    labelled = attach(rows, sales)
    assert labelled.rows() == [
        ("a", MON, 3.0, midnight_after(MON)),
        ("b", MON, 5.0, CORRECTED),  # the latest revision counts, and is known when it came
        ("c", MON, None, None),  # nothing to sell: demand is unknown
        ("d", MON, 1.0, midnight_after(MON)),  # sold out: what was sold
        ("e", MON, 0.0, midnight_after(MON)),  # open, nothing sold
        ("a", TUE, None, None),  # closed
        ("a", THU, None, None),  # not yet reported
    ]
    early = attach(rows, sales, known_by=midnight_after(MON))
    assert early.row(1) == ("b", MON, 2.0, midnight_after(MON))


def test_is_dormant() -> None:
    days = [date(2024, 1, 1) + n * DAY for n in range(15)]
    other = [sale("other", on, 1.0) for on in days if on not in (days[6], days[7])]  # both closed
    sales = table(
        *other, sale("a", days[3], 2.0), sale("b", days[0], 0.0, stock=0.0), sale("c", days[0], 0.0, stock=0.0),
        sale("c", days[1], 1.0),
    )  # fmt: skip
    rows = asked(
        ("a", days[6]), ("a", days[10]), ("b", days[6]), ("c", days[6]), ("a", days[14]), ("a", days[14] + DAY)
    )
    assert attach(rows, sales, label="is_dormant").rows() == [
        ("a", days[6], 0.0, midnight_after(days[8])),  # the week ends closed: passed when the next open day has come
        ("a", days[10], 1.0, midnight_after(days[10])),
        ("b", days[6], None, None),  # nothing to sell on one day, nothing sold on the others
        ("c", days[6], 0.0, midnight_after(days[8])),  # it did sell
        ("a", days[14], 1.0, midnight_after(days[14])),
        ("a", days[14] + DAY, None, None),  # the week has not passed
    ]


def test_is_dormant_equals_a_loop(make_world: Callable[..., pl.DataFrame]) -> None:
    sales = make_world(30, periods=150, revisions=False, bare=True)
    sold = {(r["series_id"], r["period_on"]): r["units"] for r in sales.iter_rows(named=True)}
    open_on = set(sales.filter(pl.col("units") > 0)["period_on"])
    rows = asked(*[(f"s{n}", date(2024, 1, 10) + d * DAY) for n in range(4) for d in range(145)])
    for series, on, found, known_at in attach(rows, sales.lazy(), label="is_dormant").iter_rows():
        week = [on - n * DAY for n in range(7)]
        passed = min((day for day in open_on if day >= on), default=None)
        if passed is None or not open_on & set(week):
            assert found is None, (series, on)
        else:
            assert found == float(sum(sold.get((series, day), 0.0) for day in week) == 0), (series, on)
            assert known_at == midnight_after(passed)


def test_rows_keep_their_order_and_number() -> None:
    rows = asked(("b", TUE), ("a", MON), ("b", TUE))
    assert attach(rows, table(sale("a", MON, 1.0))).select("series_id", "target_on").rows() == rows.rows()


def test_an_unknown_label_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"'profit'.*units, is_dormant"):
        attach(asked(("a", MON)), table(sale("a", MON, 1.0)), label="profit")
