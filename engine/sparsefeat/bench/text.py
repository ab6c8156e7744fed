"""A comparison in sentences, and in rows of text."""

from collections.abc import Sequence

from sparsefeat.bench.engines import FALLBACK
from sparsefeat.bench.ratios import MIN_ROUNDS
from sparsefeat.bench.result import Result, Speed
from sparsefeat.system import counted

# Which share of the processors that the engines want others may use before it is worth a word.
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
    """Write each row's cells, in the order of `COLUMNS`."""
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
    """Say in one sentence for each engine and batch size what the numbers support, and no more."""
    return [_finding(row, result) for row in result.rows() if row.ratio is not None]


def cautions(result: Result) -> list[str]:
    """Say what to keep in mind of this run."""
    said = [f"{name} is left out: {reason}" for name, reason in result.left_out.items()]
    if result.stopped:
        said.append("The run was ended early: what had been measured by then is shown.")
    threads = result.settings["threads"]
    if busy := _busy(result):
        said.append(f"The machine was busy: {busy}. Trust ratios rather than images/s.")
    delayed = max((one.delayed for one in result.measurements), default=0.0)
    if delayed > 0.1:
        said.append(
            f"An engine's threads were ready but had no processor for up to {100 * delayed:.0f} % "
            "of the time that they could have run: other programs had it, a quota held them, or "
            "there are more threads than processors."
        )
    said += [
        f"{one.engine} was not steady after "
        f"{counted(len(one.warm_up_seconds), 'batch', 'batches')} of {one.batch_size} to warm up: "
        "its first rounds may be slower than it is."
        for one in result.measurements
        if not one.settled
    ]
    if any(one.agreement.reference == FALLBACK for one in result.measurements):
        said.append(
            f"Answers were compared with {FALLBACK}'s, as Keras can't be had here or can't give "
            "these layers; its own were compared with the model's probe alone."
        )
    available = result.environment["limits"]["available_threads"]
    if threads > available:
        said.append(f"{threads} threads were asked for, but only {available} can run at a time.")
    idle = {one.engine: one.idle_threads for one in result.measurements if one.idle_threads > 0.1}
    for name, share in idle.items():
        said.append(
            f"{name} used {share:.1f} processors while others were timed, which slowed them."
        )
    if any(engine["device"] == "gpu" for engine in result.engines.values()):
        said.append(
            "onnxruntime-cuda ran on a GPU and everything else on the processor: that ratio "
            "compares devices, too."
        )
    if len(result.settings["image_paths"]) < result.settings["images"]:
        n_images = counted(len(result.settings["image_paths"]), "image")
        again = "a turn goes through them again" if _from_files(result) else "batches repeat them"
        said.append(f"Only {n_images} could be used: {again}.")
    return said


def _busy(result: Result) -> str | None:
    """Say how other programs had the processors that the engines wanted; None if they had not."""
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
    # The load of the last minute is all that there is to go by, and our own may be in it.
    load = result.environment["load_average"]
    if load and load[0] > max(1.0, most):
        return (
            f"its load average was {load[0]:g} before the run, on {counted(count, 'processor')}, "
            "and this system doesn't say what other programs used during it"
        )
    return None


def method(result: Result) -> list[str]:
    """Say how it was measured."""
    threads = result.settings["threads"]
    images = len(result.settings["image_paths"])
    whose = "given" if result.settings["own_images"] else "that sparsefeat ships"
    if _from_files(result):
        timed = (
            "Timed was a pass from JPEG files to features: "
            f"{counted(images, 'image')} {whose}, read, decoded and resized by each "
            "engine's usual loader, and every layer asked for as NumPy arrays, or as sparse "
            "rows where the engine is sparsefeat's. All loaders make the same pixels. The "
            "files had been read before: disks are not timed."
        )
    else:
        timed = (
            f"Only the network was timed: from a float32 array of {images} decoded images "
            f"{whose} to NumPy arrays of every layer asked for. Reading and decoding images is "
            "not in it."
        )
    alone = (
        f"Each engine ran in a process of its own with {counted(threads, 'thread')}, the same "
        "weights and the same layers. One computed at a time; in every round each had one turn, in "
        "an order drawn anew, after it had been warmed up; where batches are short, the first of a "
        "turn was not timed. Where there was something to compare, one engine had two turns."
    )
    checked = (
        "Before it was timed, each engine's answers were compared with the reference's; ONNX "
        "Runtime's provider and precision are proved on the probe stored in the model as well."
    )
    judged = (
        "A ratio is the median over rounds of images/s over the baseline's in the same round, its "
        "interval two of the rounds' ratios, of such ranks that it holds the true median 95 % of "
        "the time or more (if rounds are independent; of fewer than six it is their range). A "
        "difference is claimed only if the interval leaves out 1 and the ratio is further from 1 "
        "than the ratio of an engine's two turns in the same rounds would be (noise), and after "
        f"{MIN_ROUNDS} rounds or more."
    )
    return [timed, alone, checked, judged]


def heading(result: Result) -> str:
    """Say in one line what was compared."""
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
        return f"{where} against {row.baseline}: too few rounds to tell ({_rounds(row, result)})."
    if row.ratio.verdict == "no difference":
        return (
            f"{where} and {row.baseline}: no difference that {_rounds(row, result)} can show "
            f"(ratio {_times(interval.median)}, {span}; noise {100 * row.ratio.noise:.0f} %)."
        )
    if row.ratio.verdict == "faster":
        return f"{where} is {_times(interval.median)} times as fast as {row.baseline} ({span})."
    return (
        f"{where} is slower than {row.baseline}: {_times(interval.median)} times its images/s "
        f"({span})."
    )


def _rounds(row: Speed, result: Result) -> str:
    (count,) = {
        len(one.rounds)
        for one in result.measurements
        if (one.engine, one.batch_size) == (row.engine, row.batch_size)
    }
    return counted(count, "round")


def digits(number: float) -> str:
    """Write three digits or so: more are noise."""
    return f"{number:#.3g}" if number < 99.95 else f"{number:,.0f}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"
