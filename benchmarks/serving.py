"""Measure the latency of examples/serve.py: one core and two, with and without micro-batching.

    pip install fastapi uvicorn
    python benchmarks/serving.py --model demo/vgg16.onnx --image demo/photos/chelsea.png

For each setting it starts the server on loopback, bound to its cores, sends a fixed number of
requests from some clients at a time, and stops it. Clients run on any core, so they take a little
of the server's time. Settings take turns in each round, and the figures are those of all rounds.
"""

import argparse
import http.client
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

SERVER = Path(__file__).parents[1] / "examples/serve.py"


@dataclass(kw_only=True)
class Measured:
    start_seconds: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # seconds of each request
    requests_per_second: list[float] = field(default_factory=list)
    peak_bytes: int = 0


@contextmanager
def serving(model: Path, layer: str, cores: int, max_batch: int) -> Iterator[tuple[int, int]]:
    """Start the server; yield its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", port, "--threads", cores, "--max-batch", max_batch]
    server = subprocess.Popen(
        [sys.executable, SERVER, model, layer, *map(str, options)],
        preexec_fn=lambda: os.sched_setaffinity(0, range(cores)),
    )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def request(port: int, body: bytes, count: int) -> list[float]:
    """Send requests one after the other on one connection; return the seconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        connection.request("POST", "/features", body)
        response = connection.getresponse()
        response.read()
        seconds.append(time.perf_counter() - start)
        assert response.status == 200
    connection.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--layer", default="block5_pool")
    parser.add_argument("--requests", type=int, default=96, help="of each setting and round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    body = given.image.read_bytes()
    settings = [
        (cores, clients, max_batch)
        for cores in (1, 2)
        for clients in (1, 8)
        for max_batch in (0, 8)
        if cores <= len(os.sched_getaffinity(0))
    ]
    found: dict[tuple[int, int, int], Measured] = defaultdict(Measured)
    for _ in range(given.rounds):
        for cores, clients, max_batch in settings:
            measured = found[cores, clients, max_batch]
            start = time.perf_counter()
            with serving(given.model, given.layer, cores, max_batch) as (port, pid):
                measured.start_seconds.append(time.perf_counter() - start)
                request(port, body, 3)
                start = time.perf_counter()
                with ThreadPoolExecutor(clients) as pool:
                    each = given.requests // clients
                    done = [pool.submit(request, port, body, each) for _ in range(clients)]
                    measured.seconds += [one for future in done for one in future.result()]
                took = time.perf_counter() - start
                measured.requests_per_second.append(each * clients / took)
                memory = psutil.Process(pid).memory_info().rss
                measured.peak_bytes = max(measured.peak_bytes, memory)

    load = os.getloadavg()[0]
    lines = [
        f"{given.layer}, {given.rounds} x {given.requests} requests each, load average {load:.1f}",
        "cores  clients  micro-batching  p50 ms  p99 ms  requests/s  start s  memory MB",
    ]
    for (cores, clients, max_batch), one in found.items():
        p50, p99 = 1000 * np.percentile(one.seconds, [50, 99])
        batching = f"at most {max_batch}" if max_batch else "none"
        lines.append(
            f"{cores:5}  {clients:7}  {batching:>14}  {p50:6.0f}  {p99:6.0f}  "
            f"{np.median(one.requests_per_second):10.1f}  {np.median(one.start_seconds):7.1f}  "
            f"{one.peak_bytes / 1e6:9.0f}"
        )
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
