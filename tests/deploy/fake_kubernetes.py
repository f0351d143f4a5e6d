"""A fake of the Kubernetes API over real HTTP: it keeps Jobs and runs a container's arguments as a process.

Enough for the unmodified launcher and executor of dagster-k8s. It has no scheduler, no containers, no admission and no
rights, so it proves what is sent and that runs end, and nothing about a cluster.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

_JOBS = re.compile(r"/apis/batch/v1/namespaces/(?P<namespace>[^/]+)/jobs(?:/(?P<name>[^/?]+))?(?P<status>/status)?")
_PODS = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods")


@dataclass
class Cluster:
    """Jobs by name as they were posted, and the processes that stand in for their pods."""

    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def create(self, job: dict[str, Any]) -> dict[str, Any]:
        """Keep the Job and start its container."""
        name = job["metadata"]["name"]
        container = job["spec"]["template"]["spec"]["containers"][0]
        given = {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
        given.pop("DAGSTER_HOME", None)  # a path of the container
        executable, *arguments = container["args"]
        assert executable == "dagster"
        self.jobs[name] = job
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dagster", *arguments], env={**os.environ, **given}, stdout=log, stderr=log
            )
        return job

    def status(self, name: str) -> dict[str, Any]:
        """The Job with the state of its process; `backoffLimit` 0: one failure is the end."""
        code = self.processes[name].poll()
        states = {None: {"active": 1}, 0: {"succeeded": 1}}
        now = datetime.now(tz=UTC).isoformat()
        return {**self.jobs[name], "status": {"startTime": now, **states.get(code, {"failed": 1})}}

    def logs(self) -> str:
        """What every container printed, for a failed test."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(201, cluster.create(body))

        def do_GET(self) -> None:
            if _PODS.match(self.path):
                self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})
            elif (found := _JOBS.match(self.path)) and found["name"] in cluster.jobs:
                self._answer(200, cluster.status(found["name"]))
            else:
                self._answer(404, {"kind": "Status", "code": 404})

        def do_DELETE(self) -> None:
            found = _JOBS.match(self.path)
            assert found
            cluster.processes[found["name"]].kill()
            self._answer(200, {"kind": "Status", "code": 200})

        def _answer(self, code: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    return Handler


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """The fake, and a kubeconfig file that leads to it; processes that are left are killed."""
    found = Cluster(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = folder / "kubeconfig"
    entry = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [entry],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "current-context": "fake",
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    try:
        yield found, kubeconfig
    finally:
        for process in found.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        server.shutdown()
        server.server_close()
