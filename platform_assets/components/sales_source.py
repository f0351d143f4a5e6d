"""`SalesSource`: one folder in, one source of sales out: lines, quarantine, sales, plans."""

import ast
import dataclasses
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field

from platform_assets.components.source_scaffolding import SalesSourceScaffolder
from platform_assets.errors import ConfigurationError
from platform_assets.science.source import PLAN_ROLES, ROLES, Rules, Source
from platform_assets.science.timezones import known_timezone

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
KINDS = ("text", "integer", "number", "boolean", "date", "instant", "local_time")
RULES = tuple(field.name for field in dataclasses.fields(Rules))


def source_folder(context: Any) -> Path:
    """The source's folder, whose name is the source's name."""
    return context.path if context.path.is_dir() else context.path.parent


def _roles(known: tuple[str, ...]) -> Any:
    def check(context: dg.ResolutionContext, value: dict[str, str] | None) -> dict[str, str]:
        if unknown := sorted(set(value or {}) - set(known)):
            raise ValueError(f"unknown roles {unknown}; known: {', '.join(known)}")
        return dict(value or {})

    return check


def _extra(context: dg.ResolutionContext | None, value: dict[str, str] | None) -> dict[str, str]:
    if unknown := sorted({kind for kind in (value or {}).values() if kind not in KINDS}):
        raise ValueError(f"unknown kinds {unknown}; known: {', '.join(KINDS)}")
    return dict(value or {})


def _rules(context: dg.ResolutionContext, value: dict[str, Any] | None) -> dict[str, Any]:
    rules_of(value or {})
    return dict(value or {})


def _timezone(context: dg.ResolutionContext | None, value: str) -> str:
    return known_timezone(value)


def _day(context: dg.ResolutionContext, value: date | None) -> date | None:
    return value


def _code(context: dg.ResolutionContext, value: str | None) -> str | None:
    """Checked by parsing, never by importing: pandera must not enter the code server."""
    if value is None:
        return None
    folder = source_folder(dg.ComponentLoadContext.from_resolution_context(context))
    stem, _, name = value.partition(".")
    file = folder / f"{stem}.py"
    if not file.is_file():
        raise ValueError(f"{value!r}: no file {stem}.py in {folder.name}/")
    defined = [
        node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    if name and name not in defined:
        raise ValueError(f"{value!r}: {stem}.py defines {defined or 'nothing'}, not {name!r}")
    return value


def rules_of(stated: dict[str, Any]) -> Rules:
    """Rules from the values of defs.yaml.

    Raises: ValueError for an unknown rule or value.
    """
    import re

    if unknown := sorted(set(stated) - set(RULES)):
        raise ValueError(f"unknown rules {unknown}; known: {', '.join(RULES)}")
    for rule, known in {"duplicates": ("ask", "set_aside", "keep"), "zero_prices": ("set_aside", "keep")}.items():
        if stated.get(rule, "keep") not in known:
            raise ValueError(f"{rule}: {stated[rule]!r}; known: {', '.join(known)}")
    values = dict(stated)
    for column, pattern in dict(values.get("goods", {})).items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"goods: {column}: {pattern!r} is no regular expression: {error}") from error
    if "normalise" in values:
        values["normalise"] = tuple(values["normalise"])
    if "plausible" in values:
        bounds = {column: tuple(map(float, pair)) for column, pair in values["plausible"].items()}
        if wrong := [column for column, pair in bounds.items() if len(pair) != 2 or pair[0] > pair[1]]:
            raise ValueError(f"plausible: {wrong}: give two numbers, the lower first")
        values["plausible"] = bounds
    return Rules(**values)


RoleMap = Annotated[dict[str, str], dg.Resolver(_roles(ROLES), model_field_type=dict[str, str])]
PlanMap = Annotated[dict[str, str], dg.Resolver(_roles(PLAN_ROLES), model_field_type=dict[str, str] | None)]
ExtraMap = Annotated[dict[str, str], dg.Resolver(_extra, model_field_type=dict[str, str] | None)]
RuleMap = Annotated[dict[str, Any], dg.Resolver(_rules, model_field_type=dict[str, Any] | None)]
Day = Annotated[date | None, dg.Resolver(_day, model_field_type=date | None)]
Code = Annotated[str | None, dg.Resolver(_code, model_field_type=str | None)]


