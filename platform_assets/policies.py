"""The one place for policies: retries, automation, freshness and partitions.

A training set has no condition: the retraining policy of its model asks for it (`science/retraining.py`), so that every
training has a reason.
"""

import sys
import warnings
from datetime import date, timedelta
from typing import Final

import dagster as dg
from dagster import AutomationCondition as AC
from dagster._time import get_current_datetime

from platform_assets.errors import ConfigurationError, DataError, ModelError, PointInTimeError

# --- Retries ---------------------------------------------------------------------------------------------------------

# What stays as it is until a person changes a file, a defs.yaml or code.
LASTING: Final = (ConfigurationError, DataError, PointInTimeError, ModelError)


class WhereItHelps(dg.RetryPolicy):
    """Retries, but not of an error that lasts: that ends its step at the first attempt, as a failure with the error's own text.

    Dagster asks for the delay while it handles the error, of a step's body and of its I/O manager alike.
    """

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds to wait before the next attempt.

        Raises: dagster.Failure in the place of an error that lasts.
        """
        error = sys.exc_info()[1]
        if isinstance(error, LASTING):
            raise dg.Failure(str(error), allow_retries=False) from error
        return super().calculate_delay(attempt_num)


# Storage and registries answer again within seconds, or a person must look: about 2 s, then 4 s.
RETRY_IO: Final = WhereItHelps(max_retries=2, delay=2.0, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

# Runs after the first one for one cause of a retraining, or for one file that arrived; their sensors ask for them.
RUN_RETRIES: Final = 2

# --- Automation ------------------------------------------------------------------------------------------------------

# Only what has happened: beside an upstream that is merely requested on this tick, this asset would read the old rows.
_UPSTREAM_MOVED: Final = AC.any_deps_match(
    (AC.newly_updated() & ~AC.executed_with_root_target()).with_label("updated_by_another_run")
).with_label("upstream_moved")

# `since_last_handled` forgets an update that lands on the tick after a request; here it outlives that tick's reset.
_HANDLED: Final = (
    ((AC.newly_requested() | AC.newly_updated()) & ~_UPSTREAM_MOVED) | AC.initial_evaluation()
).with_label("handled")

# Of direct upstreams. Not `all_deps_blocking_checks_passed`: a check over a range of partitions records one evaluation,
# and that condition would then never be true.
_BLOCKED: Final = AC.any_deps_match(AC.any_checks_match(AC.check_failed(), blocking_only=True)).with_label(
    "a_blocking_check_failed"
)

# Features, online loads, predictions, monitoring and reports: once after every update of an upstream, when no
# upstream is being computed and none has failed a blocking check. A failed run is not asked for again by this.
WHEN_UPSTREAM_MOVES: Final = (
    _UPSTREAM_MOVED.since(_HANDLED) & ~AC.any_deps_in_progress() & ~AC.in_progress() & ~_BLOCKED
).with_label("when_upstream_moves")

# --- Freshness -------------------------------------------------------------------------------------------------------

ARRIVAL_SLACK: Final = timedelta(hours=9)  # from the end of a period to its lines' arrival and the runs that follow

# What every arrival moves. Plans and the views that read them are announced without a rhythm, and a training set has its
# retraining policy: neither is stale for its age.
MOVED_BY_ARRIVALS: Final = (
    'key:"*/lines" or key:"sales" or '
    '(key:"sales"+ and (key:"features/*" or key:"online/*" or key:"*/predictions" or key:"*/monitoring" or key:"*/performance"))'
)


def freshness(period_days: int, *, is_ended: bool = False) -> dg.FreshnessPolicy | None:
    """Stale when one period's arrival is overdue (warning), and when two are (failure).

    None for a source that has ended: it is complete, not stale for ever. `period_days`: 1 for daily, 7 for weekly.
    """
    if is_ended:
        return None
    period = timedelta(days=period_days)
    return dg.FreshnessPolicy.time_window(warn_window=period + ARRIVAL_SLACK, fail_window=2 * period + ARRIVAL_SLACK)


def with_freshness(graph: dg.Definitions, period_days: int, *, is_ended: bool = False) -> dg.Definitions:
    """The graph, in which everything that moves with each arrival has the source's `freshness`."""
    policy = freshness(period_days, is_ended=is_ended)
    if policy is None:
        return graph
    assets = [asset for asset in graph.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    moved = dg.AssetSelection.from_string(MOVED_BY_ARRIVALS).resolve(assets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # a user can mend neither the call nor its state
        return graph.map_asset_specs(
            func=lambda spec: dg.apply_freshness_policy(spec, policy) if spec.key in moved else spec
        )


# --- Partitions ------------------------------------------------------------------------------------------------------


def months(
    starts_on: date, ends_on: date | None, timezone: str = "UTC", *, is_open: bool = False
) -> dg.MonthlyPartitionsDefinition:
    """Months from that of `starts_on` to that of `ends_on`, the last day; they begin at midnight in `timezone`.

    With `ends_on` they are fixed and do not depend on the wall clock, which may stand before the platform's now. Without
    it, or where the source `is_open`, they grow with the wall clock, in definitions that were loaded long ago too: to the
    month after the current one at least, since a day begins earlier in the east.
    """
    first = starts_on.replace(day=1)
    if ends_on is None:
        return dg.MonthlyPartitionsDefinition(start_date=first.isoformat(), timezone=timezone, end_offset=2)
    after = (ends_on.replace(day=1) + timedelta(days=32)).replace(day=1)
    if is_open:
        now = get_current_datetime()
        ahead = (after.year - now.year) * 12 + after.month - now.month
        return dg.MonthlyPartitionsDefinition(start_date=first.isoformat(), timezone=timezone, end_offset=max(2, ahead))
    count = (after.year - first.year) * 12 + after.month - first.month
    # The offset makes months exist that the wall clock has not ended; the end date caps it.
    return dg.MonthlyPartitionsDefinition(
        start_date=first.isoformat(), end_date=after.isoformat(), timezone=timezone, end_offset=count
    )
