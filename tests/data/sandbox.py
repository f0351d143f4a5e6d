"""One source in an empty state directory, run in process: what tests of the data assets share."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml

from platform_assets import names
from platform_assets.components.sales_source import SalesSource
from platform_assets.components.source_assets import source_definitions
from platform_assets.components.source_choice import date_range, source_facts
from platform_assets.components.source_window import active_window, set_window
from platform_assets.science.source import Source
from resources.landing import Landing
from resources.ledger import Ledger
from resources.table_io import DeltaIOManager
from resources.tables import Tables

SOURCES = Path(__file__).parents[2] / "platform_assets" / "defs" / "data"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Clock:
    """The platform's now, moved by hand; its wall clock may be `ahead`."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime(2026, 1, 1, tzinfo=UTC)
        self.ahead = timedelta()

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return datetime.now(tz=UTC) + self.ahead


class Sandbox:
    """A source's assets over a state directory."""

    def __init__(
        self,
        state: Path,
        source: str,
        data: Path | None = None,
        *,
        folder: Path | None = None,
        window: tuple[date, date] | None = None,
        simulate: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder or SOURCES / source
        about = SalesSource.model_validate(yaml.safe_load((self.folder / "defs.yaml").read_text())["attributes"])
        about = about.model_copy(update={"on_time_hours": 36} | ({} if simulate is None else {"simulate": simulate}))
        self.source: Source = about.source(source, self.folder)
        self.clock, self.ledger, self.tables = (
            Clock(),
            Ledger(f"sqlite:///{state / 'ledger.db'}"),
            Tables(state / "tables"),
        )
        self.landing = Landing(data=None if data is None else str(data), folder=str(state))
        set_window(source, *(window or date_range(data, self.source)))
        plain = dg.ResourceDefinition.hardcoded_resource
        self.resources: dict[str, Any] = {
            "tables": plain(self.tables),
            "ledger": plain(self.ledger),
            "clock": plain(self.clock),
            "source": plain(self.source),
            "io_manager": dg.IOManagerDefinition.hardcoded_io_manager(DeltaIOManager(self.tables)),
            "landing": self.landing,
        }
        self.definitions = dg.Definitions.merge(
            source_definitions(self.source, about, active_window()), dg.Definitions(resources=self.resources)
        )

    def run(
        self, *months: str, tags: dict[str, str] | None = None, only: list[list[str]] | None = None, fails: bool = False
    ) -> dg.ExecuteInProcessResult:
        """Materialize the months (all where none is named) in one run."""
        keys = list(months) or active_window().partitions.get_partition_keys()
        span = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        job = self.definitions.resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                instance=instance,
                asset_selection=None if only is None else [dg.AssetKey(key) for key in only],
                tags={**span, **(tags or {})},
                run_config=QUIET,
                raise_on_error=not fails,
            )

    def table(self, name: str) -> pl.DataFrame:
        return self.tables.scan(name).collect()

    @property
    def lines(self) -> pl.DataFrame:
        return self.table(names.table_name(names.lines_key(self.source.name))).sort("day_on", "file_digest", "file_row")

    @property
    def quarantine(self) -> pl.DataFrame:
        return self.table(names.table_name(names.quarantine_key(self.source.name))).sort(
            "day_on", "file_digest", "file_row"
        )

    @property
    def sales(self) -> pl.DataFrame:
        return self.table(names.SALES).sort("period_on", "series_id", "known_at")

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def facts(source: str) -> Source:
    return source_facts(SOURCES / source)
