"""The contract test passes what keeps the contract and says of all else what is wrong, also when the process dies."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from platform_assets.science import network, trees
from platform_assets.science.constant import Constant
from platform_assets.science.fingerprint import file_hashes
from platform_assets.science.fitting import FitSettings
from platform_assets.science.manifest import Code, Column, Fit, Manifest
from resources import contract_test
from resources.contract_test import contract_test_files, serving_rows

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ANSWERS = {"q500": 1.0, "q990": 2.0}
COLUMNS = (
    Column("x", "Float64"),
    Column("recent_units", "List(Float32)"),
    Column("is_open", "Boolean"),
    Column("weekday", "Int8"),
    Column("on", "Date"),
    Column("at", "Datetime(time_unit='us', time_zone='UTC')"),
    Column("code", "String"),
    Column("many", "UInt32"),
)


def version(
    answers: dict[str, float | None] | None = None, format: str = "constant/1", files: dict[str, bytes] | None = None,
    levels: tuple[float, ...] = (0.5, 0.99), task: str = "quantiles",
) -> tuple[Manifest, dict[str, bytes]]:  # fmt: skip
    files = files or {"constant.json": json.dumps(answers or ANSWERS).encode()}
    fit = Fit(NOW, 1, "0" * 64, "0" * 64, "0" * 64, file_hashes(files))
    names = tuple(answers or ANSWERS)
    manifest = Manifest(
        model="demand", format=format, task=task, reason="test", created_at=NOW, tables={}, views={},
        code=Code("1" * 64, "2" * 64, "3" * 64), image="local", platform="test", features=("x",), label="units",
        outputs=names, levels=levels, parameters={}, seed=0, threads=1, device="cpu", shipped=fit, evaluation=fit,
        inputs=COLUMNS, answers=tuple(Column(name, "Float64") for name in names),
    )  # fmt: skip
    return manifest, files


def problems(tmp_path: Path, manifest: Manifest, files: dict[str, bytes]) -> list[str]:
    """In this process: the same function that the fresh one runs."""
    (tmp_path / "files").mkdir()
    (tmp_path / "manifest.json").write_bytes(manifest.to_json())
    for name, content in files.items():
        (tmp_path / "files" / name).write_bytes(content)
    return contract_test.problems_of(tmp_path, "shipped")


def test_a_good_version_passes_in_a_fresh_process():
    result = contract_test_files(*version())
    assert (result.passed, result.reason) == (True, "loads and answers as declared")


def test_altered_files_fail_in_the_fresh_process_too():
    manifest, files = version()
    result = contract_test_files(manifest, {"constant.json": files["constant.json"].replace(b"1.0", b"1.1")})
    assert not result.passed
    assert "altered" in result.reason


def test_serving_rows_have_the_declared_types_and_the_hard_cases():
    rows = serving_rows(version()[0])
    assert {name: str(dtype) for name, dtype in rows.schema.items()} == {one.name: one.dtype for one in COLUMNS}
    assert all(rows[name].null_count() == 1 for name in rows.columns)
    assert [] in rows["recent_units"].to_list()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"q500": 2.0, "q990": 1.0}, "quantiles cross: q500 > q990"),
        ({"q500": float("nan"), "q990": 1.0}, "`q500`: 5 of 5 answers are null or not finite"),
        ({"q500": 1.0, "q990": float("inf")}, "`q990`: 5 of 5 answers are null or not finite"),
    ],
)
def test_invalid_answers_are_named(tmp_path: Path, answers: dict[str, float | None], expected: str):
    assert problems(tmp_path, *version(answers)) == [expected]


def test_a_probability_lies_between_zero_and_one(tmp_path: Path):
    manifest, files = version({"probability": 1.5}, levels=(), task="probability")
    assert problems(tmp_path, manifest, files) == ["probabilities outside [0, 1]: probability"]


CALLS = itertools.count()


class Misbehaving(Constant):
    """A model whose `predict` is set by a test."""

    @classmethod
    def from_files(cls, files):
        return cls(ANSWERS)


@pytest.mark.parametrize(
    ("predict", "expected"),
    [
        (lambda self, rows: pl.DataFrame({"q500": [1.0] * 5}), "answers with columns"),
        (lambda self, rows: pl.DataFrame({"q990": [1.0] * 5, "q500": [1.0] * 5}), "answers with columns"),
        (lambda self, rows: pl.DataFrame({"q500": [1] * 5, "q990": [1] * 5}), "answers with columns"),
        (lambda self, rows: pl.DataFrame({"q500": [1.0], "q990": [1.0]}), "answers 1 rows for 5"),
        (
            lambda self, rows: pl.DataFrame(
                {"q500": [None] * 5, "q990": [1.0] * 5}, schema={"q500": pl.Float64, "q990": pl.Float64}
            ),
            "`q500`: 5 of 5",
        ),
        (lambda self, rows: rows.select("absent"), "ColumnNotFoundError"),
        (
            lambda self, rows: pl.DataFrame({"q500": [float(next(CALLS))] * 5, "q990": [1e9] * 5}),
            "a second prediction of the same",
        ),
    ],
    ids=["a column less", "order", "type", "rows", "null", "raises", "random"],
)
def test_misbehaviour_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict, expected: str):
    monkeypatch.setattr(Misbehaving, "predict", predict)
    monkeypatch.setattr("platform_assets.science.constant.Constant", Misbehaving)
    (found,) = problems(tmp_path, *version())
    assert found.startswith(expected)


def test_training_code_cannot_be_imported(monkeypatch: pytest.MonkeyPatch):
    hook = contract_test._NoTrainingCode()
    for name in ("platform_assets.defs", "platform_assets.defs.models.demand.train"):
        with pytest.raises(ImportError, match="training code"):
            hook.find_spec(name)
    assert hook.find_spec("platform_assets.science") is None
    assert hook.find_spec("platform_assets.defsomething") is None


FAULTS = {
    "dies": ("import os; os.abort()", "the process died of SIGABRT"),
    "hangs": ("import time; time.sleep(600)", "no answer within 3 s"),
    "leaves": ("import sys; sys.exit(3)", "the process ended with 3 and no answer"),
    "spies": ("import os; sys.exit(4 if 'PERENNIAL_LEDGER_URL' in os.environ else 5)", "the process ended with 5"),
    "trains": ("import platform_assets.defs.models.demand.train", "ImportError: platform_assets.defs is training code"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_process_that_dies_hangs_or_leaves_is_an_answer(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """LightGBM aborts the process on cut text, which no `except` sees."""
    monkeypatch.setenv("PERENNIAL_LEDGER_URL", "postgresql://ada:secret@ledger/perennial")
    code, expected = FAULTS[fault]
    start = f"""
