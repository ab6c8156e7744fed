import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.pipeline.profile import StageTimes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(9):
        Image.fromarray(data.astronaut()[index:]).save(folder / f"{index}.png")
    return folder


def by_stage(result: sparsefeat.ExtractionResult) -> tuple[float, dict[str, StageTimes]]:
    assert result.profile is not None
    return result.profile.seconds, {times.stage: times for times in result.profile.stages}


@pytest.mark.parametrize("slow", ["list", "decode", "inference", "write"])
def test_a_slow_stage_is_identified(small_vgg16: Path, tmp_path: Path, slow: str) -> None:
    side = 640 if slow == "inference" else 32
    extent = 1500 if slow == "decode" else 32
    noise = np.random.default_rng(1).integers(0, 256, (extent, extent, 3), np.uint8)
    for number in range(8):
        Image.fromarray(np.roll(noise, number, axis=0)).save(tmp_path / f"{number}.png")
    extractor = sparsefeat.Extractor(
        small_vgg16, pool="avg", size=(side, side), batch_size=1, decode_threads=1, threads=1
    )
    list(extractor.extract([noise[:32, :32]]))  # loads everything once

    def images() -> Iterator[Path]:
        for path in sorted(tmp_path.glob("*.png")):
            if slow == "list":
                time.sleep(0.1)
            yield path

    seconds, stages = by_stage(
        sparsefeat.extract(
            images(),
            tmp_path / "features",
            model=extractor,
            rows_per_part=1 if slow == "write" else 8,  # each part is synced to the disk
        )
    )
    assert list(stages) == ["list", "decode", "inference", "write", "other"]
    for times in stages.values():
        assert 0 <= times.busy_seconds <= seconds
        assert times.waiting_seconds >= 0
    if slow != "list":  # listing runs in a separate thread, for which the others wait
        # Syncing may take any time, so writing is compared only where it syncs eight parts.
        compared = ("decode", "inference") if slow != "write" else ("decode", "inference", "write")
        assert max(compared, key=lambda stage: stages[stage].busy_seconds) == slow
    idle = {"list": "inference", "decode": "inference", "inference": "write", "write": "inference"}
    assert stages[idle[slow]].waiting_seconds > 0


def test_a_profile_has_all_stages_of_an_extraction(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    extractor = sparsefeat.Extractor(small_vgg16, "pools", batch_size=2, decode_threads=3)
    seconds, stages = by_stage(sparsefeat.extract(photos, tmp_path / "features", model=extractor))
    assert stages["decode"].threads == extractor.decode_threads == 3
    for name in ("decode", "inference", "write"):
        assert 0 < stages[name].busy_seconds <= stages[name].threads * seconds
    assert 0 <= stages["other"].busy_seconds < seconds


def test_the_command_prints_the_profile(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    line = ["sparsefeat", "extract", photos, "-o", "f", "-m", small_vgg16, "--profile"]
    command = [sys.executable, "-m", *map(str, line)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for stage in ("list", "decode", "inference", "write", "other"):
        assert f"\n{stage}" in done.stdout
    command[command.index("f")] = "g"
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout)
    measured = facts["profile"]
    assert measured["setup_seconds"] + measured["run_seconds"] <= facts["seconds"]
    own = [
        each
        for each in measured["stages"]
        if each["stage"] != "decode" and each["stage"] != "inference"
    ]
    whole = sum(each["busy_seconds"] + each["waiting_seconds"] for each in own)
    assert whole == pytest.approx(measured["run_seconds"])
