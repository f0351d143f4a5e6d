"""Which policies a history can tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_assets.errors import ConfigurationError
from platform_assets.science.retraining_triggers import Code, Drift, Operations, Performance

if TYPE_CHECKING:
    from platform_assets.science.replay import History
    from platform_assets.science.retraining_policy import RetrainingPolicy


def check_replayable(policy: RetrainingPolicy, history: History) -> None:
    """Raises: ConfigurationError naming a trigger whose evidence a history does not hold."""
    if "champion" in (policy.train_on.start, policy.after_alarm.start):
        raise ConfigurationError(
            "`start: champion` cannot be replayed: such a training depends on which champions stood before it",
            hint="replay the policy with `start: scratch`, as a YAML file",
        )
    for part in policy.parts:
        if isinstance(part, Operations | Code):
            raise ConfigurationError(f"`{part.kind}` cannot be replayed: history holds no record of it")
        if isinstance(part, Performance) and (part.metric, part.segment, part.against) != (
            history.metric,
            "",
            "baseline",
        ):
            raise ConfigurationError(
                f"`performance` of {part.metric}{f' in {part.segment}' if part.segment else ''} cannot be replayed",
                hint=f"only `metric: {history.metric}` with `against: baseline`, overall",
            )
        if isinstance(part, Drift) and history.has_drifted is None:
            raise ConfigurationError("`drift` cannot be replayed: this history holds no features")
