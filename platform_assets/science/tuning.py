"""Search for a trainer's parameters within a budget: random, grid or Bayesian; the same seed tries the same parameters.

The caller says how large the loss of parameters is, on rows before the evaluation window (else the report would
flatter), and hears of every trial, so that it can record them.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from platform_assets.errors import ConfigurationError, ModelError, PerennialError

if TYPE_CHECKING:
    import optuna

Search = Literal["random", "grid", "bayesian"]
Value = float | int | str | bool

_HINT: Final = (
    "declare a parameter as {low: 16, high: 128, integer: true}, {low: 0.01, high: 0.2, log: true} or {choices: [a, b]}"
)
_MAX_GRID: Final = 10_000  # points; more is a mistake


@dataclass(frozen=True)
class Dimension:
    """Values that one parameter may take: a range of numbers, or a choice.

    `step` spaces a range; a grid needs it unless the range is of integers. `log` draws evenly in the logarithm.
    """

    name: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    integer: bool = False
    choices: tuple[Value, ...] = ()

    @classmethod
    def from_mapping(cls, name: str, mapping: object) -> "Dimension":
        """Dimension from a defs.yaml.

        Raises: ConfigurationError naming the parameter and what is wrong.
        """
        known = {"low", "high", "step", "log", "integer", "choices"}
        if not isinstance(mapping, Mapping):
            raise _wrong(name, f"is {mapping!r}, expected a mapping")
        unknown = sorted(str(key) for key in set(mapping) - known)
        if unknown:
            raise _wrong(name, f"has unknown keys {unknown}, known are {sorted(known)}")
        if "choices" in mapping:
            choices = mapping["choices"]
            if len(mapping) > 1 or not isinstance(choices, list | tuple) or not choices:
                raise _wrong(name, "needs `choices` alone, and at least one")
            if not all(isinstance(choice, str | int | float | bool) for choice in choices):
                raise _wrong(name, f"has choices {list(choices)}, expected numbers, texts or booleans")
            return cls(name, choices=tuple(choices))
        return cls(name, **mapping)._checked()

    def _checked(self) -> "Dimension":
        for key in ("low", "high", *(["step"] if self.step is not None else [])):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise _wrong(self.name, f"has `{key}` {value!r}, expected a number")
            if self.integer and value != int(value):
                raise _wrong(self.name, f"is an integer, but `{key}` is {value!r}")
        low, high = self._ends
        if low >= high:
            raise _wrong(self.name, f"has low {low} and high {high}, expected low below high")
        if not isinstance(self.log, bool) or not isinstance(self.integer, bool):
            raise _wrong(self.name, "needs true or false for `log` and `integer`")
        if self.log and (low <= 0 or self.step is not None):
            raise _wrong(self.name, "is logarithmic, so `low` must be above 0 and `step` absent")
        if self.step is not None and self.step <= 0:
            raise _wrong(self.name, f"has step {self.step}, expected more than 0")
        return self

    @property
    def _ends(self) -> tuple[float, float]:
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def suggest(self, trial: "optuna.Trial") -> Any:
        """A value of the trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        low, high = self._ends
        if self.integer:
            return trial.suggest_int(self.name, int(low), int(high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, low, high, step=self.step, log=self.log)

    def points(self) -> list[Value]:
        """All values, of a grid.

        Raises: ConfigurationError if there are infinitely many.
        """
        if self.choices:
            return list(self.choices)
        low, high = self._ends
        step = self.step or (1 if self.integer and not self.log else None)
        if step is None:
            raise _wrong(self.name, "has no `step`, which a grid needs")
        count = math.floor((high - low) / step + 1e-9) + 1
        return [int(low + at * step) if self.integer else low + at * step for at in range(min(count, _MAX_GRID + 1))]


def _wrong(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"tuning: parameter `{name}` {what}", hint=_HINT)


@dataclass(frozen=True)
class TuningPlan:
    """How to search: `trials` and `seconds` are the budget, whichever ends first; a trial that runs is finished."""

    search: Search
    space: tuple[Dimension, ...]
    trials: int = 20
    seconds: float = 600.0

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None) -> "TuningPlan | None":
        """Plan from a defs.yaml; None, so no tuning, where it is absent or empty.

        Raises: ConfigurationError naming unknown keys, a wrong value, a wrong parameter, or a grid beyond the trials.
        """
        if not mapping:
            return None
        known = ("search", "trials", "seconds", "space")
        unknown = sorted(str(key) for key in set(mapping) - set(known))
        if unknown:
            raise ConfigurationError(f"tuning: unknown keys {unknown}", hint=f"known keys: {list(known)}")
        search, space = mapping.get("search", "bayesian"), mapping.get("space")
        if search not in get_args(Search):
            raise ConfigurationError(f"tuning: search {search!r}", hint=f"one of {list(get_args(Search))}")
        if not isinstance(space, Mapping) or not space:
            raise ConfigurationError(f"tuning: `space` is {space!r}, expected parameters", hint=_HINT)
        trials, seconds = mapping.get("trials", 20), mapping.get("seconds", 600.0)
        if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
            raise ConfigurationError(f"tuning: `trials` is {trials!r}", hint="a whole number from 1")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise ConfigurationError(f"tuning: `seconds` is {seconds!r}", hint="a number above 0")
        plan = cls(
            search=search,
            space=tuple(Dimension.from_mapping(str(name), told) for name, told in space.items()),
            trials=trials,
            seconds=float(seconds),
        )
        if search == "grid":
            size = math.prod(len(dimension.points()) for dimension in plan.space)
            if size > trials:
                raise ConfigurationError(
                    f"tuning: the grid has {size:,} points, the budget is {trials} trials",
                    hint="widen the steps, raise `trials`, or search at random",
                )
        return plan


