"""What the demo goes on with: weeks that arrive one by one, a feed that is wrong in two of them, prices that rise for good.

Nothing is staged but the world. Each week's files are laid where files arrive, and on a clock that stands at the week's end
the platform's own sensors ask for what is then run. What has been lived through is not lived again.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets import names
from platform_assets.answers import source_of
from platform_assets.components.model_assets import STAGES
from platform_assets.definitions import assemble
from resources.deployment import Settings
from resources.kept_files import ARRIVING_FOLDER
from sensors.retraining import cause_tag

if TYPE_CHECKING:
    from platform_assets.science.simulate import World
    from resources.ledger import Ledger

Echo = Callable[[str], None]
# Runs these assets of a job in this process, with tags: progress goes to the last.
Run = Callable[[dg.JobDefinition, dg.DagsterInstance, list[dg.AssetKey], dict[str, str], Echo], None]

WEEKS: Final = 8
WEEK: Final = timedelta(days=7)
FAULT_WEEKS: Final = (2, 3)  # one store's units are ten times too many
SHOCK_WEEK: Final = 4  # all prices rise by 30% in real terms, for good
EVENTS: Final = {  # what the world does, and the platform is not told
    FAULT_WEEKS[0]: "one store's feed is wrong by a factor of ten",
    FAULT_WEEKS[0] + 1: "it still is",
    SHOCK_WEEK: "all prices rise by 30% in real terms, for good",
}
ARRIVES_AT: Final = clock_time(4)  # UTC: files come in the early morning after a week's last day
WORTH: Final = "demo/story/worth"  # of the ledger
RANGE: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def weeks(settings: Settings) -> dict[int, tuple[date, date]]:
    """Number to first day and last day, from the day after the simulated history on, whatever has arrived since."""
    from resources.simulated_history import simulator_config

    end = simulator_config(source_of(settings).simulate).ends_on
    return {n: (end + (n - 1) * WEEK, end + n * WEEK - timedelta(days=1)) for n in range(1, WEEKS + 1)}


def at_its_beginning(settings: Settings) -> Settings:
    """The same with the days of the history alone, where what has arrived since are these weeks: they make nothing stale."""
    if settings.data is not None or not source_of(settings).simulate:
        return settings
    days = weeks(settings)
    if settings.window[1] not in {last_on for _, last_on in days.values()}:
        return settings
    return replace(settings, window=(settings.window[0], days[1][0] - timedelta(days=1)))


def completion(number: int) -> str:
    """Key under which the ledger keeps that a week has been lived through."""
    return f"demo/story/{number}"


def future(settings: Settings) -> "World":
    """The source's world, lived on for these weeks; up to them it is the history, byte for byte."""
    from platform_assets.science.simulate import simulate
    from resources.simulated_history import simulator_config

    days = weeks(settings)
    fault_on, healthy_on = days[FAULT_WEEKS[0]][0], days[FAULT_WEEKS[-1]][1] + timedelta(days=1)
    scenarios = [
        {"name": "fault", "onset_on": fault_on, "ends_on": healthy_on},
        {"name": "pricehike", "onset_on": days[SHOCK_WEEK][0]},
    ]
    config = simulator_config({**source_of(settings).simulate, "scenarios": scenarios})
    return simulate(replace(config, days=config.days + WEEKS * WEEK.days))


def live(settings: Settings, model: str, instance: dg.DagsterInstance, run: Run, echo: Echo) -> list[int]:
    """Each week that has not been lived through; returns their numbers."""
    ledger, lived = settings.ledger(), list[int]()
    todo = {n: days for n, days in weeks(settings).items() if ledger.completed(completion(n)) is None}
    world = future(settings) if todo else None
    for number, (first_on, last_on) in todo.items():
        assert world is not None
        echo(": ".join([f"week {number} of {WEEKS}, {first_on} to {last_on}", *filter(None, [EVENTS.get(number)])]))
        lay(settings, world, f"week_{number}", first_on, last_on)
        at = datetime.combine(last_on + timedelta(days=1), ARRIVES_AT, UTC)
        platform = Platform(replace(settings, now=at), model, instance, run, echo)
        pass_by(platform, first_on, last_on, is_last=number == WEEKS)
        ledger.complete(completion(number), {"first_on": str(first_on), "last_on": str(last_on)})
        lived.append(number)
    if ledger.completed(WORTH) is None:
        with without_dagsters_deprecations():
            ledger.complete(WORTH, reckoning(settings, model, instance))
    return lived


