"""The UI's processes: told when they answer, and ended together, but for runs, which Dagster looks after itself."""

import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 20.0  # for processes to end by themselves after a signal
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal's, whose session the program does not share
RUN = "execute_run"  # stands in the arguments of a run's own process


def serve(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], url: str, announce: Callable[[str], None]
) -> int:
    """Exit code of a program that serves `url`, which is announced once it answers.

    Signals to end are passed on; what the program has started and leaves behind is ended after it.
    """
    process = subprocess.Popen(list(arguments), cwd=folder, env=dict(environment), start_new_session=True)
    family: dict[int, Any] = {}

    def pass_on(number: int, _: object) -> None:
        family.update({child.pid: child for child in _descendants(process.pid)})
        if process.poll() is None:
            process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
        threading.Thread(target=_end_late, args=(process,), daemon=True).start()

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    threading.Thread(target=_announce, args=(process, url, announce), daemon=True).start()
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _end(list(family.values()))
    return code


def _announce(process: "subprocess.Popen[bytes]", url: str, announce: Callable[[str], None]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                announce(url)
                return
        except OSError:
            time.sleep(0.5)


def _descendants(pid: int) -> list[Any]:
    import psutil

    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in found if not _is_run(child)]


def _is_run(process: Any) -> bool:
    import psutil

    try:
        return RUN in process.cmdline()
    except psutil.Error:
        return False


def _end_late(process: "subprocess.Popen[bytes]") -> None:
    """A program that does not end by itself is killed."""
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _end(family: list[Any]) -> None:
    import psutil

    alive = [child for child in family if child.is_running()]
    for child in alive:
        child.terminate()
    left = psutil.wait_procs(alive, timeout=PATIENCE_SECONDS / 4)[1]
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=PATIENCE_SECONDS / 4)  # a kill is not done when it has been asked for
