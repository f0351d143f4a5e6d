"""`FeatureRepo` in a project of its own, by Dagster's commands, and two processes that apply to one registry."""

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
REPOSITORY = """
from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float32

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)

def view(name):
    source = FileSource(name=f"{name}_table", path=f"{name}.parquet", timestamp_field="event_timestamp")
    return FeatureView(name=name, entities=[driver], source=source, schema=[Field(name="rate", dtype=Float32)])
"""
FILES = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n',
    "shop/__init__.py": "",
    "shop/defs/__init__.py": "",
    "shop/definitions.py": (
        "from pathlib import Path\n\nfrom dagster import definitions, load_from_defs_folder\n\n\n"
        "@definitions\ndef defs():\n    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    ),
    "shop/defs/drivers/defs.yaml": (
        "type: platform_assets.components.FeatureRepo\n\nattributes:\n  path: ../../../feature_repo\n"
    ),
}


def write_repository(folder: Path, *views: str, registry: str = "registry.db") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        f"project: drivers\nprovider: local\nregistry: {registry}\noffline_store: {{type: file}}\n"
        "online_store: {type: sqlite, path: online.db}\nentity_key_serialization_version: 3\n"
    )
    (folder / "repo.py").write_text(REPOSITORY + "\n".join(f"{name} = view({name!r})" for name in views) + "\n")


@pytest.mark.long
def test_dagsters_commands_notice_an_edited_repository_and_never_load_an_empty_graph(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_repository(tmp_path / "feature_repo", "stats")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "HOME": str(tmp_path), "DG_TELEMETRY_ENABLED": "false"}
    env = {name: value for name, value in env.items() if name != "DAGSTER_HOME"}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [TOOLS / command[0], *command[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    def loads() -> tuple[bool, str]:
        """As a code server in production loads it: nothing is described."""
        done = run("dagster", "definitions", "validate", "-m", "shop.definitions")
        return done.returncode == 0, done.stdout + done.stderr

    def assets() -> set[str]:
        """As a developer lists them: described first, where that is needed."""
        done = run("dg", "list", "defs", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return {asset["asset_key"] for asset in json.loads(done.stdout)["assets"]}

    is_loaded, said = loads()
    assert not is_loaded
    assert "this Feast repository has not been described yet" in said
    assert "dg utils refresh-defs-state" in said
    of_stats = {"drivers/registry", "drivers/sources/stats_table", "drivers/features/stats", "drivers/online/stats"}
    assert assets() == of_stats
    assert loads()[0]
    write_repository(tmp_path / "feature_repo", "stats", "other")
    is_loaded, said = loads()
    assert not is_loaded
    assert "edited since it was described: repo.py" in said
    assert assets() == of_stats | {f"drivers/{kind}/other{end}" for kind, end in (("sources", "_table"), ("features", ""), ("online", ""))}  # fmt: skip
    assert loads()[0]
    shutil.rmtree(tmp_path / "shop" / "defs" / ".local_defs_state")
    assert not loads()[0]


@pytest.mark.long
def test_two_processes_that_apply_to_one_registry_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Feast reads a file registry, changes it and writes it whole; two applies at a time lose one another's objects."""
    for name in ("a", "b"):
        write_repository(tmp_path / name, f"of_{name}", registry=str(tmp_path / "registry.db"))
    command = [sys.executable, "-W", "ignore", "-m", "resources.feast_repository.apply"]
    writers: list[Any] = [
        subprocess.Popen(
            [*command, str(tmp_path / name)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    try:
        out = {writer.stdout: writer for writer in writers}
        first, *_ = select.select(list(out), [], [], 300)[0]
        (second,) = (stream for stream in out if stream is not first)
        # The one that has shown its plan holds the registry until it has its answer: the other shows none meanwhile.
        assert not select.select([second], [], [], 12)[0]
        plans, held = [], []
        for stream in (first, second):
            plans.append(json.loads(stream.readline()))
            out[stream].stdin.write("[]\n")
            out[stream].stdin.flush()
            held.append(json.loads(stream.readline())["feature view"])
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert held in ([["of_a"], ["of_a", "of_b"]], [["of_b"], ["of_a", "of_b"]])
    left_over = [[c["name"] for c in plan if c["action"] == "DELETE" and c["kind"] == "feature view"] for plan in plans]
    assert left_over == [[], held[0]]  # the second one's plan tells what the first one wrote, and keeps it
