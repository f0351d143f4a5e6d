"""What every model's folder must keep, whatever it predicts and however it is fitted: planted rows, and a check of each promise."""

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.training import settings_of
from platform_assets.science import formats
from platform_assets.science.constant import Constant
from platform_assets.science.demand import columns
from platform_assets.science.fitting import FitSettings, FittedModel, Trainer
from platform_assets.science.tasks import TASKS, Task
from platform_assets.science.warm_start import FURTHER

SCALE = "level"
FIRST_ISSUE = datetime(2024, 3, 3, tzinfo=UTC)
SEQUENCE = {"list_f32"}


def signal_feature(spec: ModelSpec) -> str:
    """A feature that the model reads, that is no size of the series: what the label is planted on."""
    plain = [
        name
        for name in spec.features
        if columns.DTYPES[name] == "f64" and name not in columns.IN_UNITS and name != SCALE
    ]
    numbers = [name for name in spec.features if columns.DTYPES[name] in {"f64", "i64"}]
    return (plain or numbers)[0]


def planted_rows(spec: ModelSpec, *, count: int = 1_500, seed: int = 0) -> pl.DataFrame:
    """`count` rows with every feature of the model, and a label that follows one of them (times the level, if it is read).

    The signal is uniform on (0, 1). Demand is Poisson with mean level * (0.2 + 3 signal); a probability is 5% to 95%.
    Other features are noise; a tenth of the values of each is null, as where a source lacks a column for a while.
    """
    rng = np.random.default_rng(seed)
    planted = signal_feature(spec)
    level = rng.lognormal(1.0, 0.7, count)
    signal = rng.uniform(0, 1, count)
    values: dict[str, pl.Series] = {}
    for name in spec.features:
        kind = columns.DTYPES[name]
        if name == SCALE:
            values[name] = pl.Series(level)
        elif name == planted:
            values[name] = pl.Series(signal)
        elif kind == "bool":
            values[name] = pl.Series(rng.random(count) < 0.3)
        elif kind == "i64":
            values[name] = pl.Series(rng.integers(1, 8, count), dtype=pl.Int64)
        elif kind in SEQUENCE:
            recent = rng.poisson(level[:, None], (count, columns.RECENT_PERIODS)).astype(np.float32)
            values[name] = pl.Series(recent.tolist(), dtype=pl.List(pl.Float32))
        elif name in columns.IN_UNITS:
            values[name] = pl.Series(level * rng.lognormal(0, 0.3, count))
        else:
            values[name] = pl.Series(rng.normal(0, 1, count))
        if name not in {SCALE, planted} and kind not in SEQUENCE:
            values[name] = values[name].zip_with(pl.Series(rng.random(count) > 0.1), pl.Series([None], dtype=None))
    scale = level if SCALE in spec.features else np.full(count, 5.0)
    if TASKS[spec.task].levels:
        label = rng.poisson(scale * (0.2 + 3 * signal)).astype(np.float64)
    else:
        label = (rng.random(count) < 0.05 + 0.9 * signal).astype(np.float64)
    number = pl.int_range(count, eager=True)
    frame = pl.DataFrame(
        {
            "series_id": pl.Series([f"s{n % 40:02d}" for n in range(count)]),
            "issued_at": [FIRST_ISSUE + timedelta(days=int(n)) for n in number // 40],
            "horizon_days": (number % spec.horizon_days + 1).cast(pl.Int16),
            **values,
            spec.label: label,
        }
    )
    day = pl.duration(days=pl.col("horizon_days").cast(pl.Int64))
    return frame.with_columns(
        pl.col("issued_at").dt.cast_time_unit("us"), target_on=(pl.col("issued_at") + day).dt.date()
    ).with_columns(label_known_at=(pl.col("issued_at") + day).dt.cast_time_unit("us"))


@dataclass(frozen=True)
class Fitted:
    """A model fitted to planted rows, and rows that it has not seen."""

    spec: ModelSpec
    trainer: Trainer

    @cached_property
    def settings(self) -> FitSettings:
        return settings_of(self.spec, threads=1, device="cpu", progress=lambda line: None)

    @cached_property
    def task(self) -> Task:
        return TASKS[self.spec.task]

    @cached_property
    def rows(self) -> pl.DataFrame:
        return planted_rows(self.spec)

    @cached_property
    def unseen(self) -> pl.DataFrame:
        return planted_rows(self.spec, count=600, seed=1)

    @cached_property
    def model(self) -> FittedModel:
        return self.trainer(self.rows, self.settings)

    @cached_property
    def answers(self) -> pl.DataFrame:
        """Of the unseen rows, of which the model gets the features alone."""
        return self.model.predict(self.unseen.select(self.spec.features))


def check_shape(fitted: Fitted) -> None:
    """The task's columns, a number in each row, in the task's range."""
    fitted.task.validate(fitted.answers, fitted.unseen.height)


def check_deterministic(fitted: Fitted) -> None:
    """Same rows, same settings: the same bytes of files and of predictions."""
    again = fitted.trainer(fitted.rows.clone(), fitted.settings)
    assert again.files() == fitted.model.files()
    assert_frame_equal(again.predict(fitted.unseen.select(fitted.spec.features)), fitted.answers, check_exact=True)


def check_round_trip(fitted: Fitted) -> None:
    """The files are bytes in a registered format, and what they load to answers the same."""
    files = fitted.model.files()
    assert fitted.model.format in formats.FORMATS
    assert files
    assert all(isinstance(content, bytes) for content in files.values())
    loaded = formats.load(fitted.model.format, files)
    assert_frame_equal(loaded.predict(fitted.unseen.select(fitted.spec.features)), fitted.answers, check_exact=True)
    assert loaded.files() == files


def check_rows_stand_alone(fitted: Fitted) -> None:
    """An answer depends on its row alone: not on the order of columns, nor on the rows beside it."""
    turned = fitted.unseen.select(reversed(fitted.spec.features)).reverse()
    assert_frame_equal(fitted.model.predict(turned).reverse(), fitted.answers, check_exact=True)
    one = fitted.model.predict(fitted.unseen[7:8].select(fitted.spec.features))
    assert_frame_equal(one, fitted.answers[7:8], check_exact=True)


def check_reads_only_its_features(fitted: Fitted) -> None:
    """Beside its features stand those of the champion, which a model that does not name them never sees when it answers."""
    fewer = tuple(name for name in fitted.spec.features if name != SCALE)
    model = fitted.trainer(fitted.rows, replace(fitted.settings, features=fewer))
    fitted.task.validate(model.predict(fitted.unseen.select(fewer)), fitted.unseen.height)


def check_takes_missing_values(fitted: Fitted) -> None:
    """Rows of a source without prices, plans or lines are answered too, and do not break the range."""
    known = {SCALE, *(name for name in fitted.spec.features if columns.DTYPES[name] in SEQUENCE)}
    bare = fitted.unseen.select(
        pl.col(name) if name in known else pl.lit(None, dtype=fitted.unseen.schema[name]).alias(name)
        for name in fitted.spec.features
    )
    fitted.task.validate(fitted.model.predict(bare), bare.height)


def check_beats_a_constant(fitted: Fitted, by: float = 0.05) -> None:
    """Less loss than the best constant (times the level, where the model reads it), on rows that neither has seen."""
    spec, task = fitted.spec, fitted.task
    scaled = SCALE in spec.features and bool(task.levels)

    def per_level(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(spec.label) / pl.col(SCALE)) if scaled else rows

    constant = Constant.fit(per_level(fitted.rows), fitted.settings).predict(fitted.unseen)
    if scaled:
        constant = constant.select(pl.all() * fitted.unseen[SCALE])
    label = fitted.unseen[spec.label]
    theirs, ours = (float(task.loss(label, said).sum()) for said in (constant, fitted.answers))
    assert ours < (1 - by) * theirs, f"{spec.name}: loss {ours:.1f}, the best constant's is {theirs:.1f}"


def check_goes_on(fitted: Fitted) -> None:
    """A trainer that says how far to go on does so: of a world whose demand has changed it then knows more than its start."""
    spec = fitted.spec
    if FURTHER not in vars(sys.modules[fitted.trainer.__module__]).get("DEFAULTS", {}):
        return
    change = pl.col(spec.label) * 2 if fitted.task.levels else 1 - pl.col(spec.label)
    rows, unseen = (frame.with_columns(change.alias(spec.label)) for frame in (fitted.rows, fitted.unseen))
    further = fitted.trainer(rows, replace(fitted.settings, start=fitted.model))
    assert further.format == fitted.model.format
    ours, theirs = (
        float(fitted.task.loss(unseen[spec.label], model.predict(unseen.select(spec.features))).sum())
        for model in (further, fitted.model)
    )
    assert ours < 0.95 * theirs, f"{spec.name}: loss {ours:.1f} after going on, {theirs:.1f} before"


CHECKS = (
    check_goes_on,
    check_shape,
    check_round_trip,
    check_rows_stand_alone,
    check_reads_only_its_features,
    check_takes_missing_values,
    check_beats_a_constant,
    check_deterministic,
)
