"""Every model's champion and what it was worth when it was judged."""

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.model_assets import model_names

MODELS = model_names()


@dg.asset(
    group_name=names.GROUP_REPORTS,
    deps=[dg.AssetKey(names.model_key(model, "champion")) for model in MODELS],
    kinds={"polars"},
    owners=["team:demand"],
    required_resource_keys={"ledger"},
    automation_condition=policies.WHEN_UPSTREAM_MOVES,
)
def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One row: a model, its champion, since when, and the improvement that made it champion. Read by people."""
    from platform_assets.science.leaderboard import standing, table

    rows = [standing(model, context.resources.ledger.champion(model)) for model in MODELS]
    return dg.MaterializeResult(
        metadata={
            "leaderboard": dg.MetadataValue.md(table(rows)),
            "champions": sum(r["champion"] is not None for r in rows),
        }
    )
