"""New files in the landing folder: a run for each, until the ledger says that it stands in the tables."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus as Status
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from platform_assets import names, policies
from platform_assets.components.source_window import (
    ARRIVAL_TAG,
    DIGEST_TAG,
    RULES_TAG,
    active_window,
    arrival_completion,
)
from platform_assets.errors import ConfigurationError, DataError
from platform_assets.science.source import Source

KIND: Final = "arrival"  # of the decisions in the ledger
NO_MODEL: Final = "-"
CAUSE: Final = "arrival"  # value of the tag by which dagster.yaml runs one arrival at a time
SETTLED: Final = timedelta(seconds=5)  # a file that was written to more recently may still be growing
INTERVAL_SECONDS: Final = 30
RETRY_DELAY: Final = timedelta(minutes=1)  # before a file is asked for again, doubled each time
# Seconds. A killed local worker leaves its run STARTED, and no other arrival would run until the monitor ends it.
LONGEST_RUN: Final = 3600
UNFINISHED: Final = {Status.NOT_STARTED, Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING}
STATES: Final = ("new", "under way", "known", "refused", "waiting", "unsettled", "given up")
FINAL: Final = ("known", "refused")  # of these nothing is asked again, as long as the file and the rules stay


@dataclass
class Seen:
    """What is known of a file of one stamp: its content, what it holds, and what has become of it under which rules."""

    stamp: str
    digest: str = ""
    months: tuple[str, ...] = ()
    days: tuple[str, str] = ("", "")
    state: str = ""
    rules: str = ""


def arrival_sensor() -> dg.SensorDefinition:
    """Watches `<state>/landing` for Parquet and CSV files of the active source.

    A file is known by its SHA-256. It is done when the ledger has its completion, which is written after the tables; until
    then it is asked for again, a bounded number of times, and after that said in the ledger and in every tick. A file that
    cannot be read as this source's is refused at once; its contract is checked by the run. A refused file is asked for
    again when the contract or the code that refused it has changed.
    """
    window = active_window()
    lines, plans = _keys(window.source)

    @dg.sensor(
        name="arrival_sensor",
        asset_selection=dg.AssetSelection.assets(*lines, *plans),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"landing", "ledger", "clock", "source"},
        description="Asks for the months of each new file in the landing folder, until it stands in the tables.",
    )
    def arrival(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from resources.refusals import rules_digest

        resources: Any = context.resources
        tick = Tick(context, resources, rules_digest(resources.source)[:16])
        seen, kept = _seen(context.cursor), {}
        counts: dict[str, int] = dict.fromkeys(STATES, 0)
        said, waiting = [], resources.landing.kept.waiting()
        # What was accepted and never completed is asked for too, when it lies in the landing folder no more.
        for file in [*waiting, *resources.landing.kept.taken()]:
            about = seen.get(file.name)
            if about is None or about.stamp != file.stamp:
                about = Seen(file.stamp)
            state, answer = tick.look(file, about)
            counts[state] += not file.is_taken or state not in FINAL
            if state != "unsettled":
                about.state, about.rules = state, tick.rules
                kept[file.name] = about.__dict__
            if isinstance(answer, dg.RunRequest):
                yield answer
            elif answer:
                said.append(answer)
        context.update_cursor(json.dumps(kept))
        if not counts["new"]:
            told = ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "nothing to do"
            yield dg.SkipReason(
                f"{len(waiting)} files in {resources.landing.arriving}: {told}. {' '.join(said)}".strip()
            )

    return arrival


class Tick:
    """One look at the files that wait, the oldest first."""

    def __init__(self, context: dg.SensorEvaluationContext, resources: Any, rules: str) -> None:
        self.context, self.resources, self.rules = context, resources, rules
        self.source: Source = resources.source
        self.asked: set[str] = set()  # contents
        self.outstanding: list[tuple[bool, tuple[str, str]]] = []  # of older files: whether plans, first and last day

    def look(self, file: Any, about: Seen) -> tuple[str, dg.RunRequest | str | None]:
        """The file's state, and the run that it asks for or what is to be said; `about` learns what was read."""
        from resources.plan_files import is_plans

        if about.state in FINAL and about.rules == self.rules:
            return about.state, None
        now = self.resources.clock.wall_now()
        if not file.is_taken and now - file.modified_at < SETTLED:
            return "unsettled", None
        try:
            if settled := self._settled(file, about):
                return settled, None
        except DataError as error:
            # The history's fault is not this file's.
            return self._refuse(file, error) if error.file in (None, file.where) else ("waiting", error.message)
        except ConfigurationError as error:  # asked for again, when the graph has its months
            return "waiting", error.message
        mine = is_plans(file.name), about.days
        earlier = any(
            kind == mine[0] and days[0] <= mine[1][1] and mine[1][0] <= days[1] for kind, days in self.outstanding
        )
        state, answer = self._next(file, about, now)
        if state in {"new", "waiting", "under way"}:
            self.outstanding.append(mine)
        if state == "new" and earlier:  # else the older file, asked for again, would replace the newer one's days
            return "waiting", f"{file.name} waits for an older file of the same days."
        if state == "new":
            self.asked.add(about.digest)
        return state, answer

    def _settled(self, file: Any, about: Seen) -> str | None:
        """What has become of a file for good, under the rules that hold; its months and days otherwise."""
        from platform_assets.components.source_choice import arriving_months
        from resources.line_files import check_end
        from resources.refusals import is_refused, vouched

        content = None
        if not about.digest:
            content = self.resources.landing.kept.read(file.where)
            about.digest = content.digest
        if self._is_done(about.digest):
            return "known"
        if about.digest in self.asked:
            return "under way"
        kept = self.resources.landing.kept
        if is_refused(self.resources.ledger, self.source, about.digest, vouched(file.where, kept)):
            return "refused"
        if not about.months or about.rules != self.rules:
            content = content or kept.read(file.where)
            if not file.is_taken:
                check_end(content, kept.manifest(file.where))
            months, days = arriving_months(content, self.source, active_window())
            about.months, about.days = tuple(months), (days[0].isoformat(), days[1].isoformat())
        return None

    def _is_done(self, digest: str) -> bool:
        done = self.resources.ledger.completed(arrival_completion(self.source.name, digest)) is not None
        return done or self.resources.landing.is_history(digest, self.source)

    def _refuse(self, file: Any, error: DataError) -> tuple[str, str]:
        from resources.refusals import record_refusal

        landing, now = self.resources.landing, self.resources.clock.wall_now()
        record_refusal(self.resources.ledger, self.source, file.where, error, now=now, kept=landing.kept)
        return "refused", error.message

    def _next(self, file: Any, about: Seen, now: datetime) -> tuple[str, dg.RunRequest | str | None]:
        """What a file that is not done needs now: a run, its repetition, or a person."""
        found = self.context.instance.get_run_records(dg.RunsFilter(tags={DIGEST_TAG: about.digest}))
        if any(entry.dagster_run.status in UNFINISHED for entry in found):
            return "under way", None
        # A file that is laid again, and other rules, begin anew.
        tried = [
            entry
            for entry in found
            if entry.dagster_run.tags.get(RULES_TAG) == self.rules and entry.create_timestamp >= file.modified_at
        ]
        if len(tried) > policies.RUN_RETRIES:
            return "given up", self._give_up(file, about, tried[0].dagster_run.run_id, len(tried))
        if tried:
            ended_at = datetime.fromtimestamp(tried[0].end_time or tried[0].update_timestamp.timestamp(), UTC)
            delay = RETRY_DELAY * 2 ** (len(tried) - 1)
            if now - ended_at < delay:
                return (
                    "waiting",
                    f"{file.name}: run {len(tried)} ended at {ended_at:%H:%M:%S} without it; again {delay} later.",
                )
        return "new", self._request(file, about, attempt=len(found))

    def _give_up(self, file: Any, about: Seen, run_id: str, runs: int) -> str:
        said = (
            f"{file.name}: {runs} runs have ended without it, and it stands in no table. Mend what the last of them ({run_id}) "
            "says, then lay the file again (touch it)."
        )
        self.context.log.error(said)
        kept = self.resources.ledger.decisions(NO_MODEL, kind=KIND)
        if not any(decision.run_id == run_id for decision in kept):
            self.resources.ledger.record_decision(
                KIND,
                NO_MODEL,
                "given up",
                reasons=[said],
                evidence={"source": self.source.name, "file": file.name, "sha256": about.digest, "runs": runs},
                at=self.resources.clock.wall_now(),
                run_id=run_id,
            )
        return said

    def _request(self, file: Any, about: Seen, *, attempt: int) -> dg.RunRequest:
        from resources.plan_files import is_plans

        first, last = about.months[0], about.months[-1]
        tags = {
            ARRIVAL_TAG: file.where,
            DIGEST_TAG: about.digest,
            RULES_TAG: self.rules,
            names.TAG_REASON: f"{file.name} arrived: {first} to {last}" + (f", run {attempt + 1}" if attempt else ""),
            names.TAG_CAUSE: CAUSE,
            MAX_RUNTIME_SECONDS_TAG: str(LONGEST_RUN),
        }
        lines, plans = _keys(self.source.name)
        wanted: dict[str, Any] = {
            "run_key": f"arrival-{about.digest[:16]}" + (f"/retry-{attempt}" if attempt else ""),
            "asset_selection": plans if is_plans(file.name) else lines,
        }
        if first == last:
            return dg.RunRequest(**wanted, partition_key=first, tags=tags)
        span = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return dg.RunRequest(**wanted, tags={**tags, **span})


def _keys(source: str) -> tuple[list[dg.AssetKey], list[dg.AssetKey]]:
    """What a file of lines moves, and what one of plans does."""
    lines = [names.lines_key(source), names.quarantine_key(source), [names.SALES]]
    return [dg.AssetKey(key) for key in lines], [dg.AssetKey([names.PLANS])]


def _seen(cursor: str | None) -> dict[str, Seen]:
    """Files of the last tick by name; none of a cursor that is not ours."""
    try:
        return {name: Seen(**about) for name, about in json.loads(cursor or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}
