"""A model as the lifecycle reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """What `defs.yaml` and the folder say, as the lifecycle reads it."""

    name: str
    module: str
    trainer: str
    code_version: str
    task: str
    label: str
    feature_service: str
    features: tuple[str, ...]
    horizon_days: int
    rows: int
    rows_per_series: int
    seed: int
    compute: str
    parameters: Mapping[str, Any]
    baselines: tuple[str, ...]
    origins: int
    gate: Mapping[str, Any]
    retraining: Mapping[str, Any]
    tuning: Mapping[str, Any]
    description: str
    owners: tuple[str, ...]
    card: str
    monitoring: Mapping[str, Any] = field(default_factory=dict)
    backtest: Mapping[str, Any] = field(default_factory=dict)