@dg.scaffold_with(SalesSourceScaffolder)
class SalesSource(dg.Component, dg.Model, dg.Resolvable):
    """A source of sales as assets: its lines as they came, the lines set aside, `sales` and `plans`.

    The folder's name is the source's name. Beside this file may stand `schema.py` (a pandera contract of the lines; without it
    the columns named here are the contract) and `adapter.py` (what YAML cannot say).
    """

    title: str = Field(description="Name shown in the UI and in reports.")
    description: str = Field(default="", description="What a line is, where it comes from, its licence.")
    owners: list[str] = Field(default_factory=list, description="Owners, such as team:retail.")
    series: list[str] = Field(min_length=1, description="Columns of a line that make a series, such as [store, sku].")
    columns: RoleMap = Field(
        description="Role to column: `units` and either `sold_on` (date) or `sold_at` (time); optionally price, is_promoted, stock, "
        "lines and tickets (counts) or ticket (what tells one receipt from another)."
    )
    extra: ExtraMap = Field(default_factory=dict, description="Further columns, name to kind, that only land.")
    plans: PlanMap = Field(default_factory=dict, description="Columns of `<history>.plans.parquet`, role to column.")
    timezone: Annotated[str, dg.Resolver(_timezone, model_field_type=str)] = Field(description="Zone of the local day.")
    frequency: Literal["day", "week"] = Field(default="day", description="Length of a period.")
    dated: Literal["start", "end", "day"] = Field(
        default="start", description="Weekly: a line's date is its week's first day, its last day, or any day in it."
    )
    week_starts_on: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = Field(
        default="monday", description="Weekly and `dated: day`: first day of a week."
    )
    naive_times: Literal["refuse", "local"] = Field(default="refuse", description="What a time without a zone means.")
    date_format: str | None = Field(
        default=None, description="Dates of text cells, such as %d/%m/%Y; ISO 8601 where left out."
    )
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="Separator of CSV cells.")
    rules: RuleMap = Field(
        default_factory=dict, description="How lines that are no plain sales are handled; see Rules."
    )
    starts_on: Day = Field(default=None, description="No line may be older.")
    ends_on: Day = Field(default=None, description="No line may be younger.")
    ended: bool = Field(default=False, description="No more lines will come: it is complete, not stale.")
    on_time_hours: int = Field(
        default=36,
        ge=0,
        description="From the end of a period: a first delivery within them counts as known at that end, a later one when it "
        "came. More for a source whose days come by the week.",
    )
    country: str | None = Field(default=None, description="ISO country of public holidays.")
    subdivision: str | None = Field(default=None, description="ISO subdivision of public holidays.")
    overstock_cost: float = Field(default=0.1, ge=0, description="Cost of a unit left over, as a share of its price.")
    stockout_cost: float = Field(
        default=0.3, ge=0, description="Cost of a unit that was missing, as a share of its price."
    )
    contract: Code = Field(default=None, description="pandera DataFrameModel of the lines, such as schema.Lines.")
    adapter: Code = Field(
        default=None, description="Module of this folder with set_aside() and sold_at(), such as adapter."
    )
    simulate: dict[str, Any] = Field(default_factory=dict, description="Size and seed of the simulated world.")

    def facts(self) -> Source:
        """The active source as plain values; what models ask of it."""
        from platform_assets.components.source_window import active_window

        name = active_window().source
        return self.source(name, Path(__file__).parents[1] / "defs" / "data" / name)

    def source(self, name: str, folder: Path) -> Source:
        """The source of this folder.

        Raises: ConfigurationError where its values contradict each other.
        """
        same = {field.name for field in dataclasses.fields(Source)} & set(type(self).model_fields) - {
            "rules",
            "series",
            "week_starts_on",
        }
        try:
            rules = rules_of(self.rules)
            _timezone(None, self.timezone)
            _extra(None, self.extra)
        except ValueError as error:
            raise ConfigurationError(f"source {name}: {error}") from error
        return Source(
            **{field: getattr(self, field) for field in same},
            name=name,
            folder=str(folder),
            series=tuple(self.series),
            rules=rules,
            week_starts_on=WEEKDAYS.index(self.week_starts_on),
            is_ended=self.ended,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        from platform_assets.components.source_assets import source_definitions
        from platform_assets.components.source_window import active_window

        folder = source_folder(context)
        window = active_window()
        if window.source != folder.name:
            raise ConfigurationError(f"defs/data/{folder.name} is not the active source, {window.source} is")
        return source_definitions(self.source(folder.name, folder), self, window)
