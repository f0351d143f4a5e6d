"""When the cron schedules of a retraining policy came round last, by Dagster's own calendar."""

from datetime import UTC, datetime

from dagster._utils.schedules import reverse_cron_string_iterator

from platform_assets.science.retraining_evidence import Tick
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import Schedule


def newest_ticks(policy: RetrainingPolicy, now: datetime) -> list[Tick]:
    """The newest instant, at most now, of each schedule that the policy names."""
    return [
        Tick(
            part.cron,
            part.timezone,
            next(reverse_cron_string_iterator(now.timestamp(), part.cron, part.timezone)).astimezone(UTC),
        )
        for part in policy.parts
        if isinstance(part, Schedule)
    ]
