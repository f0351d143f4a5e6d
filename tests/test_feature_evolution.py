"""A feature comes to a view and goes again, in a state that has a champion: what reads it is made again, and nothing else."""

import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.ledger import Ledger
from resources.tables import Tables
from tests.small import LAST_ON, PERENNIAL, copy_project, environment, shrink_models, write_world

FEATURE = "planned_price_cents"
# File, what stands there, what a user writes in its place.
EDITS = (
    (
        "platform_assets/science/demand/columns.py",
        "OFFER: Final = (\n",
        f'OFFER: Final = (\n    _f("{FEATURE}", "price planned for the target day, in cents", "plans.planned_price"),\n',
    ),
    (
        "platform_assets/science/demand/offer.py",
        "    return plans.select(\n",
        f'    plans = plans.with_columns((100 * pl.col("planned_price")).alias("{FEATURE}"))\n    return plans.select(\n',
    ),
    (
        "feature_repo/views/offer.py",
        '            "planned_price",\n',
        f'            "planned_price",\n            "{FEATURE}",\n',
    ),
)
AHEAD_ON = (LAST_ON + timedelta(days=28) - date(1970, 1, 1)).days  # loaded online as a target day, counted from 1970
ONLINE = """
import sys, polars as pl
from pathlib import Path
from platform_assets.locate import current
store = current(Path(sys.argv[1])).feature_store()
rows = pl.read_json(sys.argv[2])
print(store.online(rows, "demand_v1").write_json())
"""


@pytest.mark.long
def test_a_feature_comes_and_goes(tmp_path: Path) -> None:
    project, state = copy_project(tmp_path / "project"), tmp_path / "state"
    recipe = {"parameters": {"rounds": 40, "learning_rate": 0.2}, "rows_per_series": 60}
    shrink_models(project, "demand", "dormant", **recipe)
    world = write_world(tmp_path / "world.parquet")
    tables = Tables(state / "tables")

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=project, env=environment(project), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def demo() -> dict[str, Any]:
        answer = run(*PERENNIAL, "demo", "--data", str(world), "--state", str(state), "--json")
        return json.loads(answer[answer.index("\n{") :] if not answer.startswith("{") else answer)

    def versions() -> dict[str, int]:
        views = ("demand_history", "price_history", "season", "offer")
        found = ("sales", *(f"features/{view}" for view in views), "demand/training_set", "dormant/training_set")
        return {name: tables.version(name) for name in found}

    def judged(model: str) -> int:
        ledger = Ledger(f"sqlite:///{state / 'ledger.db'}")
        count = len(ledger.decisions(model, kind="gate"))
        ledger.close()
        return count

    def edit(change: Callable[[str, str, str], str]) -> None:
        for file, old, new in EDITS:
            path = project / file
            path.write_text(change(path.read_text(), old, new))

    def reproduced(version: str) -> str:
        return json.loads(run(*PERENNIAL, "reproduce", version, "--state", str(state), "--json"))["verdict"]

    assert demo()["ran"] == ["data", "demand", "dormant", "reports"]
    first, offer = versions(), tables.scan("features/offer").collect()
    assert demo()["ran"] == []

    edit(lambda text, old, new: text.replace(old, new, 1))
    answer = demo()
    assert answer["ran"] == [
        "feature_registry",
        "features/offer",
        "online/offer",
        "services/demand_v1",
        "demand",
        "reports",
    ]
    moved = {name for name, version in versions().items() if version != first[name]}
    assert moved == {"features/offer", "demand/training_set"}
    assert (judged("demand"), judged("dormant")) == (2, 1)
    assert answer["champions"]["demand"]["champion"]["version"] in {"1", "2"}  # as the gate found

    with_it = tables.scan("features/offer").collect()
    assert with_it.height == offer.height
    assert with_it[FEATURE].null_count() == offer["planned_price"].null_count() < offer.height
    assert FEATURE in tables.scan("demand/training_set").collect_schema()
    assert FEATURE not in tables.scan("features/offer", version=first["features/offer"]).collect_schema()
    # The online store has it for targets that were loaded before the view had it.
    coming = pl.col("target_day").is_between(pl.col("event_at").max().dt.date().cast(pl.Int32), AHEAD_ON)
    latest = with_it.filter(coming & pl.col(FEATURE).is_not_null()).sort("event_at", "target_day").tail(1)
    latest.select("series_id", "target_day").write_json(tmp_path / "rows.json")
    served = json.loads(run(PERENNIAL[0], "-W", "ignore", "-c", ONLINE, str(state), str(tmp_path / "rows.json")))
    assert served[0][FEATURE] == latest[FEATURE][0]
    assert reproduced("demand@1") == "equal"  # from a training set without the feature
    assert demo()["ran"] == []

    edit(lambda text, old, new: text.replace(new, old, 1))
    assert demo()["ran"] == answer["ran"]
    gone = tables.scan("features/offer").collect()
    assert gone.select(offer.columns).sort(pl.all()).equals(offer.sort(pl.all()))
    assert FEATURE not in gone.columns
    assert reproduced("demand@2") == "equal"  # from one with it
    assert (judged("demand"), judged("dormant")) == (3, 1)