@dataclass(frozen=True)
class Trial:
    """One set of parameters that was tried; the loss is None where the trainer failed, with the reason."""

    number: int
    parameters: dict[str, Value]
    loss: float | None
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class Tuned:
    """The parameters of the least loss, and everything that was tried, in order."""

    parameters: dict[str, Value]
    loss: float
    trials: tuple[Trial, ...] = field(repr=False)


def tune(
    plan: TuningPlan,
    loss_of: Callable[[dict[str, Value]], float],
    *,
    seed: int = 0,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    now: Callable[[], float],
) -> Tuned:
    """Parameters with the least `loss_of(parameters)` within the plan's budget; `on_trial` hears of each when it ends.

    The same plan, seed and losses try the same parameters in the same order, as long as the trials and not the
    seconds end the search. A trial whose trainer raises a PerennialError, or whose loss is not finite, counts as
    failed, and the search goes on.
    Raises: ModelError if every trial failed, with the last reason.
    """
    ask, tell = _sampler(plan, seed)
    started, tried = now(), list[Trial]()
    while len(tried) < plan.trials and (not tried or now() - started < plan.seconds):
        asked = ask()
        if asked is None:
            break
        token, parameters = asked
        began = now()
        loss, failure = _tried(loss_of, parameters)
        tried.append(Trial(len(tried), parameters, loss, now() - began, failure))
        tell(token, loss)
        on_trial(tried[-1])
    found = [trial for trial in tried if trial.loss is not None]
    if not found:
        raise ModelError(
            f"tuning: all {len(tried)} trials failed; the last: {tried[-1].failure}", hint="narrow the space"
        )
    best = min(found, key=lambda trial: (trial.loss, trial.number))
    assert best.loss is not None
    return Tuned(parameters=best.parameters, loss=best.loss, trials=tuple(tried))


def _tried(loss_of: Callable[[dict[str, Value]], float], parameters: dict[str, Value]) -> tuple[float | None, str]:
    try:
        loss = float(loss_of(dict(parameters)))
    except PerennialError as error:
        return None, error.message
    return (loss, "") if math.isfinite(loss) else (None, f"the loss is {loss}")


def _sampler(
    plan: TuningPlan, seed: int
) -> tuple[Callable[[], tuple[Any, dict[str, Value]] | None], Callable[[Any, float | None], None]]:
    """Functions that give the next parameters (None when there are no more) and that hear of their loss."""
    if plan.search == "grid":
        points = itertools.product(*(dimension.points() for dimension in plan.space))
        names = [dimension.name for dimension in plan.space]
        grid = (dict(zip(names, point, strict=True)) for point in points)
        return lambda: next(((None, point) for point in grid), None), lambda token, loss: None

    import optuna  # deferred: .8 CPU s

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if plan.search == "random"
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(plan.trials // 3, 1)))
    )
    study = optuna.create_study(direction="minimize", sampler=sampler)

    def ask() -> tuple[optuna.Trial, dict[str, Value]]:
        trial = study.ask()
        return trial, {dimension.name: dimension.suggest(trial) for dimension in plan.space}

    def tell(trial: Any, loss: float | None) -> None:
        study.tell(trial, loss, state=None if loss is not None else optuna.trial.TrialState.FAIL)

    return ask, tell
