"""A process that reads a store in every possible way, under a limit of memory and time.

Reads a folder in a line, and answers with what came of each look, in a line of JSON: each in a
child of its own, forked so that nothing is imported again. Run it with
``python -m tests.engine.store.confined``.
"""

import contextlib
import gc
import io
import json
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata  # noqa: F401
import pandas as pd  # noqa: F401
import scipy.sparse  # noqa: F401

from sparsefeat.cli import main as sparsefeat_command
from sparsefeat.store import Store, StoreWriter, info, verify
from sparsefeat_kernels import csr_zeros_per_channel, encode, to_dense

from .attacks import LAYERS, SETTINGS
from .data import SMALL, make_batch

# In addition to the memory that libraries take; all stores that it reads are tiny.
MEMORY = 384 << 20
SECONDS = 20

Look = Callable[[Path], Any]


def resume(folder: Path) -> None:
    """Open for writing, which reads the tables."""
    StoreWriter.open(folder, layers=LAYERS, settings=SETTINGS, provenance={}).close()


def every_layer(read: Callable[[Store, str], Any]) -> Look:
    def look(folder: Path) -> None:
        store = Store(folder)
        errors = []
        for layer in store.layers:
            try:
                read(store, layer)
            except Exception as exc:  # damage of one layer must not hide that of another
                errors.append(exc)
        if errors:
            raise errors[0]

    return look


def check(folder: Path) -> None:
    report = verify(folder)
    if not report.ok:
        damage = [str(finding) for finding in report.findings if not finding.harmless]
        raise DamageError(max(damage, key=lambda line: line.count("\n")))


class DamageError(Exception):
    """Raised with the findings of `verify`."""


LOOKS: dict[str, Look] = {
    "matrix": every_layer(lambda store, layer: store[layer][:]),
    "row": every_layer(lambda store, layer: store[layer][1]),
    "dense": every_layer(lambda store, layer: store[layer].to_numpy()),
    "zeros": every_layer(lambda store, layer: store[layer].zeros()),
    "obs": lambda folder: Store(folder).obs,
    "rejected": lambda folder: Store(folder).rejected,
    "info": info,
    "verify": check,
    "resume": resume,
}
COMMANDS = {
    "info": ["info"],
    "verify": ["verify"],
    "sparsity": ["sparsity", "--by", "channel"],
    "report": ["report", "--json"],
}


def look_at(folder: Path) -> dict[str, str]:
    """Return what each way of reading raised: the error's name and message, or nothing."""
    outcomes = {}
    for name, look in LOOKS.items():
        try:
            look(folder)
            outcomes[name] = ""
        except Exception as exc:
            outcomes[name] = f"{type(exc).__name__}: {exc}"
    return outcomes


def command(name: str, folder: Path) -> dict[str, Any]:
    """Return the exit code of a command and its standard error."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            sparsefeat_command([*COMMANDS[name], str(folder)])
        except SystemExit as exc:
            code = exc.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def confine() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    used = sum(os.times()[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS, int(used) + SECONDS))


def warm_up() -> None:
    """Compile and load everything that children need, so that they share it; start no thread."""
    warm = make_batch([0])
    for layer in SMALL:
        to_dense(warm.layers[layer.name])
        encode(to_dense(warm.layers[layer.name]))
        csr_zeros_per_channel(warm.layers[layer.name], layer.n_channels)
    gc.collect()
    gc.freeze()


def child(request: dict[str, Any], answers: int) -> None:
    confine()
    warnings.simplefilter("error")
    folder = Path(request["folder"])
    answer = command(request["command"], folder) if "command" in request else look_at(folder)
    os.write(answers, json.dumps(answer).encode() + b"\n")


def main() -> None:
    warm_up()
    answers = os.dup(1)
    while line := sys.stdin.readline():
        # A file, because answers may be long, and a child that dies leaves it empty.
        with tempfile.TemporaryFile() as file:
            pid = os.fork()
            if pid == 0:
                try:
                    child(json.loads(line), file.fileno())
                finally:
                    os._exit(0)
            status = os.waitpid(pid, 0)[1]
            file.seek(0)
            os.write(answers, file.read() or json.dumps({"died": status}).encode() + b"\n")


if __name__ == "__main__":
    main()
