"""A Ray cluster of two machines' worth of processes, all of them on loopback."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

# Ray binds to loopback only if it doesn't expect other machines; see docs/cluster.md.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_NODES = """
import json, sys
from ray.cluster_utils import Cluster

machine = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **machine})
node = cluster.head_node
while True:
    raylet = node.all_processes["raylet"][0].process.pid
    print(json.dumps({"address": cluster.address, "raylet": raylet}), flush=True)
    if not sys.stdin.readline():
        break
    node = cluster.add_node(**machine)
cluster.shutdown()
"""


class Nodes:
    """The machines of a cluster. Those that are added later may be killed."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._commands, self._answers = commands, answers
        self.address, head = self._started()
        self.raylets = [head]

    def add(self) -> psutil.Process:
        """Add a machine, and return its raylet."""
        self._commands.write("\n")
        self._commands.flush()
        self.raylets.append(self._started()[1])
        return self.raylets[-1]

    def workers(self) -> list[psutil.Process]:
        """Return the processes on all machines that are working on a unit."""
        return [
            child
            for raylet in self.raylets
            if raylet.is_running() and raylet.status() != psutil.STATUS_ZOMBIE
            for child in raylet.children(recursive=True)
            if _title(child).startswith("ray::extract_unit")
        ]

    def _started(self) -> tuple[str, psutil.Process]:
        said: dict[str, Any] = json.loads(self._answers.readline())
        return said["address"], psutil.Process(said["raylet"])


@contextmanager
def nodes(environment: Mapping[str, str] = {}) -> Iterator[Nodes]:
    """Start a cluster of one machine with one CPU."""
    pytest.importorskip("ray", reason="Ray is not installed")
    # Paths of sockets are short: not below pytest's folder.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    process = subprocess.Popen(
        [sys.executable, "-c", _NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": str(folder), **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    started: list[psutil.Process] = []
    try:
        cluster = Nodes(process.stdin, process.stdout)
        yield cluster
        started = psutil.Process(process.pid).children(recursive=True)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        for each in started:
            if each.is_running():
                each.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _title(process: psutil.Process) -> str:
    try:
        return next(iter(process.cmdline()), "")
    except psutil.Error:  # it has ended
        return ""
