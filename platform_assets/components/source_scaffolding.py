"""What `dg scaffold defs platform_assets.components.SalesSource data/<name>` writes."""

import json
import shlex
from pathlib import Path

import click
import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder
from pydantic import BaseModel, Field

from platform_assets.components.source_guesses import Guess, Named, guess
from platform_assets.errors import ConfigurationError, PerennialError
from platform_assets.science.timezones import known_timezone

TEMPLATE = """\
type: platform_assets.components.SalesSource
attributes:
  title: {title}
  description: Say what one line of the file is, where it comes from, and its licence.
  owners: [team:demand]

  timezone: {timezone}  # of the local day: day D is known at the local midnight that ends it
  frequency: {frequency}  # day or week
  {dated}dated: {date_is}  # weekly sums: a date is its week's first day (start) or last day (end); `day`: lines have days, add weeks up
  {naive}naive_times: local  # times without a zone are times of `timezone`; without this line such a file is refused
  {date_format}  # of dates in text; YYYY-MM-DD in a CSV needs none
  {delimiter}  # of CSV

  series: [{series}]  # columns that make a series; every series is forecast by itself
  columns:  # role: column of the file. `units` and one of sold_on (a date), sold_at (a time) must be there
{columns}
  extra: {extra}  # the file's other columns and their kind: text, integer, number, boolean, date, instant, local_time
  rules:  # what is no plain sale is set aside with its reason; these are the defaults
    # Of lines equal in every column all but the first are set aside: `set_aside`; or each is a sale of its own: `keep`. `ask` sets
    # them aside as well, and refuses a file in which they are many until you have chosen.
    duplicates: ask
    is_one_line_per_period: {sums}  # true for sums: two lines of one series and period contradict each other
    zero_prices: set_aside  # or keep
    normalise: []  # columns whose values are trimmed and upper-cased before they name a series
    # goods: {{product: '^\\d{{5}}$'}}  # a line whose value does not match sells no goods
    # plausible: {{price: [0.2, 50]}}  # a file whose median lies outside is in another unit: refused

  # country: DE  # public holidays
  overstock_cost: 0.1  # of one unit, as a share of its price
  stockout_cost: 0.3
  # ended: true  # no more lines will come
  # contract: schema.Lines  # a pandera DataFrameModel of the lines in schema.py beside this file
  # adapter: adapter  # set_aside(lines) and sold_at() in adapter.py, for what the above cannot say
"""


class SourceParameters(BaseModel):
    """Options of the scaffold command."""

    sample: str | None = Field(
        default=None, description="Parquet or CSV file of lines; its columns are filled in as far as guessed"
    )
    timezone: str = Field(default="UTC", description="zone of the local day, such as Europe/London")
    units: str | None = Field(default=None, description="the sample's column of what was sold; guessed if left out")
    date: str | None = Field(default=None, description="the sample's column of dates or times; guessed if left out")
    series: str | None = Field(
        default=None, description="the sample's columns that make a series, separated by commas; guessed if left out"
    )
    date_format: str | None = Field(
        default=None,
        description="how dates in text are written, such as %d.%m.%Y; guessed where one reading is possible",
    )


class SalesSourceScaffolder(Scaffolder[SourceParameters]):
    """Writes a commented defs.yaml, filled in from a sample file where one is named."""

    @classmethod
    def get_scaffold_params(cls) -> type[SourceParameters]:
        return SourceParameters

    def scaffold(self, request: dg.ScaffoldRequest[SourceParameters]) -> None:
        params = request.params
        series = [name.strip() for name in (params.series or "").split(",") if name.strip()]
        named = Named(units=params.units, date=params.date, series=series, date_format=params.date_format)
        try:
            timezone = _timezone(params.timezone)
            found = guess(Path(params.sample), named) if params.sample else Guess()
        except PerennialError as error:  # Dagster's command has made the folder, and would print a traceback
            if request.target_path.is_dir() and not any(request.target_path.iterdir()):
                request.target_path.rmdir()
            raise click.ClickException(str(error)) from error
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = fill(request.target_path.name, timezone, found)
        (request.target_path / "defs.yaml").write_text(text)
        if params.sample:
            where = request.target_path
            last = [
                f"Look at it in {where}/defs.yaml, and edit it there; to run this command once more, delete the folder first:",
                f"    rm -r {shlex.quote(str(where))}",
            ]
            click.echo("\n".join(["It takes", *found.told(), *last]))


def fill(name: str, timezone: str, found: Guess) -> str:
    """The text of defs.yaml."""
    columns = found.columns or {"units": "units", "sold_on": "date"}
    sample = {"price": "price", "is_promoted": "promotion", "stock": "stock", "ticket": "receipt"}
    lines = [f"    {role}: {_said(column)}" for role, column in columns.items()]
    lines += [f"    # {role}: {column}" for role, column in sample.items() if role not in columns]
    return TEMPLATE.format(
        title=_said(name.replace("_", " ").capitalize()),
        timezone=timezone,
        frequency="week" if found.is_weekly else "day",
        dated="" if found.is_weekly else "# ",
        date_is=found.dated,
        naive="" if found.has_naive_times else "# ",
        date_format=f'date_format: "{found.date_format}"' if found.date_format else '# date_format: "%d/%m/%Y"',
        delimiter=f"delimiter: {_said(found.delimiter)}" if found.delimiter != "," else '# delimiter: ";"',
        series=", ".join(map(_said, found.series or ["product"])),
        columns="\n".join(lines),
        extra="{" + ", ".join(f"{_said(column)}: {kind}" for column, kind in found.extra.items()) + "}",
        sums=str(found.is_one_line_per_period).lower(),
    )


def _timezone(name: str) -> str:
    try:
        return known_timezone(name)
    except ValueError as error:
        raise ConfigurationError(f"--timezone: {error}") from error


def _said(text: str) -> str:
    """A YAML scalar."""
    is_plain = text.replace("_", "").replace(" ", "").isalnum() and not text[0].isdigit() and text.strip() == text
    return (
        text
        if is_plain and text.lower() not in {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
        else json.dumps(text)
    )
