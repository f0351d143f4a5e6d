"""What loading the code location costs beside an empty one: CPU seconds of `dagster definitions validate`, interleaved.

The target is a ratio of at most 2. What heavy imports would cost is the reason why nothing is imported at load.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
ROUNDS = 5
EMPTY = "import dagster as dg\n\ndefs = dg.Definitions()\n"


def cpu_seconds(arguments: list[str], folder: Path, home: Path) -> float:
    """User and system seconds of one validation; stops the benchmark where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "DAGSTER_HOME": str(home)}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} does not validate:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Both locations in turn; prints each one's median and the median of the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(EMPTY)
        ours, empty = [], []
        for _ in range(ROUNDS):
            empty.append(cpu_seconds(["-f", "empty.py"], folder, folder))
            ours.append(cpu_seconds(["-m", "platform_assets.definitions"], ROOT, folder))
    ratio = median(a / b for a, b in zip(ours, empty, strict=True))
    print(f"empty location        {median(empty):5.2f} CPU s (median of {ROUNDS})")
    print(f"perennial             {median(ours):5.2f} CPU s")
    print(f"ratio                 {ratio:5.2f} (target: at most 2)")


if __name__ == "__main__":
    main()
