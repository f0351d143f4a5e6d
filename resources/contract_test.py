"""The contract test: in a fresh process a version loads without training code and answers in the declared shape.

The process is isolated (`python -I`), cannot import the models' folders, and may die: LightGBM aborts on cut text, and
a model may hang. Each of that is an answer here, not an accident.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.manifest import Kind, Manifest
    from resources.registry import Registry

TIMEOUT_SECONDS: Final = 120  # loading torch on a busy machine takes 20
_ANSWER: Final = "contract-test: "
_TRAINING_CODE: Final = "platform_assets.defs"


@dataclass(frozen=True)
class ContractResult:
    """Whether a version keeps the contract, and if not, why."""

    passed: bool
    reason: str


@contextmanager
def contract_test_beside(
    registry: "Registry", model: str, version: str, *, kind: "Kind" = "shipped"
) -> Iterator[Callable[[], ContractResult]]:
    """The contract test of a registered version, while the body goes on; what it gives waits for the answer.

    Altered files fail it before a process starts.
    """
    from platform_assets.errors import CorruptModelError

    try:
        manifest, files = registry.files(model, version, kind)
    except CorruptModelError as corrupt:
        failed = ContractResult(passed=False, reason=corrupt.message)
        yield lambda: failed
        return
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(contract_test_files, manifest, files, kind=kind).result


def contract_test_files(
    manifest: "Manifest",
    files: Mapping[str, bytes],
    *,
    kind: "Kind" = "shipped",
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> ContractResult:
    """The contract test of files that are not registered, or not yet."""
    with tempfile.TemporaryDirectory(prefix="perennial-") as name:
        folder = Path(name)
        (folder / "manifest.json").write_bytes(manifest.to_json())
        for path, content in files.items():
            target = folder / "files" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return _in_fresh_process(folder, kind, timeout_seconds)


# Beginnings of the variables that a version may read: where programs and libraries are, and how many threads to use.
_KEPT = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_",
    "LD_LIBRARY_PATH",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "POLARS_",
    "CUDA_",
    "CUBLAS_",
)


def _in_fresh_process(folder: Path, kind: str, timeout_seconds: float) -> ContractResult:
    command = [sys.executable, "-I", "-m", "resources.contract_test", str(folder), kind]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name.startswith(_KEPT)},
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return ContractResult(passed=False, reason=f"no answer within {timeout_seconds:g} s")
    answers = [line.removeprefix(_ANSWER) for line in out.splitlines() if line.startswith(_ANSWER)]
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return ContractResult(passed=False, reason=f"the process died of {name}: {_last_line(err)}")
    if not answers:
        reason = f"the process ended with {process.returncode} and no answer: {_last_line(err)}"
        return ContractResult(passed=False, reason=reason)
    problems = json.loads(answers[-1])
    return ContractResult(passed=not problems, reason="; ".join(problems) or "loads and answers as declared")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing on stderr"


# --- in the fresh process -----------------------------------------------------------------------------------------


class _NoTrainingCode:
    """An import hook that refuses the models' folders."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises: ImportError for training code; knows nothing of other modules."""
        if name == _TRAINING_CODE or name.startswith(f"{_TRAINING_CODE}."):
            raise ImportError(f"{name} is training code; a version must load without it")


def problems_of(folder: Path, kind: "Kind") -> list[str]:
    """What is wrong with the version in `folder` (manifest.json, files/), loaded in this process; empty if nothing."""
    from platform_assets.errors import PerennialError
    from platform_assets.science import formats
    from platform_assets.science.fingerprint import check_files
    from platform_assets.science.manifest import Manifest

    before = set(sys.modules)
    root = folder / "files"
    files = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    try:
        manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
        check_files(files, manifest.fit(kind).files, where=manifest.model)
        model = formats.load(manifest.format, files)
        rows = serving_rows(manifest)
        answers = model.predict(rows)
        again = model.predict(rows)
    except PerennialError as refused:
        return [refused.message]
    except Exception as broken:  # noqa: BLE001  process boundary: whatever a model raises is its failure
        return [f"{type(broken).__name__}: {broken}"]
    found = list(_wrong_answers(manifest, rows, answers))
    if not found and not answers.equals(again):
        found.append("a second prediction of the same rows differs")
    loaded = sorted(name for name in set(sys.modules) - before if name.startswith(_TRAINING_CODE))
    return found + ([f"training code was imported: {', '.join(loaded)}"] if loaded else [])


