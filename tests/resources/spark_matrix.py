"""The matrix that three offline stores are asked: cases, entity rows, and every difference of Feast's Spark store.

In `rules` each case is a shop; `ASKED` are the entity rows about them.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIMES = {"happened": pl.Datetime("us", "UTC"), "written": pl.Datetime("us", "UTC")}
# Case -> (event hour, known hour) of its rows in the order of the table; the row's number is its value.
CASES: dict[str, list[tuple[float, float | None]]] = {
    "plain": [(1, 1), (3, 3)],
    "correction": [(1, 1), (1, 4)],
    "correction first": [(1, 4), (1, 1)],
    "late": [(1, 1), (3, 8)],
    "created before event": [(5, 1)],
    "created missing": [(0, 0), (1, None)],
    "created missing once": [(1, 0), (1, None), (1, 4)],
    "created always missing": [(1, None)],
    "tie": [(1, 2), (1, 2)],
    "tie in another file": [(1, 2)],
    "expired": [(1, 1)],
    "between microseconds": [(1 + 1e-6 / 3600, 1)],
    "value missing": [(1, 1), (2, 2)],
    "nobody": [],
}
ASKED: list[tuple[str, float]] = [
    *(("plain", h) for h in (0, 1, 2, 3, 7.5)),
    *((case, h) for case in ("correction", "correction first") for h in (2, 4, 5)),
    *(("late", h) for h in (2, 4, 8)),
    *(("created before event", h) for h in (3, 5)),
    *((case, 2) for case in ("created missing", "created missing once", "created always missing")),
    *((case, h) for case in ("tie", "tie in another file") for h in (1, 2, 3)),
    *(("expired", h) for h in (6, 6 + 1e-6 / 3600, 7)),
    *(("between microseconds", h) for h in (1, 1 + 1e-6 / 3600)),
    *(("value missing", h) for h in (1, 2)),
    ("nobody", 2),
    *(("plain", 2), ("plain", 2)),  # the same question again
]
# Where Feast's own Spark store differs from ours on RULES, by `known_at`: (view, case, hours asked) -> kind; why.
_MISSING = {  # the created time of a row is missing: SQL compares null with nothing, so the row never counts
    ("created missing", 2): "another value",
    ("created always missing", 2): "no value",
}
_MISSING_STRICT = {("created missing once", 2): "another value"}  # otherwise the last one decides, whose time is there
_TIES = {
    (case, hour): "2 values" for case in ("tie", "tie in another file") for hour in (2, 3)
}  # each row is an answer
_EARLY_TIES = {
    (case, 1): "2 values" for case in ("tie", "tie in another file")
}  # not yet known, so in feast's meaning only
_SAME_EVENT = {  # no created column, so rows of one event time are ties
    **{(case, hour): "2 values" for case in ("correction", "correction first") for hour in (2, 4, 5)},
    ("created missing once", 2): "3 values",
}
DIFFERENCES: dict[str, dict[tuple[str, str, float], str]] = {
    mode: {
        **{("stocks", *asked): kind for asked, kind in with_created.items()},
        **{("level", *asked): kind for asked, kind in with_created.items()},
        **{("unwritten", *asked): kind for asked, kind in (_SAME_EVENT | _TIES | _EARLY_TIES).items()},
    }
    for mode, with_created in {
        "strict": _MISSING | _MISSING_STRICT | _TIES,
        "feast": _MISSING | _TIES | _EARLY_TIES,
    }.items()
}
NOT_YET_KNOWN: dict[
    tuple[str, str, float], str
] = {  # beside our rule where Spark is not told to filter by created time
    (view, case, hour): kind
    for view in ("stocks", "level")
    for case, hour, kind in (
        ("correction", 2, "another value"),
        ("correction first", 2, "another value"),
        ("late", 4, "another value"),
        ("created missing once", 2, "another value"),
    )
}


def at(hours: float) -> datetime:
    return START + timedelta(microseconds=round(hours * 3_600_000_000))


def rules() -> list[pl.DataFrame]:
    """The cases' rows in two commits: the second repeats the row of `tie in another file`."""
    rows = [
        {
            "shop_id": shop,
            "item": "x",
            "happened": at(event),
            "written": None if known is None else at(known),
            "stock": None if case == "value missing" and number == 1 else float(number),
            "sold": 10 * shop + number,
            "label": f"{case} {number}",
            "recent": [float(number), 0.5],
        }
        for shop, (case, held) in enumerate(CASES.items())
        for number, (event, known) in enumerate(held)
    ]
    frame = pl.DataFrame(rows, schema_overrides=TIMES | {"recent": pl.List(pl.Float32)})
    again = frame.filter(pl.col("label").str.starts_with("tie in"))
    return [frame, again.with_columns(sold=pl.col("sold") + 1, label=pl.lit("tie in another file 1"), stock=1.0)]


