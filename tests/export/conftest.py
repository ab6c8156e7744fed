"""A process that has imported Keras, and files that Keras makes once per test run."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsefeat_export.sources.fetching import wheel_path

RunInKeras = Callable[..., subprocess.CompletedProcess[str]]
QuickExport = Callable[..., str]

# Runs the tasks of an export in the process itself, which has imported Keras already. What
# processes are for is tested with `small_vgg16` and others, which are exported as users do.
EXPORT_HERE = """
import functools, json, sys
import sparsefeat_export
from sparsefeat_export import exporter, tasks
def run_task(task, job, folder):
    # What a task is given and gives passes through files of JSON otherwise.
    return json.loads(json.dumps(tasks.TASKS[task](json.loads(json.dumps(job)), folder)))
exporter.run_task = run_task
"""

EXPORT = f"""{EXPORT_HERE}
output, weights, options, in_memory = json.loads(sys.argv[1])
if in_memory:
    import keras
    weights = keras.saving.load_model(weights)
sparsefeat_export.export(output, weights=weights, channels_divisor=16, **options)
"""


EXPORT_COMMAND = f"""{EXPORT_HERE}
from sparsefeat.cli import main
sparsefeat_export.export = functools.partial(sparsefeat_export.export, channels_divisor=16)
main(["export", *sys.argv[1:]])
"""


@pytest.fixture(scope="session")
def run_in_keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunInKeras]:
    """Run a program, or a script, in a new process in which Keras is imported already."""
    folder = tmp_path_factory.mktemp("server")
    log = folder / "server.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("keras_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Keras reads these when it is imported; nor may it find what a user has downloaded. The
            # threads of OpenBLAS would not survive a fork.
            env=os.environ | {"KERAS_HOME": str(folder / "keras"), "OPENBLAS_NUM_THREADS": "1"},
            text=True,
        )

    def run(
        program: str | Path, *arguments: object, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        assert server.stdin is not None
        assert server.stdout is not None
        stdout, stderr = folder / "stdout", folder / "stderr"
        request = {
            "program": str(program),
            "script": isinstance(program, Path),
            "arguments": [str(one) for one in arguments],
            "environment": environment or {},
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        stdout.write_text("")
        stderr.write_text("")
        server.stdin.write(f"{json.dumps(request)}\n")
        server.stdin.flush()
        status = server.stdout.readline()
        assert status, log.read_text()
        return subprocess.CompletedProcess(
            [str(program)], int(status), stdout.read_text(), stderr.read_text()
        )

    with server:
        yield run


@pytest.fixture(scope="session")
def quick_export(run_in_keras: RunInKeras) -> QuickExport:
    """Export a narrow model in a process that has imported Keras; return what it warned of."""

    def export(output: Path, *, weights: Path, in_memory: bool = False, **options: Any) -> str:
        request = json.dumps([str(output), str(weights), options, in_memory])
        done = run_in_keras(EXPORT, request)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return export


@pytest.fixture(scope="session")
def keras_files(
    vgg16: Path, run_in_keras: RunInKeras, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that `keras_models.py` fills; `vgg16` has fetched the wheel that it reads."""
    folder = tmp_path_factory.mktemp("keras")
    done = run_in_keras(Path(__file__).with_name("keras_models.py"), folder, wheel_path())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def narrow_export(
    keras_files: Path, quick_export: QuickExport, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that gives the export of a narrow Keras file by its name.

    ``finetuned.keras`` is exported as a model in memory, and how its pixels are scaled isn't said.
    What the export warned of is in the file ``warned`` of the folder above.
    """

    @functools.cache
    def export(name: str) -> Path:
        in_memory = name == "finetuned.keras"
        folder = tmp_path_factory.mktemp(name)
        path = folder / "new" / "model.onnx"
        warned = quick_export(
            path,
            weights=keras_files / name,
            in_memory=in_memory,
            scaling=None if in_memory else "caffe",
        )
        (folder / "warned").write_text(warned)
        return path

    return export
