"""What a source of sales says about itself, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from platform_assets.errors import ConfigurationError

# Roles that a source's columns can play; the first two groups are what a source must have.
QUANTITY_ROLES = ("units",)
TIME_ROLES = ("sold_on", "sold_at")
OPTIONAL_ROLES = ("price", "is_promoted", "stock", "lines", "tickets", "ticket")
# Words in the name of a series column that tells where something was sold.
PLACES = (
    *(
        "store",
        "shop",
        "branch",
        "outlet",
        "location",
        "site",
        "region",
        "warehouse",
        "depot",
        "filiale",
        "markt",
        "standort",
    ),
    *("magasin", "boutique", "tienda", "sucursal", "negozio", "loja", "winkel"),
)
ROLES = (*QUANTITY_ROLES, *TIME_ROLES, *OPTIONAL_ROLES)
PLAN_ROLES = ("target_on", "announced_on", "planned_price", "is_planned_promotion")

Kind = Literal["text", "key", "integer", "number", "boolean", "date", "instant", "local_time"]


@dataclass(frozen=True)
class Rules:
    """How lines that are no plain sales are handled; each rule that sets lines aside is a reason in the quarantine table.

    `duplicates`: of lines equal in every column all but the first are set aside, or kept as sales of their own; `ask` sets them
    aside and refuses a file in which they are many, since only the source knows what they are.
    `goods`: column to a regular expression that its (normalised) values match where the line sells goods.
    `normalise`: columns whose values are trimmed and upper-cased before they name a series.
    `extreme_times`, `extreme_at_least`: a line is extreme where its units exceed both `extreme_at_least` and `extreme_times`
    the typical (geometric mean) line of its series in earlier periods, of which there must be ten lines.
    `plausible`: column to the bounds within which the median of a file must lie.
    `largest_share`: of lines set aside as broken, beyond which the file is stopped.
    `segment`: series column whose values, such as stores, are judged as wholes and set under quarantine alone; the first one
    named like a place where left out, none where it is "".
    """

    duplicates: Literal["ask", "set_aside", "keep"] = "ask"
    is_one_line_per_period: bool = False
    goods: Mapping[str, str] = field(default_factory=dict)
    normalise: tuple[str, ...] = ()
    zero_prices: Literal["set_aside", "keep"] = "set_aside"
    extreme_times: float = 1000.0
    extreme_at_least: float = 1000.0
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    largest_share: float = 0.2
    segment: str | None = None


@dataclass(frozen=True)
class Source:
    """One source: which column means what, when a period is known, and the facts that models ask for.

    `columns`: role to column name. `extra`: further columns of the lines that only land, name to kind.
    `dated`: with weekly periods, whether a line's date is its week's first day (`start`), last day (`end`) or any day in it (`day`).
    `naive_times`: what a time without a zone means; `local` reads it in `timezone`.
    `simulate`: size and seed of a simulated world, where the source needs no file.
    `overstock_cost`, `stockout_cost`: of one unit, as a share of its price.
    """

    name: str
    series: tuple[str, ...]
    columns: Mapping[str, str]
    timezone: str = "UTC"
    frequency: Literal["day", "week"] = "day"
    dated: Literal["start", "end", "day"] = "start"
    week_starts_on: int = 0  # Monday, as in datetime.weekday()
    naive_times: Literal["refuse", "local"] = "refuse"
    date_format: str | None = None
    delimiter: str = ","
    extra: Mapping[str, Kind] = field(default_factory=dict)
    plans: Mapping[str, str] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    starts_on: date | None = None
    ends_on: date | None = None
    is_ended: bool = False
    on_time_hours: int = 36  # from the end of a period, in which a first delivery still counts as known at that end
    country: str | None = None
    subdivision: str | None = None
    overstock_cost: float = 0.1
    stockout_cost: float = 0.3
    title: str = ""
    simulate: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    contract: str | None = None
    adapter: str | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigurationError(f"source {self.name}: {'; '.join(problems)}", hint="mend its defs.yaml")

    def _problems(self) -> "list[str]":
        found = []
        if unknown := sorted(set(self.columns) - set(ROLES)):
            found.append(f"columns: unknown roles {unknown}; known: {', '.join(ROLES)}")
        if "units" not in self.columns:
            found.append("columns: `units` is missing, the number sold")
        if len(set(self.columns) & set(TIME_ROLES)) != 1:
            found.append("columns: give either `sold_on` (a date) or `sold_at` (a time)")
        if {"tickets", "ticket"} <= set(self.columns):
            found.append("columns: `tickets` counts them and `ticket` names one; give one of the two")
        if not self.series:
            found.append("series: name at least one column, such as a product code")
        if self.rules.segment and self.rules.segment not in self.series:
            found.append(f"rules: segment {self.rules.segment!r} is no series column; known: {', '.join(self.series)}")
        if clash := sorted(set(self.series) & set(self.columns.values())):
            found.append(f"series: {clash} play another role too")
        if self.plans and (missing := {"target_on", "announced_on"} - set(self.plans)):
            found.append(f"plans: {sorted(missing)} missing; a plan that does not say when it was announced is a leak")
        if self.plans and (unknown := sorted(set(self.plans) - set(PLAN_ROLES))):
            found.append(f"plans: unknown roles {unknown}; known: {', '.join(PLAN_ROLES)}")
        if self.subdivision is not None and self.country is None:
            found.append("subdivision: give the `country` that it is a part of")
        if self.on_time_hours < 0:
            found.append(f"on_time_hours: {self.on_time_hours}, expected at least 0")
        if self.frequency == "day" and self.dated != "start":
            found.append("dated: only a weekly source can say `end` or `day`")
        return found

    @property
    def period_days(self) -> int:
        """Days of a period: 1 or 7."""
        return 7 if self.frequency == "week" else 1

    @property
    def segment_position(self) -> int | None:
        """Place among the series columns of the one that names a segment; None where the chain is the only one."""
        if self.rules.segment is not None:
            return self.series.index(self.rules.segment) if self.rules.segment else None
        named = [n for n, column in enumerate(self.series) if any(word in column.casefold() for word in PLACES)]
        return named[0] if named and len(self.series) > 1 else None

    @property
    def holidays(self) -> str | None:
        """Whose public holidays: an ISO 3166 code, with the subdivision where there is one."""
        return self.country if self.subdivision is None else f"{self.country}-{self.subdivision}"

    @property
    def has_prices(self) -> bool:
        return "price" in self.columns

    @property
    def has_plans(self) -> bool:
        return bool(self.plans)

    @property
    def when(self) -> str:
        """Column that says when a line was sold."""
        return self.columns.get("sold_at") or self.columns["sold_on"]

    def kinds(self) -> dict[str, Kind]:
        """Column to kind, of the columns that this source names; the contract of a source without a schema of its own."""
        role_kinds: dict[str, Kind] = {
            "units": "number",
            "price": "number",
            "stock": "number",
            "sold_on": "date",
            "sold_at": "local_time" if self.naive_times == "local" else "instant",
            "is_promoted": "boolean",
            "lines": "integer",
            "tickets": "integer",
            "ticket": "key",
        }
        named: dict[str, Kind] = dict.fromkeys(self.series, "key")
        named |= {column: role_kinds[role] for role, column in self.columns.items()}
        return named | dict(self.extra)