def rules_asked() -> pd.DataFrame:
    shops = {case: shop for shop, case in enumerate(CASES)}
    return pd.DataFrame(
        {
            "note": range(len(ASKED)),
            "shop_id": [shops[case] for case, _ in ASKED],
            "sku": "x",
            "event_timestamp": pd.to_datetime([at(hours) for _, hours in ASKED], utc=True),
        }
    )


def random_rows(seed: int, count: int, *, is_clean: bool) -> pl.DataFrame:
    """Rows with corrections and late data; ties, missing created times and NaN unless `is_clean`."""
    rng = np.random.default_rng(seed)
    event = [START + HOUR * int(h) for h in rng.integers(0, 12, count)]
    known = [e + HOUR * int(rng.integers(-2, 4)) + timedelta(seconds=i if is_clean else 0) for i, e in enumerate(event)]
    numbers = rng.normal(size=count).round(3)
    frame = pl.DataFrame(
        {
            "shop_id": rng.integers(1, 4, count),
            "item": rng.choice(["x", "y", "z"], count),
            "happened": event,
            "written": known if is_clean else [None if rng.random() < 0.1 else k for k in known],
            "stock": numbers if is_clean else [np.nan if rng.random() < 0.1 else n for n in numbers],
            "sold": [None if rng.random() < 0.1 else int(n) for n in rng.integers(0, 9, count)],
            "label": [None if rng.random() < 0.1 else f"row {i}" for i in range(count)],
            "recent": [rng.normal(size=3).astype(np.float32).tolist() for _ in range(count)],
        },
        schema_overrides=TIMES | {"recent": pl.List(pl.Float32), "sold": pl.Int64, "label": pl.String},
    )
    return frame


def random_asked(seed: int, count: int) -> pd.DataFrame:
    """Questions with unknown and missing keys, times with a zone of their own, and keys of another name."""
    rng = np.random.default_rng(seed)
    zoned = pd.to_datetime([START + HOUR * int(h) for h in rng.integers(-1, 20, count)], utc=True)
    return pd.DataFrame(
        {
            "note": np.arange(count)[::-1],
            "sku": rng.choice(["x", "y", "nobody"], count),
            "shop_id": np.where(rng.random(count) < 0.1, np.nan, rng.integers(1, 5, count)),
            "origin_shop": rng.integers(1, 4, count),
            "origin_sku": rng.choice(["y", "z"], count),
            "event_timestamp": zoned.tz_convert("Europe/Berlin"),
        }
    )


def pairs() -> pl.DataFrame:
    """Two keys of two parts whose texts are one, written one after the other."""
    return pl.DataFrame(
        {
            "shop_id": [1, 11],
            "item": ["12", "2"],
            "happened": [at(1), at(1)],
            "written": [at(1), at(1)],
            "stock": [0.5, math.nan],
            "sold": [0, 1],
        },
        schema_overrides=TIMES,
    )


def pairs_asked(*rows: tuple[int, str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "note": range(len(rows)),
            "shop_id": [shop for shop, _, _ in rows],
            "sku": [sku for _, sku, _ in rows],
            "event_timestamp": pd.to_datetime([at(hours) for _, _, hours in rows], utc=True),
        }
    )


def answers(joined: pd.DataFrame, prefix: str) -> dict[int, list[tuple[Any, ...]]]:
    """Row number to the values of one view's columns, once for each row of the answer; NaN and null are one."""
    columns = sorted(name for name in joined.columns if name.startswith(prefix))
    found: dict[int, list[tuple[Any, ...]]] = {}
    for note, *values in joined[["note", *columns]].itertuples(index=False):
        found.setdefault(int(note), []).append(tuple(_plain(value) for value in values))
    return found


def kind_of(ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]]) -> str:
    """How the values of one row and view in another store's answer differ from ours; empty where they do not."""
    values = set(theirs)
    if values == {*ours}:
        return ""
    if len(values) > 1:
        return f"{len(values)} values"
    return "no value" if all(value is None for value in theirs[0]) else "another value"


def _plain(value: Any) -> Any:
    if isinstance(value, (list, np.ndarray)):
        return tuple(float(v) for v in value)
    return None if value is None or pd.isna(value) else value