import sys
sys.path.insert(0, {str(Path(contract_test.__file__).parents[1])!r})
from platform_assets.science import network, trees
from platform_assets.science.constant import Constant
from resources import contract_test
def from_files(files):
    {code}
Constant.from_files = from_files
contract_test.main(sys.argv[1], sys.argv[2])
"""
    (tmp_path / "child.py").write_text(start)
    real = contract_test.subprocess.Popen
    monkeypatch.setattr(
        contract_test.subprocess,
        "Popen",
        lambda command, **named: real([command[0], "-I", str(tmp_path / "child.py"), *command[4:]], **named),
    )
    result = contract_test_files(*version(), timeout_seconds=3 if fault == "hangs" else 60)
    assert not result.passed
    assert expected in result.reason


def fitted(format: str) -> dict[str, bytes]:
    """A small model of a shipped format that reads `x` and answers two quantiles."""
    rows = pl.DataFrame({"x": [float(n % 10) for n in range(300)], "units": [float(n % 10) for n in range(300)]})
    if format == "quantile-network/1":
        return network.fit(rows, FitSettings(("x",), "units", ("q500", "q990"), (0.5, 0.99))).files()
    design = trees.Design(("x",))
    text = trees.boost(
        design.matrix(rows), design.target(rows, "units"), objective={"objective": "quantile", "alpha": 0.5}, rounds=5,
        learning_rate=0.3, leaves=8, min_leaf_rows=5, column_share=1.0, row_share=1.0, bins=63, seed=0, threads=1,
    )  # fmt: skip
    return trees.TreeQuantiles(design, {"q500": text, "q990": text}).files()


@pytest.mark.parametrize("format", ["lightgbm-quantiles/1", pytest.param("quantile-network/1", marks=pytest.mark.long)])
def test_shipped_formats_pass_in_a_fresh_process(format: str):
    result = contract_test_files(*version(format=format, files=fitted(format)))
    assert (result.passed, result.reason) == (True, "loads and answers as declared")


def test_trees_cut_short_fail_whatever_lightgbm_makes_of_them():
    """The hashes agree, so the text is parsed: LightGBM aborts the process on such text."""
    files = fitted("lightgbm-quantiles/1")
    text = files["q500.txt"]
    files["q500.txt"] = text[: text.index(b"leaf_value=") + 20] + b"\nend of trees\n"
    result = contract_test_files(*version(format="lightgbm-quantiles/1", files=files))
    assert not result.passed
    assert "SIGABRT" in result.reason or "LightGBMError" in result.reason or "differs" in result.reason
