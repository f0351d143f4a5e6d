"""`perennial features list | diff`."""

from typing import Annotated

import typer

from platform_assets.cli_options import AsJson, State, say, settings_at

features = typer.Typer(no_args_is_help=True, help="Feature values, online and offline.")


@features.callback()
def features_group() -> None:
    """Feature values, online and offline."""


@features.command("list")
def features_list(
    word: Annotated[str | None, typer.Argument(help="Only those with this word in name or meaning.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the features that a model can read, with their meanings."""
    from platform_assets.answers import features_with

    say(*features_with(word), as_json)


@features.command("diff")
def features_diff(
    entity: Annotated[str, typer.Argument(help="Series, such as store_01/sku_0002")],
    model: Annotated[str | None, typer.Option(help="Whose service; the first with a champion if left out.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Target day, such as 2025-12-31; the next one if left out.")
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print one entity's values online, offline now, and in the champion's training set, side by side."""
    from platform_assets.entity_diff import diff_entity, target_day

    settings = settings_at(state, as_json=as_json)
    say(*diff_entity(settings, entity, model, target_day(target)), as_json)
