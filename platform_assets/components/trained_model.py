"""`TrainedModel`: one folder in, one model's whole life out."""

import ast
import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from platform_assets.components.feature_names import closest
from platform_assets.components.model_settings import made_by
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.scaffolding import TrainedModelScaffolder
from platform_assets.components.service_features import features_of, services
from platform_assets.components.trainer_source import declared_parameters
from platform_assets.errors import ConfigurationError
from platform_assets.science.demand import columns

LABELS = ("units", "is_dormant")
TASKS = ("quantiles", "probability")
LABEL_OF: Mapping[str, str] = dict(zip(TASKS, LABELS, strict=True))  # what each task can be judged on
WEEK_DAYS = 7  # of `is_dormant`
KINDS = ("lightgbm", "torch", "python")


def model_folder(path: Path) -> Path:
    """The model's folder, whose name is the model's name; `path` is it, or its defs.yaml."""
    return path if path.is_dir() else path.parent


def _one_of(choices: tuple[str, ...], what: str) -> Any:
    def check(context: dg.ResolutionContext, value: str) -> str:
        if value not in choices:
            raise ValueError(f"unknown {what} {value!r}; known: {', '.join(choices)}")
        return value

    return dg.Resolver(check, model_field_type=str)


def _features(context: dg.ResolutionContext, value: list[str] | None) -> list[str]:
    known = {feature for service in services() for feature in features_of(service)}
    if unknown := sorted(set(value or []) - known):
        near = {name: closest(name, known) for name in unknown}
        told = ", ".join(
            f"{name!r}" + (f" (did you mean {' or '.join(found)}?)" if found else "") for name, found in near.items()
        )
        raise ValueError(
            f"unknown features {told}; `perennial features list` tells all {len(known)} with their meanings"
        )
    if twice := sorted({f for f in value or [] if (value or []).count(f) > 1}):
        raise ValueError(f"features named twice: {twice}")
    return list(value or [])


def _service(context: dg.ResolutionContext, value: str) -> str:
    features_of(value)
    return value


