"""A process that forks writers, so that tests can kill them without waiting for their start.

Reads a JSON command in a line, and answers with the child's pid and what the child reports;
after one more line, with its exit status. Run it with ``python -m tests.engine.store.killable``.
"""

import io
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsefeat.errors import StoreError
from sparsefeat.store import StoreWriter, compact, remove, vacuum
from sparsefeat_kernels import csr_zeros_per_channel, to_dense

from .data import SMALL, leftovers, make_batch, make_reject, make_row

BATCH = 4


def open_writer(folder: str, **options: Any) -> StoreWriter:
    settings = {"pool": "none"}
    return StoreWriter.open(Path(folder), layers=SMALL, settings=settings, provenance={}, **options)


def extract(folder: str, count: int) -> None:
    """Append as an extraction does: skip stored images, append the rest."""
    with open_writer(folder, rows_per_part=6) as writer:
        statuses = writer.index.statuses([make_row(number) for number in range(count)])
        todo = [number for number, status in enumerate(statuses) if status == "new"]
        for start in range(0, len(todo), BATCH):
            numbers = todo[start : start + BATCH]
            rejects = [make_reject(number) for number in numbers if number % 5 == 0]
            writer.append(make_batch(numbers, rejects=rejects))


def limited(folder: str, bytes_per_file: int, count: int) -> None:
    """Append under a limit of file size, which acts like a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))
    extract(folder, count)


def nobody(folder: str, count: int) -> None:
    """Append as a user without any permission."""
    if os.getuid() == 0:
        os.setuid(65534)
    extract(folder, count)


def dying(work: str, folder: str, dies_at: int) -> None:
    """Do some work, and be killed before a given call that changes the disk."""
    calls, opening = 0, io.open

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += call is not opening or "r" not in arguments[1]
            if calls == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return count

    for name in ("mkdir", "rename", "replace", "link", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    io.open = counted(opening)
    # A killed process loses nothing that it wrote, unlike a machine that loses power.
    os.fsync = lambda fd: None
    match work:
        case "extract":
            extract(folder, count=8)  # two parts
        case "compact":
            compact(Path(folder), rows_per_part=8)
        case "remove":
            remove(Path(folder), "bytes % 3 == 0")
        case "vacuum":
            vacuum(Path(folder), older_than=0)
    report({"calls": calls})


def sleeping(work: str, folder: str, before: str) -> None:
    """Do some work, but wait for a file ``.awake`` before a snapshot is written or linked."""
    modules: dict[str, Any] = {"open": io, "link": os}
    calls = {name: getattr(module, name) for name, module in modules.items()}

    def late(*arguments: Any, **options: Any) -> Any:
        if before == "link" or "x" in arguments[1]:
            setattr(modules[before], before, calls[before])
            report({"sleeps": True})
            while not Path(folder, ".awake").exists():
                time.sleep(0.01)
        return calls[before](*arguments, **options)

    setattr(modules[before], before, late)
    if work == "remove":
        remove(Path(folder), "bytes == 1000")
    else:
        extract(folder, count=4)


def compacting_limited(folder: str, bytes_per_file: int) -> None:
    """Compact under a limit of file size, which acts like a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))
    compact(Path(folder), rows_per_part=8)


def barred(folder: str, count: int, where: str) -> None:
    """Append as a user who loses the permission to write after the first part."""
    if os.getuid() == 0:
        os.setuid(65534)
    store = Path(folder)
    with open_writer(folder, rows_per_part=6) as writer:
        writer.append(make_batch(range(8)))  # one part, and two rows of the next one
        (in_flight,) = leftovers(store)
        match where:
            case "store":
                for each in (store, store / "parts", store / "snapshots"):
                    each.chmod(0o555)
            case "part":
                in_flight.chmod(0o555)
            case "everything":
                store.chmod(0o000)
            case "gone":
                shutil.rmtree(in_flight)
        writer.append(make_batch(range(8, count)))


def report(answer: dict[str, Any]) -> None:
    # In one write, because parent and child share the pipe.
    os.write(1, json.dumps(answer).encode() + b"\n")


def child(command: Callable[..., None], arguments: dict[str, Any]) -> None:
    try:
        command(**arguments)
        report({"error": None})
    except StoreError as exc:
        report({"error": type(exc).__name__, "message": str(exc)})


def main() -> None:
    # Load compiled kernels once, instead of in every child. No thread is started.
    warm = make_batch([0])
    for layer in SMALL:
        to_dense(warm.layers[layer.name])
        csr_zeros_per_channel(warm.layers[layer.name], layer.n_channels)
    functions = (dying, sleeping, compacting_limited, extract, limited, nobody, barred)
    commands = {function.__name__: function for function in functions}
    while line := sys.stdin.readline():
        arguments = json.loads(line)
        command = commands[arguments.pop("command")]
        pid = os.fork()
        if pid == 0:
            try:
                child(command, arguments)
            except KeyboardInterrupt:
                os._exit(1)
            finally:
                os._exit(0)
        report({"pid": pid})
        # Only on request, so that the pid isn't reused before the test kills it.
        sys.stdin.readline()
        report({"status": os.waitpid(pid, 0)[1]})


if __name__ == "__main__":
    main()
