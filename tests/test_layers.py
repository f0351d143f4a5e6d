"""Dependencies point inward only: defs, sensors, serving -> components -> resources -> science -> names, errors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Layer of each place, innermost first; a module may import its own layer and those with a lower number.
LAYERS = {
    "platform_assets.errors": 0,
    "platform_assets.names": 0,
    "platform_assets.science": 1,
    "platform_assets.policies": 1,
    "resources": 2,
    "platform_assets.components": 3,
    "platform_assets.defs": 4,
    "sensors": 4,
    "serving": 4,
    "platform_assets.definitions": 5,
    "platform_assets.recipes": 4,
    "platform_assets.demo": 7,
    "platform_assets.story": 7,
    "platform_assets.story_fault": 7,
    "platform_assets.story_worth": 7,
    "platform_assets.final_screen": 7,
    "platform_assets.locate": 6,
    "platform_assets.quarantining": 7,
    "platform_assets.cli_options": 8,
    "platform_assets.features_cli": 8,
    "platform_assets.quarantine_cli": 8,
    "platform_assets.reproduction": 7,
    "platform_assets.answers": 6,
    "platform_assets.why": 6,
    "platform_assets.complaints": 1,
    "platform_assets.serving_ui": 1,
    "platform_assets.process_memory": 1,
    "platform_assets.stopping": 1,
    "platform_assets.drift_answer": 8,
    "platform_assets.evidently_page": 8,
    "platform_assets.evidently_run": 1,
    "platform_assets.backtest_rows": 7,
    "platform_assets.backtest_fitting": 7,
    "platform_assets.backtest_matrix": 7,
    "platform_assets.backtest_history": 7,
    "platform_assets.backtesting": 8,
    "platform_assets.explaining": 8,
    "platform_assets.entity_diff": 8,
    "platform_assets.cli": 8,
}
OWN = ("platform_assets", "resources", "sensors", "serving", "feature_repo")
BANNED_IN_SCIENCE = {"dagster", "feast", "mlflow", "boto3", "os", "time", "deltalake", "sqlalchemy", "requests"}


def modules() -> list[Path]:
    return sorted(p for top in OWN for p in (ROOT / top).rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(name: str) -> int | None:
    best = max((k for k in LAYERS if name == k or name.startswith(k + ".")), key=len, default=None)
    return None if best is None else LAYERS[best]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_inward(path: Path) -> None:
    own = layer(dotted(path))
    if own is None:
        return
    outward = {i for i in imports(path) if (found := layer(i)) is not None and found > own}
    assert not outward, f"{dotted(path)} (layer {own}) imports {sorted(outward)}: move the shared piece inward"


@pytest.mark.parametrize("path", [p for p in modules() if "science" in p.parts], ids=dotted)
def test_science_is_pure(path: Path) -> None:
    banned = {i for i in imports(path) if i.split(".")[0] in BANNED_IN_SCIENCE}
    assert not banned, f"{dotted(path)} imports {sorted(banned)}: pass the value in from a resource"


@pytest.mark.parametrize("path", [p for p in modules() if "feature_repo" in p.parts], ids=dotted)
def test_the_feature_repository_stays_plain(path: Path) -> None:
    own = {i for i in imports(path) if i.split(".")[0] in OWN}
    assert all(i.startswith(("platform_assets.names", "feature_repo")) or i == "platform_assets" for i in own), sorted(
        own
    )


def test_only_definitions_reads_the_environment() -> None:
    readers = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if name in {"os.environ", "os.getenv"}:
                readers.append(f"{dotted(path)}:{node.lineno}")
    # No settings: MLflow's artifact stores, cuBLAS and polars' allocator take theirs from the environment alone, so the
    # gateway, the GPU profile and the demo set them; the contract test's process gets a part of it.
    others = {"resources.registry", "resources.compute", "resources.contract_test", "platform_assets.process_memory"}
    assert {r.split(":")[0] for r in readers} <= {"platform_assets.definitions", *others}, readers


def test_every_module_is_placed() -> None:
    unplaced = [dotted(p) for p in modules() if layer(dotted(p)) is None and not dotted(p).startswith("feature_repo")]
    assert unplaced == ["platform_assets"], "name its layer in LAYERS"


def test_loading_the_code_location_imports_nothing_heavy() -> None:
    heavy = (
        "torch",
        "lightgbm",
        "mlflow",
        "feast",
        "pandera",
        "statsforecast",
        "matplotlib",
        "sklearn",
        "dagster_k8s",
        "dagster_aws",
    )
    code = f"import sys; import platform_assets.definitions as d; d.defs(); print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]", "import it inside the function that needs it"
