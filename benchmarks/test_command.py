"""The command `sparsefeat extract`: peak memory, time to the first row, and the cost of workers."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.bench import ENGINES

from .claims import Claim
from .conftest import MakeClaim, Models
from .memory import Peak, peak_memory
from .paired import Paired
from .photographs import Photographs

# Layers: numbers of images, and the limit in GB. All layers of 2,000 images would take
# 50 GB on disk.
MEMORY = {
    "block5_pool": ((100, 2000), 1.2),
    "pools": ((100, 400), 2.0),
    "all": ((50, 100), 3.0),
}
COUNTS_OF_A_TEST = (8, 24)


def command(photos: Path, output: Path, model: Path, *options: str) -> list[str]:
    words = ["sparsefeat", "extract", photos, "-o", output, "-m", model, *options]
    return [sys.executable, "-m", *map(str, words)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by layers; without timing, one choice is enough."""
    if "layers" in metafunc.fixturenames:
        timing = metafunc.config.getoption("benchmark_enable")
        metafunc.parametrize("layers", MEMORY if timing else ["pools"])


def test_peak_memory_does_not_grow(
    benchmark: BenchmarkFixture,
    models: Models,
    photographs: Photographs,
    timing: bool,
    claim: MakeClaim,
    tmp_path: Path,
    layers: str,
) -> None:
    counts, bar = MEMORY[layers]
    if not timing:
        counts = COUNTS_OF_A_TEST
    folders = [photographs.take(count) for count in counts]

    def measure() -> list[Peak]:
        peaks = []
        for folder, count in zip(folders, counts, strict=True):
            output = tmp_path / "features"
            peaks.append(peak_memory(command(folder, output, models.fp32, "-l", layers)))
            assert len(sparsefeat.open(output)) == count
            shutil.rmtree(output)
        return peaks

    few, many = benchmark.pedantic(measure)
    benchmark.extra_info["peaks"] = {
        str(count): asdict(peak) for count, peak in zip(counts, (few, many), strict=True)
    }
    claim(
        Claim(
            text=f"peak memory of {counts[1]:,} images, {layers}",
            measured=many.rss_gb,
            bar=bar,
            most=True,
            unit=" GB",
        )
    )
    claim(
        Claim(
            text=f"peak memory, {layers}: {counts[1]:,} / {counts[0]:,} images",
            measured=many.rss_gb / few.rss_gb,
            bar=1.1,
            most=True,
            unit="x",
        )
    )
    assert many.rss_gb < 1.3 * few.rss_gb


@pytest.mark.parametrize("way", ["sparsefeat", "onnxruntime-cpu", "onnxruntime-openvino"])
def test_seconds_to_the_first_row(
    benchmark: BenchmarkFixture,
    models: Models,
    photographs: Photographs,
    rounds: Callable[[int], int],
    claim: MakeClaim,
    tmp_path: Path,
    way: str,
) -> None:
    """Time from the start of the process until the row of one image is committed."""
    chosen = {name: ENGINES[way].options[name] for name in ("provider", "convolution")}
    try:
        sparsefeat.Extractor(models.fp32, **chosen)  # type: ignore[arg-type]
    except sparsefeat.ProviderError as exc:
        pytest.skip(str(exc))
    output = tmp_path / "features"
    options = [word for name, value in chosen.items() for word in (f"--{name}", value)]
    line = command(photographs.take(1), output, models.fp32, *options)
    committed: list[float] = []

    def start() -> None:
        seconds = seconds_to_commit(line, output)
        assert len(sparsefeat.open(output)) == 1
        committed.append(seconds)

    benchmark.pedantic(
        start,
        setup=lambda: shutil.rmtree(output, ignore_errors=True),
        rounds=rounds(10),
        warmup_rounds=1,
    )
    benchmark.extra_info["seconds_to_commit"] = committed[1:]
    seconds = committed[1:] or committed
    low, high = np.percentile(seconds, [25, 75])
    claim(
        Claim(
            text=f"start to the first row committed, {way}",
            measured=median(seconds),
            spread=(float(low), float(high)),
            bar=2,
            most=True,
            unit=" s",
        )
    )


def seconds_to_commit(line: Sequence[str], store: Path) -> float:
    """Run a command to its end; return when the first part appeared in `store`."""
    begun = time.perf_counter()
    seconds = None
    with subprocess.Popen(line, stdout=subprocess.DEVNULL) as process:
        while seconds is None and process.poll() is None:
            if any(store.glob("snapshots/*.json")):
                seconds = time.perf_counter() - begun
            time.sleep(0.002)
    assert process.returncode == 0
    return time.perf_counter() - begun if seconds is None else seconds


def test_cost_of_a_worker_process(
    benchmark: BenchmarkFixture,
    models: Models,
    photographs: Photographs,
    rounds: Callable[[int], int],
    timing: bool,
    claim: MakeClaim,
    tmp_path: Path,
) -> None:
    """Extracting in a worker process, which may die, compared with the command's own process."""
    count, n_rounds = (512, rounds(7)) if timing else (8, 1)
    photos, output = photographs.take(count), tmp_path / "features"

    def run(*options: str) -> None:
        subprocess.run(
            command(photos, output, models.fp32, *options),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        assert len(sparsefeat.open(output)) == count

    paired = Paired(
        ways={"in one process": run, "--cluster local": lambda: run("--cluster", "local")},
        between=lambda: shutil.rmtree(output, ignore_errors=True),
    )
    if timing:
        paired.warm_up()
    benchmark.pedantic(paired.round, rounds=n_rounds)
    benchmark.extra_info["seconds"] = paired.seconds
    ratio = paired.ratio("in one process", "--cluster local")
    claim(
        Claim(
            text=f"--cluster local: {count} images, time / that of one process",
            measured=ratio.median,
            spread=(ratio.low, ratio.high),
            bar=1.1,
            most=True,
            unit="x",
        )
    )


def test_memory_of_a_driver_does_not_grow(
    benchmark: BenchmarkFixture,
    models: Models,
    photographs: Photographs,
    timing: bool,
    claim: MakeClaim,
    tmp_path: Path,
) -> None:
    """The memory of the process that sends images to workers, without that of the workers."""
    counts = (1_000, 20_000) if timing else (8, 24)
    files = sorted(photographs.take(8).iterdir())

    def peak(count: int) -> float:
        """Extract a number of images, which are links to a few; return the driver's peak in GB."""
        folder = tmp_path / f"{count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05}.jpg").hardlink_to(files[number % len(files)])
        options = ("--size", "32x32", "--rows-per-part", "256", "--cluster", "local")
        output = tmp_path / f"features-{count}"
        found = peak_memory(command(folder, output, models.fp32, *options), children=False)
        assert len(sparsefeat.open(output)) == count
        return found.rss_gb

    few, many = benchmark.pedantic(lambda: [peak(count) for count in counts])
    benchmark.extra_info["rss_gb"] = dict(zip(map(str, counts), (few, many), strict=True))
    claim(
        Claim(
            text=f"peak memory of the driver: {counts[1]:,} / {counts[0]:,} images",
            measured=many / few,
            bar=1.1,
            most=True,
            unit="x",
        )
    )
