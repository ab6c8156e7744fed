"""A process that runs one engine on command: ``python -m sparsefeat.bench.worker``.

It reads a JSON object from each line of standard input, and answers with one on standard output:

=======================================================  =======================================
``{"build": "module:name", "options": {}, ...}``           ``{"facts": {}}``; the first command
``{"do": "answer", "batch_size", "rows", "folder"}``       ``{"layers": []}``, each in a file
``{"do": "time", "batch_size", "repeats", "untimed"}``     ``{"seconds": [], ...}``, see `_time`
any command that fails                                   ``{"error": "", "message": ""}``
=======================================================  =======================================

The first object also has the input. Either ``"images"``, the name of a ``.npy`` file of arrays:
each run takes one batch of it. Or ``"files"``, lists of image files by batch size, and the
``"size"`` to resize them to: each run goes through a whole list. `build` is resolved here, so that
this package and the one that imports TensorFlow don't import each other. The process ends when its
standard input does.
"""

import importlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsefeat.system import failed_import

Float32 = NDArray[np.float32]


class Runnable(Protocol):
    """The engine that `build` names."""

    facts: dict[str, Any]

    def run(self, images: Float32) -> Mapping[str, Float32]:
        """Run float32 (N, H, W, 3) through the network."""
        ...

    def extract(
        self, files: Sequence[str], *, batch_size: int, size: tuple[int, int]
    ) -> Iterator[Mapping[str, Any]]:
        """Load files with the engine's usual loader, and run them in batches.

        Yields, for each batch, the layers as arrays or as objects with ``__array__``. They may
        become invalid when the next batch is requested.
        """
        ...


def main() -> None:
    """Serve until standard input ends."""
    # What libraries print goes to standard error, not among the answers.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        commands = _commands()
        server: _Server | None = None
        while True:
            command = commands.get()
            try:
                if server is None:
                    server = _Server(command)
                    answer: dict[str, Any] = {"facts": server.engine.facts}
                else:
                    answer = server.serve(command)
            except Exception as exc:  # the parent raises it
                told = failed_import(exc) or exc
                answer = {
                    "error": type(told).__name__,
                    "message": " ".join(str(told).split()),
                }
            out.write(json.dumps(answer) + "\n")
            out.flush()


class _Server:
    def __init__(self, start: dict[str, Any]) -> None:
        module, _, name = start["build"].partition(":")
        self.engine: Runnable = getattr(importlib.import_module(module), name)(**start["options"])
        self._files: dict[str, list[str]] | None = start.get("files")
        if self._files is None:
            self._images: Float32 = np.load(start["images"])
        else:
            height, width = start["size"]
            self._size = (height, width)
        self._left: tuple[float, float] | None = None

    def serve(self, command: dict[str, Any]) -> dict[str, Any]:
        batch_size = command["batch_size"]
        if command["do"] == "answer":
            return self._answer(batch_size, command["rows"], Path(command["folder"]))
        return self._time(batch_size, command["repeats"], command["untimed"])

    def _run(self, batch_size: int) -> Iterator[Mapping[str, Any]]:
        if self._files is None:
            yield self.engine.run(self._images[:batch_size])
        else:
            files = self._files[str(batch_size)]
            yield from self.engine.extract(files, batch_size=batch_size, size=self._size)

    def _go(self, batch_size: int) -> float:
        """Run once; return the seconds until the last outputs were available."""
        before = last = time.perf_counter()
        for outputs in self._run(batch_size):
            last = time.perf_counter()
            del outputs  # freeing the last batch isn't timed
        return last - before

    def _answer(self, batch_size: int, rows: list[int], folder: Path) -> dict[str, Any]:
        found: dict[str, list[Float32]] = {}
        first = 0
        for outputs in self._run(batch_size):
            count = 0
            for name, output in outputs.items():
                count = len(output)
                wanted = [row - first for row in rows if first <= row < first + count]
                found.setdefault(name, []).append(np.asarray(output)[wanted])
            first += count
        for index, parts in enumerate(found.values()):
            np.save(folder / f"{index}.npy", np.concatenate(parts))
        return {"layers": list(found)}

    def _time(self, batch_size: int, repeats: int, untimed: int) -> dict[str, Any]:
        """Time single runs, and measure the processor time of the turn and of the wait before it.

        `untimed` runs come first, to fill the caches that other engines have used since the last
        turn. `turn_delay_seconds` is how long threads were ready to run but had no processor,
        because other threads, of other programs or of this engine, were using it.
        """
        begun, cpu_begun = time.perf_counter(), time.process_time()
        waited, waited_cpu = 0.0, 0.0
        if self._left is not None:
            waited, waited_cpu = begun - self._left[0], cpu_begun - self._left[1]
        for _ in range(untimed):
            self._go(batch_size)
        delays_start = thread_delays()
        start, cpu_start = time.perf_counter(), time.process_time()
        seconds = [self._go(batch_size) for _ in range(repeats)]
        end, cpu_end = time.perf_counter(), time.process_time()
        delays_end = thread_delays()
        self._left = time.perf_counter(), time.process_time()
        return {
            "seconds": seconds,
            "turn_seconds": end - start,
            "turn_cpu_seconds": cpu_end - cpu_start,
            "turn_delay_seconds": delay_seconds(delays_start, delays_end),
            "waited_seconds": waited,
            "waited_cpu_seconds": waited_cpu,
            "peak_bytes": _peak_bytes(),
        }


def _commands() -> "queue.SimpleQueue[dict[str, Any]]":
    """Read commands in a thread, so that the process ends as soon as its parent does."""
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    # sys.stdin isn't used: a process forked by a loader closes it, and would wait for its lock.
    lines = os.fdopen(os.dup(0))

    def read() -> None:
        for line in lines:
            commands.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return commands


def delay_seconds(before: Mapping[int, int], after: Mapping[int, int]) -> float:
    """Sum how long threads waited between two readings of `thread_delays`, in seconds.

    Threads that started or ended in between aren't counted, since one of their readings is missing.
    """
    waited = sum(max(0, after[thread] - before[thread]) for thread in before.keys() & after.keys())
    return waited / 1e9


def thread_delays() -> dict[int, int]:
    """Read how many nanoseconds each thread has waited for a processor; empty except on Linux."""
    delays = {}
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, IndexError, ValueError):  # a thread may have ended
            delays[int(path.parent.name)] = int(path.read_text().split()[1])
    return delays


def _peak_bytes() -> int | None:
    """Return the largest resident memory so far, in bytes; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
