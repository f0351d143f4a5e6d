"""A Redis server of this machine, started for a test on a loopback port of its own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def server() -> Iterator[str]:
    """Host and port of a fresh server; it and what it held are gone afterwards."""
    binary = shutil.which("redis-server")
    assert binary, "no `redis-server` here: install the system package `redis-server`"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory(prefix="online-redis-") as folder:
        log = Path(folder, "log")
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen([*command, "--logfile", str(log)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, f"Redis ended: {log.read_text()}"
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "Redis is not ready after 60 s"
                    time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)
