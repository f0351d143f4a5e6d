"""A PostgreSQL server of this machine, started for a test on a loopback port of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def binary(name: str) -> str:
    """Path of a PostgreSQL binary, from PATH or from where Debian puts it."""
    versions = Path("/usr/lib/postgresql")
    newest_first = (
        sorted(versions.glob("*/bin"), key=lambda path: -float(path.parent.name)) if versions.exists() else []
    )
    for folder in (None, *map(str, newest_first)):
        if found := shutil.which(name, path=folder):
            return found
    raise AssertionError(f"no `{name}` here: install the system package `postgresql`")


@contextmanager
def server() -> Iterator[str]:
    """URL of a fresh server's first database; the server and its files are gone afterwards."""
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None  # the server refuses to run as root
    as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    with TemporaryDirectory(prefix="ledger-pg-", ignore_cleanup_errors=True) as folder:
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = f"{folder}/data"
        subprocess.run(
            [binary("initdb"), "-D", data, "-U", "ledger", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_account,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = Path(folder, "log")
        log.touch()
        process = subprocess.Popen(
            [binary("postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            cwd=folder,
            **as_account,
        )
        try:
            _wait(process, port, log)
            yield f"postgresql://ledger@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: its files go anyway
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    ready = [binary("pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
    while subprocess.run(ready, check=False).returncode != 0:
        assert process.poll() is None, f"PostgreSQL ended: {log.read_text()}"
        assert time.monotonic() < deadline, f"PostgreSQL is not ready after {seconds} s: {log.read_text()}"
        time.sleep(0.05)


def new_database(url: str, name: str) -> str:
    """URL of an empty database on the server."""
    from sqlalchemy import create_engine, make_url, text

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)