def reckoning(settings: Settings, model: str, instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the weeks came to: what retraining was worth, what the fault would have cost, what is still asked for, a plot."""
    from platform_assets.story_fault import cost_of_fault
    from platform_assets.story_worth import drawn, worth

    found, ledger = worth(settings, model), settings.ledger()
    asked = waiting(ledger, instance, model)
    answered = [cause for cause in ledger.causes(model) if [cause.trigger, cause.episode] not in asked]
    plotted = drawn(settings, model, found["weeks"], answered)
    return {**found, "fault": cost_of_fault(settings, model), "asked": asked, "plot": plotted}


def waiting(ledger: "Ledger", instance: dg.DagsterInstance, model: str) -> list[list[str]]:
    """Trigger and episode of each cause that no run has answered yet."""
    causes = [cause for cause in ledger.causes(model) if cause.status == "fired"]
    wanted = [{names.TAG_MODEL: model, names.TAG_CAUSE: cause_tag(cause.trigger, cause.episode)} for cause in causes]
    runs = [instance.get_runs_count(dg.RunsFilter(tags=tags)) for tags in wanted]
    return [[cause.trigger, cause.episode] for cause, count in zip(causes, runs, strict=True) if count == 0]


def lay(settings: Settings, world: "World", name: str, first_on: date, last_on: date) -> None:
    """These days' lines and plans, laid where files arrive."""
    from platform_assets.science.simulate.world import arrivals

    folder, week = settings.state / ARRIVING_FOLDER, arrivals(world, first_on, last_on + timedelta(days=1))
    folder.mkdir(exist_ok=True)
    for file, rows in ((f"{name}.plans.parquet", week.plans), (f"{name}.parquet", week.lines)):
        hidden = folder / f".{file}"
        rows.write_parquet(hidden)
        settled = hidden.stat().st_mtime - 60
        os.utime(hidden, (settled, settled))  # it is whole: the sensor need not wait for it to settle
        hidden.replace(folder / file)


@contextmanager
def without_dagsters_deprecations() -> Iterator[None]:
    """Dagster's own use of what pydantic deprecates, wherever it reads YAML, is no news to who reads the weeks.

    Feast, which has been imported by now, puts a filter for every deprecation before those that the command has set.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`parse_obj_as` is deprecated")
        yield


class Platform:
    """The graph and the sensors at one instant, run in this process."""

    def __init__(self, settings: Settings, model: str, instance: dg.DagsterInstance, run: Run, echo: Echo) -> None:
        self.settings, self.model, self.instance, self.echo = settings, model, instance, echo
        with without_dagsters_deprecations():
            graph = assemble(settings)
        self.resources = dict(graph.resources or {})
        self.repository = graph.get_repository_def()
        self.job = graph.resolve_implicit_global_asset_job_def()
        self._run = run

    def requests(self, sensor: str) -> list[dg.RunRequest]:
        """What a sensor asks for now."""
        context = dg.build_sensor_context(
            instance=self.instance, repository_def=self.repository, resources=self.resources, sensor_name=sensor
        )
        tick = self.repository.get_sensor_def(sensor).evaluate_tick(context)
        if tick.skip_message:
            self.echo(f"    {sensor}: {tick.skip_message}")
        return list(tick.run_requests or [])

    def run(self, keys: list[dg.AssetKey], tags: dict[str, str], echo: Echo = lambda line: None) -> None:
        """These assets, in one run."""
        self._run(self.job, self.instance, keys, tags, echo)

    def keys(self, group: str) -> list[dg.AssetKey]:
        """Assets whose key begins so."""
        return [key for key in sorted(self.job.asset_layer.executable_asset_keys) if key.path[0] == group]

    def stages(self, *stages: str) -> list[dg.AssetKey]:
        """Stages of the model's life."""
        return [dg.AssetKey(names.model_key(self.model, stage)) for stage in stages]


def pass_by(platform: Platform, first_on: date, last_on: date, *, is_last: bool = False) -> None:
    """One week: its files land, what reads them follows, the champion is watched, and what its policy asks for is run.

    What it asks for at the end of the last week changes nothing of these weeks: the claim stands in the ledger, and the
    daemon, when it is started, finds it without a run and asks for one.
    """
    began = time.monotonic()
    for request in platform.requests("arrival_sensor"):
        platform.run(list(request.asset_selection or []), dict(request.tags))
    months = dict(zip(RANGE, (str(day.replace(day=1)) for day in (first_on, last_on)), strict=True))
    moved = {names.TAG_REASON: "an upstream has moved"}
    platform.run(platform.keys(names.GROUP_FEATURES), {**months, **moved})
    told = ["performance"] if is_last else []  # a page that nothing reads but people, at the end of the weeks
    platform.run([*platform.keys("online"), *platform.stages("predictions", "monitoring", *told)], moved)
    platform.echo(f"    landed, features, online loads, forecasts, monitoring: {time.monotonic() - began:.0f} s")
    for request in platform.requests(f"{platform.model}_retraining"):
        platform.echo(f"    retraining{' asked for' if is_last else ''}: {request.tags[names.TAG_REASON]}")
        if is_last:
            continue
        platform.run(platform.stages(*STAGES[:5]), dict(request.tags), platform.echo)
        platform.run(platform.stages("monitoring"), moved)