def _trainer(context: dg.ResolutionContext, value: str) -> str:
    """Checked by parsing, never by importing: torch must not enter the code server."""
    folder = model_folder(dg.ComponentLoadContext.from_resolution_context(context).path)
    module, _, function = value.rpartition(".")
    file = folder / f"{module}.py"
    if not module or not file.is_file():
        raise ValueError(f"trainer {value!r}: no file {module or value}.py in {folder.name}/; write it as `train.fit`")
    defined = [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    if function not in defined:
        raise ValueError(f"trainer {value!r}: {file.name} defines {defined or 'no function'}, not {function!r}")
    return value


def _parameters(context: dg.ResolutionContext, value: dict[str, Any] | None) -> dict[str, Any]:
    """Checked where the trainer's module declares `DEFAULTS`: a misspelt one would end a training hours later."""
    known = declared_parameters(model_folder(dg.ComponentLoadContext.from_resolution_context(context).path))
    if known is not None and (unknown := sorted(set(value or {}) - known)):
        near = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
        told = ", ".join(
            f"{name!r}" + (f" (did you mean {found[0]}?)" if found else "") for name, found in near.items()
        )
        raise ValueError(f"unknown parameters {told}; the trainer's DEFAULTS: {', '.join(sorted(known))}")
    return dict(value or {})


def _gate(context: dg.ResolutionContext, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    from platform_assets.science.gate import GatePolicy

    GatePolicy.from_mapping(value or {})
    return dict(value or {})


def _retraining(context: dg.ResolutionContext, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    from dagster._utils.schedules import is_valid_cron_string

    from platform_assets.science.retraining_policy import RetrainingPolicy
    from platform_assets.science.retraining_triggers import Schedule

    policy = RetrainingPolicy.from_mapping(value or {})
    for part in policy.parts:
        if isinstance(part, Schedule) and not is_valid_cron_string(part.cron):
            raise ConfigurationError(f"retraining: `schedule.cron` {part.cron!r} is no cron schedule")
    return dict(value or {})


def _monitoring(context: dg.ResolutionContext, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    from platform_assets.science.reference_window import MonitoringSettings

    MonitoringSettings.from_mapping(value or {})
    return dict(value or {})


def _backtest(context: dg.ResolutionContext, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = dict(value or {})
    if unknown := sorted(set(found) - {"rows", "sequences", "parameters"}):
        raise ConfigurationError(f"backtest: unknown keys {unknown}; known: rows, sequences, parameters")
    if not isinstance(rows := found.get("rows", 1), int) or rows < 1:
        raise ConfigurationError(f"backtest: `rows` is {rows}, expected a whole number above 0")
    return {**found, "parameters": _parameters(context, found.get("parameters"))}


def _tuning(context: dg.ResolutionContext, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    from platform_assets.science.tuning import TuningPlan

    TuningPlan.from_mapping(value or {})
    return dict(value or {})


def _baselines(context: dg.ResolutionContext, value: list[str] | None) -> list[str]:
    if not value:
        return []
    from platform_assets.science.baselines import DESCRIPTIONS  # scipy and polars, only where some are named

    if unknown := sorted(set(value) - set(DESCRIPTIONS)):
        raise ValueError(f"unknown baselines {unknown}; known: {', '.join(DESCRIPTIONS)}")
    return list(value)


def _compute(context: dg.ResolutionContext, value: str) -> str:
    from resources.compute import PROFILES

    if value not in PROFILES:
        raise ValueError(f"unknown compute profile {value!r}; known: {', '.join(PROFILES)} (resources/compute.py)")
    return value


def _code_behind(source: Path, module: str, function: str) -> bytes:
    """What stands for the trainer's code: of the function and all that it reaches in this project, by parsing."""
    from resources.source_digest import module_file, source_digest

    if module_file(module) == source:
        return source_digest(f"{module}:{function}").encode()
    return source.read_bytes() if source.exists() else b""  # a folder of another project


Checked = dict[str, Any]


@dg.scaffold_with(TrainedModelScaffolder)
class TrainedModel(dg.Component, dg.Model, dg.Resolvable):
    """A model's life as assets: training set, candidate, evaluation, champion, predictions, monitoring.

    The folder's name is the model's name; `train.py` beside this file holds `fit(rows, settings)`.
    """

    description: str = Field(description="What it predicts, for whom; shown in the UI.")
    owners: list[str] = Field(default_factory=list, description="Owners, such as team:demand.")
    task: Annotated[str, _one_of(TASKS, "task")] = Field(default="quantiles", description="quantiles or probability")
    label: Annotated[str, _one_of(LABELS, "label")] = Field(default="units", description="units or is_dormant")
    feature_service: Annotated[str, dg.Resolver(_service, model_field_type=str)] = Field(
        default="demand_v1", description="Feast feature service of the training set."
    )
    features: Annotated[list[str], dg.Resolver(_features, model_field_type=list[str] | None)] = Field(
        default_factory=list, description="Columns the model reads; all that the service offers where left out."
    )
    trainer: Annotated[str, dg.Resolver(_trainer, model_field_type=str)] = Field(
        default="train.fit", description="module.function in this folder"
    )
    sequences: bool = Field(
        default=False, description="Whether list features, such as recent_units, are read too where none are named."
    )
    parameters: Annotated[Checked, dg.Resolver(_parameters, model_field_type=dict[str, Any] | None)] = Field(
        default_factory=dict, description="Passed to the trainer; those of its DEFAULTS, where it declares them."
    )
    horizon_days: int = Field(default=28, ge=1, le=366, description="Days ahead that are predicted.")
    rows: int = Field(default=600_000, ge=100, description="Most rows of the training set, sampled by a seeded hash.")
    rows_per_series: int = Field(default=250, ge=1, description="Most rows of the training set for each live series.")
    seed: int = Field(default=7, ge=0, description="Seed of sampling and training.")
    compute: Annotated[str, dg.Resolver(_compute, model_field_type=str)] = Field(
        default="small", description="Profile in resources/compute.py."
    )
    baselines: Annotated[list[str], dg.Resolver(_baselines, model_field_type=list[str] | None)] = Field(
        default_factory=list, description="Baselines to beat; all of the task's where empty."
    )
    origins: int = Field(default=3, ge=1, le=24, description="Forecast origins of the evaluation window.")
    gate: Annotated[Checked, dg.Resolver(_gate, model_field_type=dict[str, Any] | None)] = Field(
        default_factory=dict, description="Gate policy; see GatePolicy."
    )
    retraining: Annotated[Checked, dg.Resolver(_retraining, model_field_type=dict[str, Any] | None)] = Field(
        default_factory=dict, description="Retraining policy; see RetrainingPolicy."
    )
    monitoring: Annotated[Checked, dg.Resolver(_monitoring, model_field_type=dict[str, Any] | None)] = Field(
        default_factory=dict, description="`reference` of the inputs: training, last_year or previous."
    )
    backtest: Annotated[Checked, dg.Resolver(_backtest, model_field_type=dict[str, Any] | None)] = Field(
        default_factory=dict, description="Smaller recipe of `perennial backtest`: `rows`, `sequences`, `parameters`."
    )
    tuning: Annotated[Checked, dg.Resolver(_tuning, model_field_type=dict[str, Any] | None)] = Field(
        default_factory=dict, description="Budget and space of a search; off where empty."
    )
    kind: Annotated[str, _one_of(KINDS, "kind")] = Field(default="python", description="Shown in the UI.")

    def spec(self, folder: Path, module: str) -> ModelSpec:
        """The specification that the lifecycle reads."""
        if self.label != LABEL_OF[self.task]:
            raise ConfigurationError(
                f"model {folder.name}: task {self.task} has the label {LABEL_OF[self.task]}, not {self.label}",
                hint="change `label` or `task` in defs.yaml",
            )
        if self.label == "is_dormant" and self.horizon_days < WEEK_DAYS:
            raise ConfigurationError(
                f"model {folder.name}: `is_dormant` is of the {WEEK_DAYS} days that end with the horizon, which is {self.horizon_days}: "
                "it would begin before the forecast is issued",
                hint=f"set `horizon_days` to at least {WEEK_DAYS} in defs.yaml",
            )
        self._check_on_what(folder)
        source = folder / f"{self.trainer.rpartition('.')[0]}.py"
        card = folder / "card.md"
        named = f"{module}.{self.trainer.rpartition('.')[0]}"
        settings = folder / "defs.yaml"
        code = _code_behind(source, named, self.trainer.rpartition(".")[2]) + made_by(settings).encode()
        return ModelSpec(
            name=folder.name,
            module=named,
            trainer=self.trainer.rpartition(".")[2],
            code_version=hashlib.sha256(code).hexdigest()[:12],
            task=self.task,
            label=self.label,
            feature_service=self.feature_service,
            features=self._feature_columns(folder.name),
            horizon_days=self.horizon_days,
            rows=self.rows,
            rows_per_series=self.rows_per_series,
            seed=self.seed,
            compute=self.compute,
            parameters=self.parameters,
            baselines=tuple(self.baselines),
            origins=self.origins,
            gate=self.gate,
            retraining=self.retraining,
            tuning=self.tuning,
            monitoring=self.monitoring,
            backtest=self.backtest,
            description=self.description,
            owners=tuple(self.owners),
            card=card.read_text() if card.exists() else "",
        )

    def _check_on_what(self, folder: Path) -> None:
        from platform_assets.components.going_on import check_goes_on
        from platform_assets.science.retraining_policy import RetrainingPolicy

        policy = RetrainingPolicy.from_mapping(self.retraining)
        for key, choice in (("train_on", policy.train_on), ("after_alarm", policy.after_alarm)):
            if choice.start == "champion":
                check_goes_on(folder.name, declared_parameters(folder))
            if choice.window_days is not None and choice.window_days <= self.horizon_days:
                raise ConfigurationError(
                    f"model {folder.name}: retraining: `{key}` has a window of {choice.window_days} days, no longer than the horizon of "
                    f"{self.horizon_days}: labels of its forecasts are hardly known",
                    hint=f"set `window_days` to several times {self.horizon_days} in defs.yaml",
                )

    def _feature_columns(self, model: str) -> tuple[str, ...]:
        offered = features_of(self.feature_service)
        if missing := sorted(set(self.features) - set(offered)):
            raise ConfigurationError(
                f"model {model}: feature service {self.feature_service} does not offer {missing}",
                hint="add their view to the service in feature_repo/services.py, or remove them from defs.yaml",
            )
        return tuple(self.features) or (tuple(offered) if self.sequences else columns.plain(offered))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        from platform_assets.components.model_assets import model_definitions

        folder = model_folder(context.path)
        return model_definitions(self.spec(folder, context.defs_relative_module_name(folder)), kind=self.kind)