def serving_rows(manifest: "Manifest") -> "pl.DataFrame":
    """Rows in the declared schema as serving may meet them: all zero, all one, large, negative, and all null."""
    import polars as pl

    schema = {column.name: _dtype(column.dtype) for column in manifest.inputs}
    values = (0, 1, 1_000, -1, None)
    return pl.DataFrame(
        {name: pl.Series(name, [_value(dtype, one) for one in values], dtype=dtype) for name, dtype in schema.items()}
    )


def _dtype(text: str) -> "pl.DataType":
    """The polars type that prints as `text`."""
    import polars as pl

    if text.startswith("List("):
        return pl.List(_dtype(text.removeprefix("List(").removesuffix(")")))
    if text.startswith("Datetime("):
        return pl.Datetime("us", "UTC")
    whole = (pl.Int64(), pl.Int32(), pl.Int16(), pl.Int8(), pl.UInt64(), pl.UInt32(), pl.UInt16(), pl.UInt8())
    known: tuple[pl.DataType, ...] = (pl.Float64(), pl.Float32(), *whole, pl.Boolean(), pl.String(), pl.Date())
    return next(one for one in known if str(one) == text)


def _value(dtype: Any, number: int | None) -> Any:
    """A value of the type that stands for `number`."""
    import polars as pl

    if number is None:
        return None
    if isinstance(dtype, pl.List):
        return [] if number == 1_000 else [_value(dtype.inner, number)] * 3  # an empty list is a new series
    if dtype == pl.Boolean:
        return number > 0
    if dtype == pl.String:
        return str(number)
    if dtype.is_temporal() or dtype.is_unsigned_integer():
        number = abs(number)
    if dtype in {pl.Int8, pl.UInt8}:
        number = min(number, 100)
    return pl.Series([number], dtype=pl.Int64).cast(dtype).item()


def _wrong_answers(manifest: "Manifest", rows: "pl.DataFrame", answers: "pl.DataFrame") -> Iterator[str]:
    declared = {column.name: column.dtype for column in manifest.answers}
    found = {name: str(dtype) for name, dtype in answers.schema.items()}
    if list(found.items()) != list(declared.items()):
        yield f"answers with columns {found}; declared {declared}"
        return
    if answers.height != rows.height:
        yield f"answers {answers.height} rows for {rows.height}"
        return
    bad = {name: int((~answers[name].is_finite().fill_null(value=False)).sum()) for name in answers.columns}
    yield from (f"`{name}`: {n} of {answers.height} answers are null or not finite" for name, n in bad.items() if n)
    if any(bad.values()):
        return
    if manifest.levels:
        order = [name for _, name in sorted(zip(manifest.levels, manifest.outputs, strict=True))]
        crossing = [f"{a} > {b}" for a, b in pairwise(order) if (answers[a] > answers[b]).any()]
        if crossing:
            yield f"quantiles cross: {', '.join(crossing)}"
    elif manifest.task == "probability":
        outside = [name for name in answers.columns if not answers[name].is_between(0.0, 1.0).all()]
        if outside:
            yield f"probabilities outside [0, 1]: {', '.join(outside)}"


def main(folder: str, kind: "Kind") -> None:
    """Prints the problems as JSON on a line of its own; a model's own prints do not disturb it."""
    sys.meta_path.insert(0, _NoTrainingCode())
    found = problems_of(Path(folder), kind)
    sys.stdout.write(f"\n{_ANSWER}{json.dumps(found)}\n")


if __name__ == "__main__":
    main(sys.argv[1], "evaluation" if sys.argv[2] == "evaluation" else "shipped")
