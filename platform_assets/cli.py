"""`perennial`: the demo, and questions to a state directory."""

import shutil
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from platform_assets.cli_options import AsJson, State, say, settings_at
from platform_assets.complaints import complaint
from platform_assets.features_cli import features
from platform_assets.quarantine_cli import quarantine

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Data = Annotated[
    Path | None, typer.Option("--data", help="Parquet or CSV file of sales lines; simulated where left out.")
]
DemoState = Annotated[
    Path | None,
    typer.Option("--state", help="State directory; one of the source and file, below .state/, if left out."),
]
Source = Annotated[
    str | None, typer.Option("--source", help="Folder of defs/data; told from the file's schema where left out.")
]


@app.callback()
def perennial() -> None:
    """Keeps models current: from raw sales to a gated champion, and why."""


@app.command()
def demo(
    data: Data = None,
    source: Source = None,
    state: DemoState = None,
    lives_on: Annotated[
        bool, typer.Option("--story/--no-story", help="Simulated: go on for eight weeks, with a fault and a shock.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Run everything from raw lines to champions; a second run on the same data and code trains nothing.

    The simulated retailer then lives on for eight weeks that arrive one by one.
    """
    from platform_assets.process_memory import keep_little

    keep_little()
    from platform_assets import demo as main_job
    from platform_assets.final_screen import final_screen
    from platform_assets.locate import choose

    settings = choose(data=data, source=source, state=state)
    main_job.prepare_home(settings)
    told = sys.stderr if as_json else sys.stdout
    outcome = main_job.run(
        settings, lambda line: print(line, file=told, flush=True), lives_on=lives_on and data is None
    )
    answer, text = final_screen(settings, outcome)
    say(answer, text, as_json)


@app.command("demo-reset")
def demo_reset(data: Data = None, source: Source = None, state: DemoState = None) -> None:
    """Delete the state directory of a demo; a directory that no demo has made is left alone."""
    from platform_assets.locate import made

    folder = made(data=data, source=source, state=state)
    if folder is None:
        print("nothing to forget: no demo has made this state directory")
        return
    shutil.rmtree(folder)
    print(f"{folder}: deleted")


@app.command()
def dev(port: Annotated[int, typer.Option(help="Port on loopback.")] = 3000, state: State = None) -> None:
    """Open the Dagster UI and daemon on a state directory."""
    from platform_assets import demo as main_job
    from platform_assets.definitions import PROJECT, child_environment
    from platform_assets.locate import current
    from platform_assets.serving_ui import serve

    settings = current(state)
    home = main_job.prepare_home(settings)
    main_job.tidy(settings)
    print(f"starting Dagster on {settings.state}; the address follows (stop with Ctrl-C)", flush=True)
    dagster, url = Path(sys.executable).with_name("dagster"), f"http://127.0.0.1:{port}"
    arguments = ["dev", "-w", "workspace.yaml", "--host", "127.0.0.1", "--port", str(port)]
    code = serve(
        [str(dagster), *arguments],
        folder=PROJECT,
        environment=child_environment(settings, home),
        url=url,
        announce=lambda url: print(f"Dagster answers on {url} for {settings.state} (stop with Ctrl-C)", flush=True),
    )
    raise typer.Exit(code)


@app.command()
def why(model: str, state: State = None, as_json: AsJson = False) -> None:
    """Say which version of MODEL is champion, since when, from which data, and why."""
    from platform_assets.answers import why_champion

    say(*why_champion(settings_at(state, as_json=as_json), model), as_json)


@app.command()
def rollback(
    model: str,
    reason: Annotated[str, typer.Option(help="Recorded in the ledger.")] = "rolled back by hand",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Bring the previous champion of MODEL back."""
    from platform_assets.answers import roll_back

    say(*roll_back(settings_at(state, as_json=as_json), model, reason), as_json)


@app.command()
def retrain(
    model: str,
    reason: Annotated[str, typer.Option(help="Why; it stands on the run, the version and in the ledger.")],
    window_days: Annotated[
        int | None, typer.Option(min=0, help="Learn from so many last days; 0: all history.")
    ] = None,
    recent_days: Annotated[int | None, typer.Option(min=1, help="What --recent-density calls recent.")] = None,
    recent_density: Annotated[
        float | None, typer.Option(min=1, help="Sample the recent days so many times as densely.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="scratch, or champion: go on from its fits.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Ask for one retraining of MODEL; its sensor launches it when the daemon runs (make dev).

    What is left out of window, density and start is as in `train_on` of the model's retraining policy.
    """
    from platform_assets.answers import ask_for_retraining

    given = {"window_days": window_days, "recent_days": recent_days, "recent_density": recent_density}
    given["start"] = start
    train_on = {key: value for key, value in given.items() if value is not None}
    say(*ask_for_retraining(settings_at(state, as_json=as_json), model, reason, train_on), as_json)


@app.command()
def predict(
    model: str,
    series: Annotated[list[str] | None, typer.Option(help="Series to print; all where left out. Repeatable.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print the champion's last forecast with the stock level that the stated costs imply, and how old it is."""
    from platform_assets.answers import outdated, predictions_of

    settings = settings_at(state, as_json=as_json)
    frame, age, text = predictions_of(settings, model, series or [])
    if csv:
        print(*outdated(age), sep="\n", end="\n" if age["days_behind"] else "", file=sys.stderr)
        print(frame.write_csv(), end="")
    else:
        say({"model": model, "state": str(settings.state), **age, "predictions": frame.to_dicts()}, text, as_json)


@app.command()
def reproduce(
    model: str,
    version: Annotated[str | None, typer.Option(help="The champion's where left out.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Train a version of MODEL again from its manifest and compare hashes; also written MODEL@VERSION."""
    from platform_assets.reproduction import reproduce_version

    model, _, named = model.partition("@")
    answer, text = reproduce_version(
        settings_at(state, as_json=as_json),
        model,
        version or named or None,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    say(answer, text, as_json)
    if answer["verdict"] != "equal":
        raise typer.Exit(1)


@app.command()
def impact(
    column: Annotated[str, typer.Argument(help="TABLE.COLUMN, such as sales.price")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print what depends on a column, through features and models."""
    from platform_assets.answers import impact_of

    say(*impact_of(settings_at(state, as_json=as_json), column), as_json)


@app.command()
def drift(
    model: str,
    evidently: Annotated[
        Path | None, typer.Option("--evidently", metavar="FILE", help="Write Evidently's own report to this HTML file.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option("--evidently-python", help="An interpreter that has Evidently; this one if left out.")
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Say what the newest checks of the champion's inputs and results found; with --evidently compare as Evidently does."""
    from platform_assets.drift_answer import drift_of

    say(*drift_of(settings_at(state, as_json=as_json), model, evidently, python), as_json)


@app.command()
def backtest(
    model: str,
    policies: Annotated[
        str,
        typer.Option(
            help="Comma-separated: names, or YAML files with a `retraining` mapping; `never` is told beside them."
        ),
    ] = "weekly,monthly,quarterly,drift,error,own",
    weeks: Annotated[int, typer.Option(min=2, max=520, help="Weeks to replay, up to the last known one.")] = 26,
    rows: Annotated[
        int | None,
        typer.Option(min=1000, help="Most rows of a training; by default of the model's `backtest`, or 40,000."),
    ] = None,
    series: Annotated[int, typer.Option(min=1, help="Most series that judge, drawn by their names.")] = 1000,
    whole: Annotated[bool, typer.Option(help="Train as in production, not by the model's `backtest` recipe.")] = False,
    price: Annotated[float, typer.Option(min=0, help="Of a training, as a share of an average week's loss.")] = 0.02,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Training seeds that everything is done with.")] = 1,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Replay history under retraining policies: what each would have cost and gained, trained for real."""
    from platform_assets.backtesting import backtest_policies

    settings = settings_at(state, as_json=as_json)
    named = [name.strip() for name in policies.split(",") if name.strip()]
    answer, text = backtest_policies(
        settings,
        model,
        policies=named,
        weeks=weeks,
        rows=rows,
        price=price,
        seeds=seeds,
        series=series,
        is_whole=whole,
        echo=lambda line: print(line, file=sys.stderr, flush=True),
    )
    say(answer, text, as_json)


policy = typer.Typer(no_args_is_help=True, help="Retraining policies.")
app.add_typer(policy, name="policy")


@policy.callback()
def policy_group() -> None:
    """Retraining policies."""


@policy.command("explain")
def policy_explain(model: str, as_json: AsJson = False) -> None:
    """Say in words what retrains MODEL, and what keeps it from being retrained."""
    from platform_assets.explaining import explain_policy

    say(*explain_policy(model), as_json)


app.add_typer(features, name="features")
app.add_typer(quarantine, name="quarantine")


def main() -> None:
    """Entry point: an error made on purpose is a message, not a traceback."""
    # Dagster marks as beta or preview what this project has chosen with that known.
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview).*")
    warnings.filterwarnings("ignore", message="InitResourceContext.*is deprecated")  # dagster-mlflow's own calls
    warnings.filterwarnings("ignore", message="`parse_obj_as` is deprecated")  # and its own of pydantic's
    try:
        app()
    except Exception as error:
        told = complaint(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(1)
