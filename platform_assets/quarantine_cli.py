"""`perennial quarantine add | list | lift`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from platform_assets.cli_options import AsJson, State, say, settings_at

quarantine = typer.Typer(
    no_args_is_help=True, help="Periods of a segment, such as a store, whose figures are not to be believed."
)

Segment = Annotated[str, typer.Argument(help="Such as store_03; `all` is the whole chain.")]
From = Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the ledger for good.")]


@quarantine.callback()
def quarantine_group() -> None:
    """Periods of a segment, such as a store, whose figures are not to be believed."""


@quarantine.command("add")
def add(
    segment: Segment,
    since: From,
    reason: Reason,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; goes on where left out.")
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Put SEGMENT's days under quarantine: unknown in sales, features and labels; nothing is trained until they are."""
    _put(segment, since, until, reason, state, lifts=False, as_json=as_json)


@quarantine.command("lift")
def lift(
    segment: Segment,
    since: From,
    reason: Reason,
    until: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; the last one under quarantine where left out."),
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Say that SEGMENT's values were right: they come back as a later revision, and are not found at fault again."""
    _put(segment, since, until, reason, state, lifts=True, as_json=as_json)


@quarantine.command("list")
def show(state: State = None, as_json: AsJson = False) -> None:
    """Print what is or was under quarantine: found, put there by hand, lifted, mended by another delivery."""
    from platform_assets.quarantining import listed

    say(*listed(settings_at(state, as_json=as_json)), as_json)


def _put(
    segment: str,
    since: datetime,
    until: datetime | None,
    reason: str,
    state: Path | None,
    *,
    lifts: bool,
    as_json: bool,
) -> None:
    from platform_assets.quarantining import put

    last_on = None if until is None else until.date()
    settings = settings_at(state, as_json=as_json)
    say(*put(settings, segment, since.date(), last_on, reason, lifts=lifts), as_json)
