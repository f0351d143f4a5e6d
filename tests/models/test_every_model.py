"""Each folder of defs/models keeps the contract of a model; a new folder is tested without a word here."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import dagster as dg
import numpy as np
import polars as pl
import pytest

from platform_assets.components.model_assets import STAGES, model_names
from platform_assets.reproduction import spec_of
from platform_assets.science.constant import Constant
from platform_assets.science.fitting import FitSettings
from tests.models.contract import CHECKS, Fitted, check_beats_a_constant, check_deterministic, check_rows_stand_alone

MODELS = model_names()


@cache
def fitted(model: str) -> Fitted:
    spec = spec_of(model)
    return Fitted(spec, importlib.import_module(spec.module).__dict__[spec.trainer])


def test_there_are_models() -> None:
    assert {"demand", "demand_deep", "dormant"} <= set(MODELS)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_model(model: str, check: Callable[[Fitted], None]) -> None:
    check(fitted(model))


@pytest.mark.parametrize("model", MODELS)
def test_a_folder_becomes_a_whole_life(model: str) -> None:
    from platform_assets.components.model_assets import model_definitions
    from platform_assets.names import model_key, retraining_job

    graph = model_definitions(spec_of(model), kind="python")
    keys = {tuple(asset.key.path) for asset in graph.assets or [] if isinstance(asset, dg.AssetsDefinition)}
    assert keys == {tuple(model_key(model, stage)) for stage in STAGES}
    assert [job.name for job in graph.jobs or []] == [retraining_job(model)]


# The contract itself: models that break a promise are caught.


class Forgetful(Constant):
    """Answers by the rows that stand beside a row."""

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        return super().predict(rows).with_columns(pl.all() + pl.int_range(pl.len()))


def broken(trainer: Callable[[pl.DataFrame, FitSettings], Constant]) -> Fitted:
    return Fitted(replace(spec_of("demand"), name="broken"), trainer)


def test_the_contract_refuses_a_constant() -> None:
    with pytest.raises(AssertionError, match="the best constant's is"):
        check_beats_a_constant(broken(Constant.fit))


def test_the_contract_refuses_rows_that_see_each_other() -> None:
    with pytest.raises(AssertionError):
        check_rows_stand_alone(broken(Forgetful.fit))


def test_the_contract_refuses_a_trainer_that_draws_without_the_seed() -> None:
    source = np.random.default_rng(3)

    def draws(rows: pl.DataFrame, settings: FitSettings) -> Constant:
        return Constant.fit(rows.filter(source.random(rows.height) < 0.5), settings)

    with pytest.raises(AssertionError):
        check_deterministic(broken(draws))
