"""`perennial reproduce MODEL@VERSION`: train again from the manifest, and compare."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from platform_assets import names
from platform_assets.answers import check_model
from platform_assets.components.going_on import start_of
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.trained_model import TrainedModel
from platform_assets.components.training import fit_once, settings_of
from platform_assets.components.training_set import read_training_set
from platform_assets.definitions import component_tree
from platform_assets.errors import RegistryError
from resources.deployment import Settings
from resources.ledger import Ledger


def spec_of(model: str) -> ModelSpec:
    """The model's specification as its folder says today."""
    check_model(model)
    tree = component_tree()
    component = tree.load_component(Path("models") / model, TrainedModel)
    return component.spec(tree.defs_module_path / "models" / model, f"{tree.defs_module_name}.models.{model}")


def reproduce_version(
    settings: Settings, model: str, version: str | None, echo: Callable[[str], None]
) -> tuple[dict[str, Any], str]:
    """Both fits of a version again, from the rows, parameters, seed and threads of its manifest.

    Hashes are equal on the same image, thread count and CPU family; elsewhere the largest difference is reported.
    """
    from platform_assets.science.fingerprint import probe
    from platform_assets.science.manifest import KINDS
    from platform_assets.science.reproduction import reproduction
    from platform_assets.science.splits import fit_mask
    from resources.compute import Compute
    from resources.provenance import code_of, platform_name

    check_model(model)
    if version is None:
        champion = Ledger(settings.ledger_url).champion(model)
        if champion is None:
            raise RegistryError(
                f"{model} has no champion to reproduce", hint=f"name a version: perennial reproduce {model}@1"
            )
        version = champion.version
    registry, tables = settings.registry(), settings.tables()
    manifest = registry.manifest(model, version)
    spec = spec_of(model)
    spec = replace(
        spec, features=manifest.features, label=manifest.label, seed=manifest.seed, parameters=manifest.parameters
    )
    rows = read_training_set(spec, tables, manifest.tables[names.table_name(names.model_key(model, "training_set"))])
    device = _device(manifest.device, echo)
    fit_settings = settings_of(spec, threads=manifest.threads, device=device, progress=echo)
    starts = {kind: start_of(registry, model, manifest.began.get(kind)) for kind in KINDS}
    outcomes: dict[str, Any] = {}
    rebuilt = manifest
    module = Path(component_tree().defs_module_path) / "models" / model / f"{spec.module.rpartition('.')[2]}.py"
    rebuilt = replace(rebuilt, code=code_of(module), platform=platform_name(), device=device)
    for number, kind in enumerate(KINDS, 1):
        old = manifest.fit(kind)
        echo(
            f"{model}@{version}, fit {number} of {len(KINDS)} ({kind}): {old.row_count:,} rows, labels known by {old.cut_at:%Y-%m-%d}"
        )
        with Compute(cpu=1, memory="1Gi", threads=manifest.threads).limits():
            fitted, fit = fit_once(spec, rows.rows_of(kind), replace(fit_settings, start=starts[kind]), old.cut_at)
        rebuilt = replace(rebuilt, **{kind: replace(fit, files=old.files)})
        sample = probe(rows.rows_of(kind).filter(fit_mask(rows.rows_of(kind), old.cut_at)))
        outcome = reproduction(
            manifest, rebuilt, registry.load(model, version, kind).predict(sample), fitted.predict(sample), kind=kind
        )
        outcomes[kind] = outcome
    is_equal = all(outcome.is_equal for outcome in outcomes.values())
    answer = {
        "model": model,
        "version": version,
        "verdict": "equal" if is_equal else "differs",
        "fits": {kind: {**outcome.__dict__, "verdict": outcome.verdict} for kind, outcome in outcomes.items()},
    }
    lines = [f"{model}@{version} {answer['verdict']}"]
    lines += [f"  {kind}: {outcome.verdict}" for kind, outcome in outcomes.items()]
    return answer, "\n".join(lines)


def _device(wanted: str, echo: Callable[[str], None]) -> str:
    """The device that the version was trained on, or the CPU where this machine has none such: hashes differ then."""
    if wanted == "cpu":
        return wanted
    from resources.compute import gpu_device

    if gpu_device() != "cpu":
        return wanted
    echo(f"trained on {wanted}, which this machine lacks: training on cpu, the largest difference will be told")
    return "cpu"
