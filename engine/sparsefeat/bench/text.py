"""Writes a comparison as sentences and as rows of text."""

from collections.abc import Sequence

from sparsefeat.bench.engines import FALLBACK
from sparsefeat.bench.ratios import MIN_ROUNDS
from sparsefeat.bench.result import Result, Speed
from sparsefeat.system import counted

# Other programs may use this share of an engine's processors before the text mentions it.
BUSY = 0.1

COLUMNS = (
    "engine",
    "batch",
    "images/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "ratio",
    "95 %",
    "verdict",
    "relative error",
    "zeros agree",
)


def table(rows: Sequence[Speed]) -> list[tuple[str, ...]]:
    """Return the cells of each row, in the order of `COLUMNS`."""
    lines = []
    for row in rows:
        ratio = row.ratio
        span = ""
        if ratio is not None:
            span = f"{_times(ratio.interval.low)}-{_times(ratio.interval.high)}"
        lines.append(
            (
                row.engine,
                str(row.batch_size),
                digits(row.images_per_second.median),
                *(digits(1000 * seconds) for seconds in row.seconds),
                "1" if ratio is None else _times(ratio.interval.median),
                span,
                "baseline" if ratio is None else ratio.verdict,
                "reference"
                if row.engine == row.agreement.reference
                else f"{row.agreement.relative_l2:.1e}",
                "" if row.engine == row.agreement.reference else f"{row.agreement.zeros_agree:.4f}",
            )
        )
    return lines


def findings(result: Result) -> list[str]:
    """Return a sentence for each engine and batch size, which claims only what the numbers show."""
    return [_finding(row, result) for row in result.rows() if row.ratio is not None]


def cautions(result: Result) -> list[str]:
    """Return sentences on what limits the meaning of the numbers."""
    said = [f"{name} was left out: {reason}" for name, reason in result.left_out.items()]
    if result.stopped:
        said.append("The run was stopped early: only finished rounds are shown.")
    threads = result.settings["threads"]
    if busy := _busy(result):
        said.append(f"The machine was busy: {busy}. Trust ratios rather than images/s.")
    delayed = max((one.delayed for one in result.measurements), default=0.0)
    if delayed > 0.1:
        said.append(
            f"An engine's threads were ready but had no processor for up to {100 * delayed:.0f} % "
            "of their time: other programs used it, a quota applied, or there are more threads "
            "than processors."
        )
    said += [
        f"The times of {one.engine} were not steady after a warm-up of "
        f"{counted(len(one.warm_up_seconds), 'batch', 'batches')} of {one.batch_size}: its first "
        "rounds may be too slow."
        for one in result.measurements
        if not one.settled
    ]
    if any(one.agreement.reference == FALLBACK for one in result.measurements):
        said.append(
            f"Outputs were compared with those of {FALLBACK}, because Keras isn't installed or "
            f"doesn't have these layers. Those of {FALLBACK} itself were compared with the probe "
            "in the model only."
        )
    available = result.environment["limits"]["available_threads"]
    if threads > available:
        said.append(
            f"Each engine had {threads} threads, but this process may use only "
            f"{counted(available, 'processor')}."
        )
    idle = {one.engine: one.idle_threads for one in result.measurements if one.idle_threads > 0.1}
    for name, share in idle.items():
        said.append(
            f"{name} used {share:.1f} processors while other engines were timed, which slowed them."
        )
    if any(engine["device"] == "gpu" for engine in result.engines.values()):
        said.append(
            "onnxruntime-cuda ran on a GPU and the other engines on the CPU: its ratio compares "
            "devices too."
        )
    if len(result.settings["image_paths"]) < result.settings["images"]:
        n_images = counted(len(result.settings["image_paths"]), "image")
        where = "within each turn" if _from_files(result) else "in each batch"
        said.append(f"Only {n_images} could be used: images repeat {where}.")
    return said


