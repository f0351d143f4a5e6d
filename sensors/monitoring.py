"""Declarative automation, switched on: Dagster's own sensor for conditions starts stopped."""

import dagster as dg

from platform_assets import names


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates every condition of the graph each half minute: features, online loads, predictions, reports."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        run_tags={names.TAG_REASON: "an upstream has moved"},
        description="Computes again what has a condition, once its upstreams have moved and pass their blocking checks.",
    )
