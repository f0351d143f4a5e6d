"""The fits of the champion that a training goes on from."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.components.judged_window import champion_manifest
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.training_choice import Drawn
from platform_assets.errors import ConfigurationError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from platform_assets.science.fitting import FitSettings, FittedModel
    from platform_assets.science.manifest import Began, Kind


def begin(
    spec: ModelSpec, res: Any, how: Drawn, cuts: Mapping[Kind, datetime], settings: FitSettings
) -> tuple[dict[Kind, Began], str]:
    """From which fits of the champion the two fits with these cuts go on, and how that is told.

    Raises: ConfigurationError where the trainer cannot go on from anything.
    """
    from platform_assets.science.warm_start import began
    from resources.provenance import code_of

    if how.train_on.start != "champion":
        return {}, "nothing"
    trainer = importlib.import_module(spec.module)
    check_goes_on(spec.name, vars(trainer).get("DEFAULTS"))
    standing, champion = champion_manifest(spec, res)
    if standing is None or champion is None:
        return {}, "nothing: there is no champion yet"
    assert trainer.__file__ is not None
    recipe = {
        "features": settings.features,
        "label": settings.label,
        "outputs": settings.outputs,
        "levels": settings.levels,
        "parameters": dict(settings.parameters),
        "code.trainer_sha256": code_of(Path(trainer.__file__)).trainer_sha256,
    }
    found, why_not = began(champion, standing.version, cuts, recipe, how.masks)
    if why_not:
        return {}, f"nothing: {why_not}"
    return found, f"version {standing.version}: " + ", ".join(
        f"its {one.fit} fit for the {kind} one" for kind, one in found.items()
    )


def check_goes_on(model: str, parameters: Any) -> None:
    """Raises: ConfigurationError unless the trainer's parameters, with which it declares itself, say how far to go on."""
    from platform_assets.science.warm_start import FURTHER

    if FURTHER not in (parameters or ()):
        raise ConfigurationError(
            f"model {model}: retraining: `start: champion`, but its trainer cannot go on from a model: its DEFAULTS name no `{FURTHER}`",
            hint="leave `start` out, or use a trainer that reads `settings.start`, as that of demand does",
        )


def start_of(registry: Any, model: str, one: Began | None) -> FittedModel | None:
    """The fit that another went on from, None for none.

    Raises: RegistryError where its version is no more, or holds other weights.
    """
    from platform_assets.science.formats import weights_hash

    if one is None:
        return None
    try:
        fitted = registry.load(model, one.version, one.fit)
    except RegistryError as gone:
        raise RegistryError(
            f"{model}: it went on from the {one.fit} fit of version {one.version}, which cannot be had: {gone.message}",
            hint="without that version it cannot be trained again; bring the registry's back-up back",
        ) from gone
    if (found := weights_hash(fitted.files())) != one.weights_sha256:
        raise RegistryError(
            f"{model}: it went on from the {one.fit} fit of version {one.version} with weights {one.weights_sha256[:12]}, found {found[:12]}"
        )
    return fitted
