"""A code location of three steps, as run pods and step pods of the cluster test load it."""

import os

import dagster as dg

from resources.compute import PROFILES
from resources.deployment import Settings, executor_for, resources_for


@dg.asset(op_tags=PROFILES["small"].op_tags())
def sales():
    import polars as pl

    return pl.DataFrame({"units": [1.0, 2.0]})


@dg.asset(op_tags=PROFILES["gpu"].op_tags(), io_manager_key="json_io_manager")
def total(sales) -> dict[str, float]:
    import polars as pl

    return {"units": sales.select(pl.col("units").sum()).collect().item(), "process": float(os.getpid())}


@dg.asset(deps=[total])
def check() -> None:
    if os.environ.get("FAIL"):
        raise ValueError("as asked")


def job() -> dg.JobDefinition:
    settings = Settings.from_mapping(os.environ)
    resources = {key: value for key, value in resources_for(settings).items() if key.endswith("io_manager")}
    definitions = dg.Definitions(
        assets=[sales, total, check],
        jobs=[dg.define_asset_job("retrain_demand", selection="*")],
        resources=resources,
        executor=executor_for(settings, gpu_steps=["total"]),
    )
    return definitions.resolve_job_def("retrain_demand")