def _busy(result: Result) -> str | None:
    """Say how much other programs used the engines' processors; return None if it was little."""
    limits, threads = result.environment["limits"], result.settings["threads"]
    count = len(limits["affinity"] or ()) or result.environment["processor"]["logical_count"] or 1
    most = max(0, count - threads) + BUSY * min(threads, count)
    measured = [one.others for one in result.measurements if one.others is not None]
    if measured:
        if max(measured) <= most:
            return None
        return (
            f"other programs used up to {max(measured):.1f} of {counted(count, 'processor')} while "
            "an engine was timed"
        )
    # Only the load of the last minute is known, which may include our own.
    load = result.environment["load_average"]
    if load and load[0] > max(1.0, most):
        return (
            f"its load average was {load[0]:g} before the run, on {counted(count, 'processor')}; "
            "this system doesn't report what other programs used during the run"
        )
    return None


def method(result: Result) -> list[str]:
    """Return paragraphs that describe the method."""
    threads = result.settings["threads"]
    images = len(result.settings["image_paths"])
    whose = "of yours" if result.settings["own_images"] else "that sparsefeat ships"
    if _from_files(result):
        timed = (
            f"Each run went from JPEG files to features: {counted(images, 'image')} {whose}, "
            "read, decoded and resized by the engine's usual loader. The results were NumPy arrays "
            "of every layer, or sparse rows from sparsefeat's engines. All loaders make the same "
            "pixels. The files had been read before, so disks were not timed."
        )
    else:
        timed = (
            "Only the network was timed: from a float32 array of "
            f"{counted(images, 'image')} {whose} to NumPy arrays of every layer. Reading and "
            "decoding were not timed."
        )
    alone = (
        f"Each engine ran in its own process with {counted(threads, 'thread')}, the same weights "
        "and the same layers. After a warm-up, every engine had one turn in each round, in a new "
        "random order, and one computed at a time. In a turn of short batches the first one was "
        "not timed. If there was more than one engine, one had two turns in each round, to measure "
        "the noise."
    )
    checked = (
        "Before they were timed, the outputs of each engine were compared with those of the "
        "reference. The provider and the precision of ONNX Runtime were verified on the probe in "
        "the model."
    )
    judged = (
        "A ratio is the median over rounds of an engine's images/s divided by the baseline's in "
        "the same round. Its interval contains the true median with at least 95 % confidence, if "
        "rounds are independent; with fewer than six rounds it is their range. An engine counts as "
        "faster or slower only if the interval doesn't contain 1, the ratio is further from 1 than "
        "the noise (the ratio of one engine's two turns in the same rounds), and there are at "
        f"least {MIN_ROUNDS} rounds."
    )
    return [timed, alone, checked, judged]


def heading(result: Result) -> str:
    """Return the model, layers, input and machine of the comparison, in one line."""
    settings = result.settings
    height, width = settings["size"]
    layers = settings["layers"]
    which = layers[0] if len(layers) == 1 else counted(len(layers), "layer")
    start = " from JPEG files" if _from_files(result) else ""
    return (
        f"{settings['model']}, {which}, images of {height}x{width}{start}, "
        f"{counted(settings['threads'], 'thread')}, {result.environment['processor']['model']}"
    )


def _from_files(result: Result) -> bool:
    return bool(result.settings["from_files"])


def _finding(row: Speed, result: Result) -> str:
    assert row.ratio is not None
    interval = row.ratio.interval
    where = f"Batches of {row.batch_size}: {row.engine}"
    span = f"95 %: {_times(interval.low)} to {_times(interval.high)}"
    if row.ratio.verdict == "too few rounds":
        return f"{where} against {row.baseline}: {_rounds(row, result)}, too few to tell."
    if row.ratio.verdict == "no difference":
        return (
            f"{where} and {row.baseline}: no difference in {_rounds(row, result)} "
            f"(ratio {_times(interval.median)}, {span}; noise {100 * row.ratio.noise:.0f} %)."
        )
    if row.ratio.verdict == "faster":
        return f"{where} is {_times(interval.median)} times as fast as {row.baseline} ({span})."
    return (
        f"{where} is slower than {row.baseline}: {_times(interval.median)} times as fast ({span})."
    )


def _rounds(row: Speed, result: Result) -> str:
    (count,) = {
        len(one.rounds)
        for one in result.measurements
        if (one.engine, one.batch_size) == (row.engine, row.batch_size)
    }
    return counted(count, "round")


def digits(number: float) -> str:
    """Write a number with three significant digits, or without decimals from 100 on."""
    return f"{number:#.3g}" if number < 99.95 else f"{number:,.0f}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"
