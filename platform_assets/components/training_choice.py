"""On what this training is to learn: what its run was told, else what the model's policy says; kept with the training set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec
from platform_assets.errors import ConfigurationError, TableError

if TYPE_CHECKING:
    from platform_assets.science.demand.masks import Mask
    from platform_assets.science.train_on import TrainOn

FACT: Final = "perennial.train_on"  # of the training set's commit


@dataclass(frozen=True)
class Drawn:
    """How a training set was drawn."""

    train_on: TrainOn
    masks: tuple[Mask, ...] = ()

    def to_json(self) -> str:
        """As the training set's commit keeps it."""
        kept = {"train_on": self.train_on.to_dict(), "masks": [mask.to_dict() for mask in self.masks]}
        return json.dumps(kept, sort_keys=True)


def tag_of(train_on: TrainOn) -> str:
    """Value of the tag by which a run is told."""
    return json.dumps(train_on.to_dict(), sort_keys=True)


def chosen(spec: ModelSpec, tags: Mapping[str, str]) -> TrainOn:
    """What a run with these tags is to learn from.

    Raises: ConfigurationError if the tag says what no policy may say.
    """
    from platform_assets.science.retraining_policy import RetrainingPolicy, train_on_of

    policy = RetrainingPolicy.from_mapping(spec.retraining)
    if (said := tags.get(names.TAG_TRAIN_ON)) is None:
        return policy.train_on
    try:
        given = json.loads(said)
    except ValueError as error:
        raise ConfigurationError(
            f"tag {names.TAG_TRAIN_ON} is {said!r}, expected JSON such as {tag_of(policy.after_alarm)}"
        ) from error
    return train_on_of(given, names.TAG_TRAIN_ON)


def alarm_of(cause: str) -> date | None:
    """First day of the alarm that a cause, as its tag has it, is about; None for other causes."""
    from platform_assets.science.retraining_evidence import alarm_began

    trigger, _, episode = cause.partition("/")
    return alarm_began(trigger, episode)


def alarm_known_at(source: Any, cause: str) -> datetime | None:
    """When the first period of a cause's alarm had ended, at the source's midnight; None for other causes."""
    if (alarm_on := alarm_of(cause)) is None:
        return None
    ended_on = alarm_on + timedelta(days=source.period_days)
    return datetime.combine(ended_on, time(), ZoneInfo(source.timezone)).astimezone(UTC)


def drawn(tables: Any, table: str, version: int) -> Drawn:
    """How a version of a training set was drawn; from all history alike where its commit does not say."""
    from platform_assets.science.demand.masks import Mask
    from platform_assets.science.train_on import TrainOn

    try:
        kept = json.loads(tables.fact(table, FACT, version))
    except TableError:
        return Drawn(TrainOn())
    return Drawn(TrainOn(**kept["train_on"]), tuple(Mask.from_dict(raw) for raw in kept["masks"]))


def told(masks: Sequence[Mask]) -> str:
    """Masks in words, for the UI."""
    spans = [
        f"{mask.since:%Y-%m-%d %H:%M} to {f'{mask.until:%Y-%m-%d %H:%M}' if mask.until else 'now'}"
        + (f", series {mask.series}..." if mask.series else "")
        for mask in masks
    ]
    return "; ".join(spans) or "none"
