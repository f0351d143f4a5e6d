"""How often the judgement of segments errs and how soon it finds: simulated worlds, and a real file.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.fault_alarms --seeds 40
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.fault_alarms --retail FILE

A false alarm is a (segment, day) called faulty where the world is sound; found is a faulty one called so on its first day.
The real file has one segment, its chain; by country is a trial of how uneven segments fare, no use of it.
"""

import argparse
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from platform_assets.science import faults
from platform_assets.science.simulate import Scenario, SimulatorConfig, simulate

SOUND = ("none", "step", "elastic", "pricehike", "weekly", "supply")
FAULTY = {"fault": ("units", "store_01"), "dup": ("repeats", None), "feed": ("silence", None)}
DAYS, ONSET, FAULT_DAYS = 460, 330, 14  # from the first of March: Christmas, and the onset in January
STARTS_ON = date(2024, 3, 1)


def sales_of(scenario: str, seed: int, stores: int, skus: int) -> pl.DataFrame:
    """A simulated world's sales as they stand in the table, each day known at its end."""
    onset = STARTS_ON + timedelta(days=ONSET)
    ends = onset + timedelta(days=FAULT_DAYS) if scenario in FAULTY else None
    scenarios = () if scenario == "none" else (Scenario(scenario, onset, ends),)
    config = SimulatorConfig(stores=stores, skus=skus, days=DAYS, starts_on=STARTS_ON, seed=seed, scenarios=scenarios)
    return simulate(config).lines.select(
        series_id=pl.concat_str("store", "sku", separator="/"),
        period_on="sold_on",
        known_at=(pl.col("sold_on") + timedelta(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        units=pl.col("units").cast(pl.Float64),
        lines="lines",
        tickets="tickets",
    )


def found_in(sales: pl.DataFrame) -> list[faults.Fault]:
    """All faults of a history, judged day by day."""
    sums = faults.totals(sales, 0)
    return faults.find(sums.clear(), sums)


def simulated(seeds: int, stores: int, skus: int) -> None:
    """A line for each scenario: false alarms, and of faulty days how many were found, the first day's share apart."""
    print(f"{stores} stores, {skus} products, {DAYS} days, {seeds} seeds")
    onset = STARTS_ON + timedelta(days=ONSET)
    for scenario in (*SOUND, *FAULTY):
        alarms, first, faulty, hit, days = [], 0, 0, 0, 0
        for seed in range(seeds):
            sales = sales_of(scenario, seed, stores, skus)
            found = found_in(sales)
            days += sales["period_on"].n_unique() * stores
            kind, segment = FAULTY.get(scenario, ("", ""))
            wrong = (
                {
                    (name, onset + timedelta(days=day))
                    for name in {segment or f"store_{stores:02d}"}
                    | (set(sales["series_id"].str.split("/").list.get(0)) if scenario == "dup" else set())
                    for day in range(FAULT_DAYS)
                }
                if scenario in FAULTY
                else set()
            )
            said = {(one.segment, one.period_on) for one in found if one.kind == kind}
            hit, faulty = hit + len(wrong & said), faulty + len(wrong)
            first += {name for name, on in wrong & said if on == onset} == {name for name, _ in wrong} and bool(wrong)
            alarms += [one for one in found if (one.segment, one.period_on) not in wrong]
        power = f"; found {hit} of {faulty} store-days, on the first day in {first} of {seeds} worlds" if faulty else ""
        print(f"  {scenario:<10} {len(alarms)} false alarms in {days:,} store-days{power}", flush=True)
        for one in alarms[:5]:
            print(f"      {one.segment} {one.period_on} {one.told}")


def retail(file: Path) -> None:
    """Online Retail II: its chain as one segment, and by country."""
    lines = pl.read_parquet(file).filter(pl.col("quantity") > 0, pl.col("price") > 0)
    for position, what in ((None, "one chain"), (0, "by country")):
        sales = lines.group_by(
            series_id=pl.concat_str("country", "stock_code", separator="/"), period_on=pl.col("ts").dt.date()
        ).agg(
            units=pl.col("quantity").sum().cast(pl.Float64),
            lines=pl.len().cast(pl.Int64),
            tickets=pl.col("invoice").n_unique().cast(pl.Int64),
        )
        known = (pl.col("period_on") + timedelta(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        sums = faults.totals(sales.with_columns(known_at=known), position)
        found = faults.find(sums.clear(), sums)
        print(f"{file.name}, {what}: {len(found)} alarms in {sums.height:,} segment-days")
        for one in found[:12]:
            print(f"      {one.segment} {one.period_on} {one.told}")


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--stores", type=int, default=5)
    parser.add_argument("--skus", type=int, default=60)
    parser.add_argument("--retail", type=Path)
    said = parser.parse_args()
    if said.retail:
        retail(said.retail)
    else:
        simulated(said.seeds, said.stores, said.skus)


if __name__ == "__main__":
    main()
