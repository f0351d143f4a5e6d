"""A simulated world as files, for a source that needs none of its own."""

import hashlib
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from platform_assets.science.simulate import SimulatorConfig


def simulated_history(stated: Mapping[str, Any], folder: Path) -> Path:
    """The world's file of lines, with its plans beside it; made on first use, the same from the same values."""
    from platform_assets.science.simulate import simulate

    config = simulator_config(stated)
    path = folder / f"world-{hashlib.sha256(repr(config).encode()).hexdigest()[:12]}.parquet"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        world = simulate(config)
        for frame, target in ((world.plans, path.with_name(f"{path.stem}.plans.parquet")), (world.lines, path)):
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            frame.write_parquet(temporary)
            # Renamed when the bytes are on the disk: after a kill there is the whole file, or none of that name.
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(target)
    return path


def simulator_config(stated: Mapping[str, Any]) -> "SimulatorConfig":
    """The simulated world, from plain values such as defs.yaml has.

    Raises: ConfigurationError for an unknown name.
    """
    from platform_assets.science.simulate import Scenario, SimulatorConfig

    values, days = dict(stated), ("onset_on", "ends_on")
    if "starts_on" in values:
        values["starts_on"] = date.fromisoformat(str(values["starts_on"]))
    try:
        values["scenarios"] = tuple(
            Scenario(one["name"], *(date.fromisoformat(str(one[key])) for key in days if one.get(key)))
            for one in values.get("scenarios", ())
        )
        return SimulatorConfig(**values)
    except TypeError as error:
        raise ConfigurationError(
            f"simulator: {error}", hint=f"known: {sorted(SimulatorConfig.__dataclass_fields__)}"
        ) from error
