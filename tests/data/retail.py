"""Small good files of both sources, made from a seed."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from platform_assets.science.simulate import SimulatorConfig, simulate

FIRST = date(2011, 3, 1)


def retailer(days: int = 40, codes: int = 12, seed: int = 3, first: date = FIRST) -> pl.DataFrame:
    """Invoice lines of a retailer that is closed on Saturdays: 40 to 60 lines a day, all of them plain sales."""
    random = np.random.default_rng(seed)
    rows = []
    invoice = 500_000
    for offset in range(days):
        day = first + timedelta(days=offset)
        if day.weekday() == 5:
            continue
        for number in range(int(random.integers(40, 60))):
            invoice += number % 3 == 0
            code = int(random.integers(codes))
            rows.append(
                {
                    "invoice": str(invoice),
                    "stock_code": f"{20000 + code}",
                    "description": f"GIFT {code}",
                    "quantity": int(random.integers(1, 25)),
                    "ts": datetime(day.year, day.month, day.day, 9) + timedelta(minutes=9 * number),
                    "price": round(1.25 + 0.5 * code, 2),
                    "customer_id": None if number % 5 == 0 else int(random.integers(12346, 12390)),
                    "country": "United Kingdom" if number % 7 else "France",
                }
            )
    schema = {
        "invoice": pl.String,
        "stock_code": pl.String,
        "description": pl.String,
        "quantity": pl.Int32,
        "ts": pl.Datetime("us"),
        "price": pl.Float64,
        "customer_id": pl.Int32,
        "country": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)


def simulated(days: int = 60, stores: int = 2, skus: int = 10) -> pl.DataFrame:
    """Daily sums of a simulated chain."""
    return simulate(SimulatorConfig(stores=stores, skus=skus, days=days, starts_on=date(2024, 1, 1), seed=1)).lines
