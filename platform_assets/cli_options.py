"""What commands have in common: options, the state that they ask, and how they print."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from resources.deployment import Settings

State = Annotated[Path | None, typer.Option("--state", help="State directory; the last demo's where left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(answer: Any, text: str, as_json: bool) -> None:
    """The answer as JSON, or its text."""
    typer.echo(json.dumps(answer, indent=2, default=str) if as_json else text)


def settings_at(state: Path | None, *, as_json: bool) -> "Settings":
    """Settings of the state directory that a command acts on, which is told on stderr."""
    from platform_assets.locate import current

    settings = current(state)
    if not as_json:
        folder = os.path.relpath(settings.state)
        folder = str(settings.state) if folder.startswith("..") else folder
        typer.secho(f"state: {folder} (source {settings.source})", err=True, dim=True)
    return settings
