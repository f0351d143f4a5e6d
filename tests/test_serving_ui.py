"""The UI's address is told once it answers, and a signal ends all that was started, but for runs."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SERVER = """
import http.server, json, signal, subprocess, sys
sleeper = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"]
children = [subprocess.Popen([*sleeper, name], stdout=subprocess.DEVNULL) for name in ("worker", "execute_run")]
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
def leave(*_): raise SystemExit(0)
signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
open(sys.argv[1], "w").write(json.dumps([server.server_port, *(child.pid for child in children)]))
server.serve_forever()
"""

CALLER = """
import json, os, sys, threading, time
from pathlib import Path
from platform_assets.serving_ui import serve
folder = Path(sys.argv[1])
arguments = [sys.executable, str(folder / "server.py"), str(folder / "started.json")]
print("exit", serve(arguments, folder=folder, environment=os.environ, url=sys.argv[2],
                    announce=lambda url: print("answers", flush=True)), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_what_it_left_behind_but_no_run(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(tmp_path), "http://127.0.0.1:1/"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    started, until = tmp_path / "started.json", time.monotonic() + 30
    while not (started.exists() and started.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    _, worker, run = json.loads(started.read_text())
    try:
        caller.send_signal(number)
        said, _ = caller.communicate(timeout=30)
        assert said.splitlines() == ["exit 0"]  # nothing answered where it asked, so nothing was announced
        assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
        assert psutil.Process(run).status() != psutil.STATUS_ZOMBIE
    finally:
        psutil.Process(run).kill()
