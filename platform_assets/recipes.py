"""What makes each asset: a digest of the code behind it and of all that it reads.

An asset whose recipe is the one that it was made by need not be made again. The platform's own code (components,
resources, assembly) counts for every asset; what belongs to a source, a view or a model counts for it and what reads it.
"""

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import dagster as dg

from platform_assets import names
from platform_assets.components.model_settings import judged_by, made_by
from platform_assets.science.demand import columns
from resources.provenance import package_hash
from resources.source_digest import SCIENCE, module_file, modules_behind

PROJECT: Final = Path(__file__).parents[1]
REGISTRY: Final = dg.AssetKey(["feature_registry"])
COLUMNS: Final = f"{SCIENCE}.demand.columns"
_COMPONENTS: Final = "platform_assets.components"
_SOURCE: Final = tuple(f"{_COMPONENTS}.{name}" for name in ("source_assets", "source_steps"))
_MODEL: Final = tuple(
    f"{_COMPONENTS}.{name}"
    for name in ("training", "tuning_run", "evaluating", "promoting", "predicting", "monitoring", "performance_page")
)


def recipes(graph: dg.Definitions, source: str) -> dict[dg.AssetKey, str]:
    """Asset to its recipe, of every asset of the graph."""
    nodes = graph.resolve_asset_graph()
    platform, found = _platform(), dict[dg.AssetKey, str]()
    for key in nodes.toposorted_asset_keys:
        node = nodes.get(key)
        # Feast's registry holds every view: what an asset asks of it stands in the asset's own code.
        read = [found[parent] for parent in sorted(node.parent_keys) if parent != REGISTRY and parent in found]
        found[key] = _joined([platform, node.code_version or "", _own(key, source), *read])
    return found


def _own(key: dg.AssetKey, source: str) -> str:
    """Digest of the code that is this asset's alone, or its kind's."""
    defs, repository = PROJECT / "platform_assets" / "defs", PROJECT / "feature_repo"
    first, last = key.path[0], key.path[-1]
    if first in {source, names.SALES, names.PLANS}:
        return _joined([_files([defs / "data" / source]), _science([*_SOURCE, *_modules(defs / "data" / source)])])
    if first == "features" and last in columns.VIEWS:
        # Its function is the asset's code version.
        return _joined([_files([defs / "features" / last]), repr(columns.FEATURES[last])])
    if first == "online" and last in columns.VIEWS:
        shared = [path for path in repository.glob("*.py") if path.name != "services.py"]
        return _files([*shared, repository / "views" / f"{last}.py"])
    if first == "services":
        return _files([repository / "services.py"])
    if key == REGISTRY:
        return _files([repository])
    if (folder := defs / "models" / first).is_dir():
        settings, judged = folder / "defs.yaml", last == "champion"
        own = [file for file in folder.rglob("*") if file.is_file() and file != settings]
        gate = judged_by(settings) if judged else ""
        return _joined([_files(own), made_by(settings), gate, _science([*_MODEL, *_modules(folder)])])
    if (folder := defs / names.GROUP_REPORTS / first).is_dir():
        return _joined([_files([folder]), _science(_modules(folder))])
    return package_hash(PROJECT)


def _platform() -> str:
    assets = PROJECT / "platform_assets"
    rooms = [path for path in assets.iterdir() if path.name not in {"science", "defs", "__pycache__"}]
    return _files([*rooms, PROJECT / "resources"])


def _science(modules: Iterable[str]) -> str:
    """Digest of all of science/ that these modules import; of the features' declarations, what no view says."""
    behind = {name for name in modules_behind(modules) if name.startswith(SCIENCE)}
    files = [path for name in behind - {COLUMNS} if (path := module_file(name)) is not None]
    return _joined([_files(files), _shared_columns() if COLUMNS in behind else ""])


def _shared_columns() -> str:
    """The declarations but for those of the views, each of which counts for its own view and what reads that."""
    path = module_file(COLUMNS)
    assert path is not None
    views = {view.upper() for view in columns.VIEWS}
    said = [
        ast.unparse(statement)
        for statement in ast.parse(path.read_text()).body
        if not (isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") in views)
    ]
    return "\n".join(said)


def _modules(folder: Path) -> list[str]:
    return [".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in sorted(folder.glob("*.py"))]


def _files(places: Iterable[Path]) -> str:
    """Digest of the Python and YAML files at these places, by their names and contents."""
    files: set[Path] = set()
    for place in places:
        files |= {place} if place.is_file() else {file for file in place.rglob("*") if file.is_file()}
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.suffix in {".py", ".yaml"} and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _joined(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
