"""From photographs to the store: images/s against the bare network, and peak memory.

As plain tests these run on a few pictures; `make bench` takes 64 for the rates, and 100 and 1,000
for the memory.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.demo import copy_photographs
from sparsefeat.pictures import list_pictures

BATCH = 8


def crops(folder: Path, count: int) -> Path:
    """Write `count` different JPEG crops of real photographs, 700 pixels on their long side."""
    originals = [Image.open(path) for path in copy_photographs(folder / "originals")]
    photos = folder / "photos"
    photos.mkdir()
    rng = np.random.default_rng(count)
    for index in range(count):
        picture = originals[index % len(originals)].convert("RGB")
        width, height = picture.size
        left, top = int(rng.integers(0, width // 4)), int(rng.integers(0, height // 4))
        crop = picture.crop((left, top, left + 3 * width // 4, top + 3 * height // 4))
        crop.thumbnail((700, 700))
        crop.save(photos / f"{index:05}.jpg", quality=90)
    return photos


@pytest.mark.parametrize("layers", ["block5_pool", "pools"])
def test_rate(benchmark: BenchmarkFixture, vgg16: Path, tmp_path: Path, layers: str) -> None:
    """Files to committed rows, and the same number through the network alone, in turn."""
    count = 64 if benchmark.enabled else BATCH
    photos = crops(tmp_path, count)
    extractor = sparsefeat.Extractor(vgg16, layers, batch_size=BATCH)
    images = np.zeros((BATCH, 224, 224, 3), np.float32)
    bare: list[float] = []
    number = 0

    def setup() -> None:
        start = time.perf_counter()
        for _ in range(count // BATCH):
            extractor.run(images)
        bare.append(time.perf_counter() - start)

    def extract() -> None:
        nonlocal number
        number += 1
        store = tmp_path / f"features-{number}"
        sparsefeat.extract_to_store(extractor, list_pictures([photos]), store)

    extractor.run(images)
    benchmark.pedantic(extract, setup=setup, rounds=5 if benchmark.enabled else 1)
    store = sparsefeat.open(tmp_path / "features-1")
    assert len(store) == count
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["images_per_second"] = count / seconds
        benchmark.extra_info["share_of_the_bare_network"] = median(bare) / seconds


@pytest.mark.parametrize("layers", ["block5_pool", "pools"])
def test_peak_memory_does_not_grow(
    benchmark: BenchmarkFixture, vgg16: Path, tmp_path: Path, layers: str
) -> None:
    """Peak resident memory of the command for a few and for ten times as many pictures."""
    if layers == "pools" and not benchmark.enabled:
        pytest.skip("takes minutes: make bench runs it")
    few, many = (100, 1000) if benchmark.enabled else (2 * BATCH, 4 * BATCH)
    peaks = {}
    for count in (few, many):
        folder = tmp_path / str(count)
        folder.mkdir()
        photos = crops(folder, count)
        line = ["sparsefeat", "extract", photos, "-o", folder / "f", "-m", vgg16, "-l", layers]
        command = [sys.executable, "-m", *map(str, line)]
        if count == few:
            peaks[count] = benchmark.pedantic(peak_bytes, args=(command,))
        else:
            peaks[count] = peak_bytes(command)
        assert len(sparsefeat.open(folder / "f")) == count
    benchmark.extra_info["peak_megabytes"] = {n: peak / 1e6 for n, peak in peaks.items()}
    assert max(peaks.values()) < 1.3 * min(peaks.values())


def peak_bytes(command: list[str]) -> int:
    """Run a command; give the largest resident memory seen, looked at every 20 ms."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    assert process.wait() == 0
    return peak
