"""Compares engines on the same machine, model and images."""

import datetime
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat.bench.agreement import Agreement, compare_answers
from sparsefeat.bench.engines import (
    ALL,
    ENGINES,
    FALLBACK,
    REFERENCE,
    Engine,
    choose_engines,
    engine_names,
)
from sparsefeat.bench.process import WorkerProcess
from sparsefeat.bench.result import Measurement, Result
from sparsefeat.bench.schedule import Progress, Schedule, Turns, n_turns
from sparsefeat.bench.work import (
    Files,
    ImageInputs,
    Images,
    Job,
    find_files,
    load_images,
    make_job,
    pass_length,
)
from sparsefeat.errors import (
    BenchmarkError,
    DependencyError,
    InputError,
    LayerError,
    ProviderError,
)
from sparsefeat.images import Preset, preset
from sparsefeat.model import Size
from sparsefeat.system import check_choice, describe_environment

DEFAULT_ROUNDS = 15

# Number of images whose outputs are compared; all 18 layers of one image take 56 MB.
CHECKED = 4

# These mean that an engine isn't available here; other errors are faults of the call or the model.
UNAVAILABLE = (ProviderError, DependencyError, LayerError)


def compare(
    model: str | os.PathLike[str],
    images: ImageInputs = (),
    *,
    int8: str | os.PathLike[str] | None = None,
    layers: str | Sequence[str] = "block5_pool",
    size: Size | None = None,
    preprocess: str | Preset = "keras",
    from_files: bool = False,
    batch_sizes: Collection[int] = (1, 8),
    engines: str | Collection[str] = ALL,
    baseline: str | None = None,
    threads: int | None = None,
    rounds: int = DEFAULT_ROUNDS,
    seconds: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Result:
    """Time the network in several engines, from float32 arrays or from JPEG files.

    Each engine runs in its own process with the same number of threads. The engines take turns in
    rounds, in a new random order in each round. One engine has two turns in each round: comparing
    it with itself measures the noise. Before the engines are timed, their outputs are compared
    with those of Keras, which is started for this even if it isn't timed. If Keras isn't installed
    or doesn't have the layers, ONNX Runtime's CPU provider takes its place.

    Parameters
    ----------
    model
        A float32 model file of ``sparsefeat export``; Keras gets the same weights.
    images
        The images, as `Extractor.extract` takes them; by default those that sparsefeat ships.
    int8
        The int8 model file made from `model`.
    layers
        The layers that every engine returns, as `Extractor` takes them.
    size
        (height, width) of the images; by default the model's.
    preprocess
        The preset that turns an image into an array, or its name.
    from_files
        Whether to time everything from JPEG files to features, with each engine's usual loader,
        instead of the network only. All loaders make the same pixels: those of the preset
        ``keras``.
    batch_sizes
        The batch sizes to measure, one after the other.
    engines
        Names of `ENGINES`, separated by commas or in a sequence. A named engine that isn't
        available raises an error; with ``all``, it is left out and the result says why.
    baseline
        The engine that the others are compared with; by default the fastest engine of TensorFlow
        at the same batch size, else ``onnxruntime-cpu``.
    threads
        Threads per engine; by default the number of processors that this process may use.
    rounds
        Turns of each engine at each batch size.
    seconds
        Total time to measure, instead of `rounds`; each engine has at least six rounds.
    seed
        Seed of the random order and of the noise estimate.
    progress
        Called with the number of turns done, their total, and the current work.
    stop
        Set it from another thread to stop after the current turn.

    Raises
    ------
    BenchmarkError
        An engine's process ended, or its outputs differ from the reference's.
    ProviderError, DependencyError
        A named engine isn't available here.
    ModelError, LayerError, InputError, SourceError
        As `Extractor` and `list_images` raise them.

    Examples
    --------
    >>> from sparsefeat.bench import compare
    >>> result = compare("vgg16.onnx", engines="onnxruntime-cpu", batch_sizes=[1], rounds=2)
    >>> [row.engine for row in result.rows()]
    ['onnxruntime-cpu']
    """
    stop = stop or threading.Event()
    wanted = choose_engines(engines)
    named = ALL not in engine_names(engines)
    if int8 is not None and not any(engine.precision == "int8" for engine in wanted):
        raise InputError(
            f"got an int8 model, but no engine among {', '.join(e.name for e in wanted)} runs it: "
            "add onnxruntime-cpu-int8 or onnxruntime-openvino-int8, or leave the int8 model out"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}, expected a whole number of at least 0")
    job = make_job(model, int8, layers, size, batch_sizes, threads, rounds, seconds)
    if from_files and preset(preprocess).name != "keras":
        raise InputError(
            f"preprocess is {preset(preprocess).name!r}, expected 'keras' with from_files: the "
            "loaders of the other engines have no other preset"
        )
    n_images = {size: pass_length(size) if from_files else size for size in job.batch_sizes}
    if baseline is not None:
        check_choice(baseline, [engine.name for engine in wanted], "baseline")
    turns_planned = rounds * n_turns(len(wanted)) * len(job.batch_sizes)
    tell = progress or (lambda done, total, what: None)
    started, begun = datetime.datetime.now(datetime.UTC), time.monotonic()
    machine = describe_environment()  # before this comparison loads the machine
    with tempfile.TemporaryDirectory(prefix="sparsefeat-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        work, used_images = _work(images, job, n_images, folder, from_files, preprocess)
        workers, left_out = _start(
            wanted,
            job,
            work,
            folder,
            stack,
            named=named,
            stop=stop,
            tell=lambda what: tell(0, turns_planned, what),
        )
        if baseline in left_out:
            raise ProviderError(f"baseline {baseline} isn't available here: {left_out[baseline]}")
        schedule = Schedule(
            workers,
            job.batch_sizes,
            rounds=rounds,
            seconds=seconds,
            baseline=baseline,
            seed=seed,
            progress=tell,
            stop=stop,
        )
        reference: WorkerProcess | None = None
        measurements: list[Measurement] = []
        for batch_size in job.batch_sizes:
            if stop.is_set():
                break
            if reference is None:
                tell(0, turns_planned, "starting the reference")
                reference = _reference(workers, job, work, folder, stack)
            agreements = _check(workers, reference, job, batch_size, n_images[batch_size], folder)
            turns = schedule.run(batch_size)
            measurements += [
                _measurement(engine, batch_size, n_images[batch_size], agreements[engine], taken)
                for engine, taken in turns.items()
                if taken.rounds
            ]
    return Result(
        settings={
            "model": job.file.path.name,
            "weights": job.file.metadata.weights.source,
            "weights_sha256": job.file.metadata.weights.sha256,
            "int8": None if job.int8 is None else job.int8.path.name,
            "layers": list(job.layers),
            "size": list(job.size),
            "preprocess": preset(preprocess).name,
            "from_files": from_files,
            "images": max(n_images.values()),
            **used_images,
            "threads": job.threads,
            "batch_sizes": list(job.batch_sizes),
            "rounds": None if seconds else rounds,
            "seconds": seconds,
            "baseline": baseline,
            "seed": seed,
        },
        engines={worker.engine.name: _facts(worker, from_files) for worker in workers},
        left_out=left_out,
        measurements=tuple(measurements),
        environment=machine,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - begun,
        stopped=stop.is_set(),
    )


def _work(
    images: ImageInputs,
    job: Job,
    n_images: Mapping[int, int],
    folder: Path,
    from_files: bool,
    preprocess: str | Preset,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prepare the input of all workers; return it, and the settings that describe its images."""
    most = max(n_images.values())
    if from_files:
        found = find_files(images, most, size=job.size)
        passes = {str(size): found.repeated(count) for size, count in n_images.items()}
        return {"files": passes, "size": list(job.size)}, _describe_images(found)
    scaling = job.file.metadata.preprocessing.scaling
    loaded = load_images(images, most, size=job.size, preprocess=preprocess, scaling=scaling)
    np.save(folder / "images.npy", loaded.array)
    return {"images": str(folder / "images.npy")}, _describe_images(loaded)


def _describe_images(used: Images | Files) -> dict[str, Any]:
    """Describe the images that are used, as settings of a result."""
    return {
        "image_paths": list(used.paths),
        "images_failed": used.failed,
        "own_images": used.own,
    }


def _start(
    wanted: Sequence[Engine],
    job: Job,
    work: dict[str, Any],
    folder: Path,
    stack: ExitStack,
    *,
    named: bool,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> tuple[list[WorkerProcess], dict[str, str]]:
    """Start the engines that are available, one after the other."""
    workers: list[WorkerProcess] = []
    left_out: dict[str, str] = {}
    for engine in wanted if named else ():
        job.options(engine)  # so that an invalid call fails before an engine is started
    for engine in wanted:
        if stop.is_set():
            break
        tell(f"starting {engine.name}")
        try:
            workers.append(_worker(engine, job, work, folder, stack))
        except UNAVAILABLE as exc:
            if named:
                raise
            left_out[engine.name] = str(exc)
    if left_out and not workers:
        raise ProviderError(f"no engine is available here: {'; '.join(left_out.values())}")
    return workers, left_out


def _worker(
    engine: Engine, job: Job, work: dict[str, Any], folder: Path, stack: ExitStack
) -> WorkerProcess:
    worker = WorkerProcess(engine, options=job.options(engine), work=work, folder=folder)
    stack.callback(worker.close)
    return worker


def _reference(
    workers: Sequence[WorkerProcess],
    job: Job,
    work: dict[str, Any],
    folder: Path,
    stack: ExitStack,
) -> WorkerProcess:
    """Return Keras if it is available, else the CPU provider; start it if it isn't timed."""
    started = {worker.engine.name: worker for worker in workers}
    try:
        return started.get(REFERENCE) or _worker(ENGINES[REFERENCE], job, work, folder, stack)
    except UNAVAILABLE:
        return started.get(FALLBACK) or _worker(ENGINES[FALLBACK], job, work, folder, stack)


def _check(
    workers: Sequence[WorkerProcess],
    reference: WorkerProcess,
    job: Job,
    batch_size: int,
    n_images: int,
    folder: Path,
) -> dict[str, Agreement]:
    """Compare the outputs of all engines for some rows of the batch, or files, to be timed."""
    rows = np.unique(np.linspace(0, n_images - 1, CHECKED).round().astype(int)).tolist()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        theirs = _answer(reference, job, batch_size, rows, Path(name) / "reference")
        agreements = {}
        for worker in workers:
            with tempfile.TemporaryDirectory(dir=name) as own:
                ours = _answer(worker, job, batch_size, rows, Path(own) / "answers")
                agreements[worker.engine.name] = compare_answers(
                    worker.engine, reference.engine, job.layers, ours=ours, theirs=theirs
                )
    return agreements


def _answer(
    worker: WorkerProcess, job: Job, batch_size: int, rows: list[int], folder: Path
) -> Path:
    """Have an engine write its outputs, a file for each layer in the order of the job's layers."""
    folder.mkdir()
    answer = worker.ask(do="answer", batch_size=batch_size, rows=rows, folder=str(folder))
    if answer["layers"] != list(job.layers):
        raise BenchmarkError(
            f"engine {worker.engine.name} returns the layers {', '.join(answer['layers'])}, "
            f"expected {', '.join(job.layers)}: its times can't be compared"
        )
    return folder


def _facts(worker: WorkerProcess, from_files: bool) -> dict[str, Any]:
    engine = worker.engine
    label = f"{engine.label}; {engine.loader}" if from_files else engine.label
    return {"label": label, "framework": engine.framework, **worker.facts}


def _measurement(
    engine: str, batch_size: int, n_images: int, agreement: Agreement, turns: Turns
) -> Measurement:
    def share(cpu: str, elapsed: str) -> float:
        total = sum(one[elapsed] for one in turns.rounds)
        return float(sum(one[cpu] for one in turns.rounds) / total) if total else 0.0

    cpu, delay = (
        sum(one[what] for one in turns.rounds)
        for what in ("turn_cpu_seconds", "turn_delay_seconds")
    )
    others = [one["others"] for one in turns.rounds if one["others"] is not None]
    return Measurement(
        engine=engine,
        batch_size=batch_size,
        images=n_images,
        agreement=agreement,
        warm_up_seconds=turns.warm_up_seconds,
        settled=turns.settled,
        rounds=tuple(tuple(one["seconds"]) for one in turns.rounds),
        repeats_timed=tuple(tuple(one["seconds"]) for one in turns.repeats_timed),
        threads_used=share("turn_cpu_seconds", "turn_seconds"),
        idle_threads=share("waited_cpu_seconds", "waited_seconds"),
        delayed=delay / (cpu + delay) if delay else 0.0,
        others=float(np.mean(others)) if others else None,
        peak_bytes=turns.rounds[-1]["peak_bytes"],
    )
