"""`perennial drift MODEL --evidently`: Evidently's own report of the champion's inputs, where Evidently is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from platform_assets.answers import Answer, source_of, standing_champion
from platform_assets.errors import ConfigurationError, ModelError
from platform_assets.reproduction import spec_of
from resources.deployment import Settings, resources_for

if TYPE_CHECKING:
    import polars as pl

    from resources.ledger import Ledger
    from resources.ledger_rows import Promotion

RUNNER: Final = Path(__file__).with_name("evidently_run.py")
NOT_INSTALLED: Final = 3  # exit status of the runner
HINT: Final = "`.venv/bin/pip install -e '.[evidently]'`, or name an interpreter that has it with --evidently-python"


def evidently_page(settings: Settings, model: str, out: Path, python: Path | None) -> Answer:
    """Compares the champion's reference with the rows issued last, as the check `feature_drift` draws them."""
    import dagster as dg

    from platform_assets.components.input_checks import compared_rows

    spec = spec_of(model)
    with dg.build_asset_context(resources=resources_for(settings, source_of(settings))) as context:
        res: Any = context.resources
        champion = compared_champion(settings, res.ledger, model)
        reference, current = compared_rows(spec, res, res.registry.manifest(model, champion.version))
    write_page(reference, current, out, python)
    told = {"page": str(out), "reference rows": reference.height, "current rows": current.height}
    return told, f"{out}: {reference.height:,} rows of the reference against {current.height:,} issued last"


def compared_champion(settings: Settings, ledger: Ledger, model: str) -> Promotion:
    """The champion whose inputs and results are compared.

    Raises: ConfigurationError where there is none yet; TableError where what was trained was refused.
    """
    champion = standing_champion(ledger, model)
    if champion is None:
        raise ConfigurationError(
            f"{model} has no champion yet: nothing to compare", hint=f"run the demo on {settings.state}"
        )
    return champion


def write_page(reference: pl.DataFrame, current: pl.DataFrame, out: Path, python: Path | None = None) -> None:
    """Evidently's page, made by this interpreter or the named one; names and categories are escaped before it sees them.

    Raises: ConfigurationError where there is no such interpreter or it has no Evidently; ModelError where that fails.
    """
    from platform_assets.science.evidently_input import escaped

    interpreter = str(python or sys.executable)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        files = [f"{folder}/{name}.parquet" for name in ("reference", "current")]
        for file, rows in zip(files, (reference, current), strict=True):
            escaped(rows).write_parquet(file)
        try:
            found = subprocess.run(
                [interpreter, "-I", str(RUNNER), *files, str(out.resolve())],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise ConfigurationError(f"{interpreter}: no interpreter: {error}", hint=HINT) from error
    if found.returncode == NOT_INSTALLED:
        raise ConfigurationError(f"{interpreter} has no Evidently", hint=HINT)
    if found.returncode or not out.exists():
        last = found.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ModelError(f"Evidently failed in {interpreter}: {last[0]}", hint="0.7.23 is known to work")
