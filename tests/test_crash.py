"""Kill -9 of the demo, at named points and at random ones: what is there is old or new, and the next run completes.

No product code knows of these points. They are found from outside: a line of the output, a table's first commit, a row of the
ledger; and where two steps lie close together, the test holds the lock of the database that the second one needs.
"""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from platform_assets.components.predicting import KEY
from resources.ledger import Ledger
from resources.registry import Registry
from resources.tables import Tables
from tests.small import LAST_ON, PERENNIAL, copy_project, environment, shrink_models, write_world

SEED = 11
PATIENCE_SECONDS = 400
# Small enough to be trained often, good enough for the gate.
RECIPE = {"parameters": {"rounds": 60, "learning_rate": 0.2}, "rows_per_series": 100}


class Demo:
    """One `perennial demo` in a process group of its own."""

    def __init__(self, world: "World") -> None:
        self.lines: list[str] = []
        command = [*PERENNIAL, "demo", "--data", str(world.data), "--source", "simulator", "--state", str(world.state)]
        self.process = subprocess.Popen(
            command,
            cwd=world.project,
            env=environment(world.project),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def printed(self) -> str:
        return "".join(self.lines)

    def until(self, what: Callable[[], object]) -> None:
        """Wait for what is to be seen from outside, looking often."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not what():
            assert self.process.poll() is None, f"ended before the point:\n{self.printed[-3000:]}"
            assert time.monotonic() < deadline, self.printed[-3000:]
            time.sleep(0.002)

    def until_printed(self, pattern: str) -> None:
        self.until(lambda: re.search(pattern, self.printed))

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self._end()

    def finish(self) -> str:
        self.process.wait(PATIENCE_SECONDS)
        self._end()
        assert self.process.returncode == 0, self.printed[-3000:]
        return self.printed

    def _end(self) -> None:
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class World:
    """A state directory, and what must hold in it whenever nobody works there."""

    def __init__(self, folder: Path) -> None:
        self.project = copy_project(folder / "project")
        shrink_models(self.project, "demand", **RECIPE)
        self.data, self.state = write_world(folder / "world.parquet"), folder / "state"
        self.tables = Tables(self.state / "tables")

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(f"sqlite:///{self.state / 'ledger.db'}")
        yield ledger
        ledger.close()

    def registry(self) -> Registry:
        uri = f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}"
        return Registry(tracking_uri=uri, artifact_root=str(self.state / "mlflow" / "artifacts"))

    def log_of(self, table: str) -> Path:
        return self.state / "tables" / table / "_delta_log"

    def has_table(self, name: str) -> bool:
        return any(self.log_of(name).glob("*.json"))

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        """Of an SQLite file that another process writes; nothing where it, or the table, is not there yet."""
        file = self.state / database
        if not file.exists():
            return []
        with suppress(sqlite3.OperationalError):
            connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1)
            try:
                return connection.execute(query).fetchall()
            finally:
                connection.close()
        return []

    @contextmanager
    def held(self, database: str) -> Iterator[None]:
        """Nobody else writes to this SQLite file inside."""
        connection = sqlite3.connect(self.state / database, timeout=10, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()

    def check(self) -> None:
        """Nothing is torn: tables, databases, values, reports, versions, and the chain of champions."""
        root = self.state / "tables"
        for log in sorted(root.rglob("_delta_log")):
            name = str(log.parent.relative_to(root))
            if self.has_table(name):
                frame = self.tables.scan(name).collect()
                assert frame.width > 1, name
        for database in sorted(self.state.rglob("*.db")):
            connection = sqlite3.connect(database)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), database
            connection.close()
        for value in [*self.state.glob("values/**/*.json"), *self.state.glob("reports/**/*.json")]:
            json.loads(value.read_text())
        for page in self.state.glob("reports/**/*.html"):
            assert page.read_text().rstrip().endswith("</html>"), page
        if (self.state / "ledger.db").exists():
            self.check_chain()
        if (self.state / "mlflow" / "mlflow.db").exists():
            for (version,) in self.rows("mlflow/mlflow.db", "SELECT version FROM model_versions WHERE name = 'demand'"):
                self.registry().load("demand", str(version))  # hashes checked

    def check_chain(self) -> str | None:
        with self.ledger() as ledger:
            history = ledger.history("demand")
            before = None
            for promotion in history:
                assert promotion.from_version == before
                before = promotion.to_version
            champion = ledger.champion("demand")
        assert (champion and champion.version) == before
        return before

    def alias(self) -> str | None:
        found = self.rows("mlflow/mlflow.db", "SELECT version FROM registered_model_aliases WHERE name = 'demand'")
        return str(found[0][0]) if found else None

    def unfinished(self) -> list[tuple[object, ...]]:
        return self.rows("mlflow/mlflow.db", "SELECT run_uuid FROM runs WHERE status = 'RUNNING'")


def at_the_first_lines(world: World, demo: Demo) -> None:
    """The lines are committed; Dagster has not heard of it."""
    demo.until(lambda: world.has_table("simulator/lines"))


def at_random(world: World, demo: Demo) -> None:
    """Somewhere in the data's run."""
    demo.until_printed(r"simulator/lines: ")
    time.sleep(random.Random(SEED).uniform(0, 6))


def in_the_online_load(world: World, demo: Demo) -> None:
    """Feast is about to write rows to the online store."""
    demo.until_printed(r"feature_registry: ")
    with world.held("feast/online.db"):
        time.sleep(1)
        demo.kill()
    assert "online/season: " not in demo.printed


def after_the_training_set(world: World, demo: Demo) -> None:
    """The training set is committed, its step has not ended."""
    demo.until(lambda: world.has_table("demand/training_set"))


def between_register_and_evaluation(world: World, demo: Demo) -> None:
    """The version is visible, nothing has judged it."""
    demo.until(lambda: world.rows("mlflow/mlflow.db", "SELECT 1 FROM model_versions WHERE name = 'demand'"))


def between_promotion_and_alias(world: World, demo: Demo) -> None:
    """The ledger has a champion, the registry's alias cannot be written yet."""
    demo.until_printed(r"demand/evaluation: ")
    with world.held("mlflow/mlflow.db"):
        demo.until(lambda: world.rows("ledger.db", "SELECT 1 FROM promotions WHERE model = 'demand'"))
        demo.kill()
    assert world.alias() is None, "the point was missed"
    assert world.check_chain() is not None


POINTS = [
    at_the_first_lines,
    at_random,
    in_the_online_load,
    after_the_training_set,
    between_register_and_evaluation,
    between_promotion_and_alias,
]


@pytest.mark.long
def test_a_demo_killed_again_and_again_completes(tmp_path: Path) -> None:
    world = World(tmp_path)
    for point in POINTS:
        demo = Demo(world)
        point(world, demo)
        if demo.process.poll() is None:
            demo.kill()
        assert demo.process.returncode == -signal.SIGKILL, f"{point.__name__}: it had ended\n{demo.printed[-3000:]}"
        world.check()

    champion = world.check_chain()
    printed = Demo(world).finish()
    world.check()
    assert world.check_chain() == champion, "the same recipe on the same rows is not better than itself"
    assert f"demand@{champion} is champion" in printed
    assert world.alias() == champion
    assert world.unfinished() == []

    # What is there now is what one undisturbed run leaves.
    lines = pl.read_parquet(world.data)
    sales = world.tables.scan("sales").collect()
    assert sales["units"].sum() == lines["units"].sum()
    assert sales.select("series_id", "period_on").is_duplicated().sum() == 0
    said = world.tables.scan("demand/predictions").collect()
    assert said.select(KEY).is_duplicated().sum() == 0
    assert set(said["target_on"]) == {LAST_ON + timedelta(days=ahead) for ahead in range(1, 29)}

    # Nothing waits for a process that is dead.
    runs = Counter(status for (status,) in world.rows("dagster/history/runs.db", "SELECT status FROM runs"))
    assert set(runs) == {"SUCCESS", "FAILURE"}
    assert runs["FAILURE"] == len(POINTS)

    again = Demo(world).finish()
    assert "nothing had to be done" in again
    with world.ledger() as ledger:
        assert [promotion.to_version for promotion in ledger.history("demand")] == [champion]
        refusals = [d for d in ledger.decisions("demand", kind="gate") if not d.evidence["promotes"]]
    assert all(refusal.reasons for refusal in refusals)
