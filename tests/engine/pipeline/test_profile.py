import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.images import list_pictures
from sparsefeat.pipeline.profile import Profile, StageTimes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(9):
        Image.fromarray(data.astronaut()[index:]).save(folder / f"{index}.png")
    return folder


def by_stage(profile: Profile) -> dict[str, StageTimes]:
    return {times.stage: times for times in profile.stages()}


class SlowPicture(Image.Image):
    """Takes time to be decoded."""

    def load(self) -> Any:
        time.sleep(0.05)
        return super().load()


@pytest.mark.parametrize("slow", ["list", "decode", "inference", "write"])
def test_time_is_found_where_it_is_spent(small_vgg16: Path, slow: str) -> None:
    side = 640 if slow == "inference" else 32  # so that the network is what takes time
    extractor = sparsefeat.Extractor(
        small_vgg16, pool="avg", size=(side, side), batch_size=1, decode_threads=2, threads=1
    )
    list(extractor.extract([np.zeros((side, side, 3), np.uint8)]))  # what is loaded once

    def pictures() -> Iterator[NDArray[np.uint8] | Image.Image]:
        for level in range(8):
            if slow == "list":
                time.sleep(0.05)
            pixels = np.full((side, side, 3), level, np.uint8)
            if slow == "decode":
                picture = Image.fromarray(pixels)
                picture.__class__ = SlowPicture
                yield picture
            else:
                yield pixels

    profile = Profile()
    for _ in extractor.extract(pictures(), profile=profile):
        if slow == "write":
            with profile.busy("write"):
                time.sleep(0.05)
    stages = by_stage(profile)
    assert profile.seconds >= 0.05 * 8 / (2 if slow == "decode" else 1)
    for times in profile.stages():
        assert times.busy_seconds >= 0
        assert times.waiting_seconds >= 0
    assert max(stages.values(), key=lambda times: times.busy_seconds).stage == slow
    assert stages[slow].busy_seconds >= 0.4
    # Who is not slow waits for who is.
    idle = {"list": "inference", "decode": "encode", "inference": "encode", "write": "inference"}
    assert stages[idle[slow]].waiting_seconds >= 0.1


def test_what_fails_is_measured_too() -> None:
    profile = Profile()

    def fail() -> None:
        with profile.running(), profile.busy("write"):
            time.sleep(0.001)
            raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        fail()
    assert by_stage(profile)["write"].busy_seconds >= 0.001
    assert profile.seconds >= 0.001


def test_an_extraction_s_stages(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    profile = Profile()
    extractor = sparsefeat.Extractor(small_vgg16, "pools", batch_size=2, decode_threads=3)
    sparsefeat.extract(
        list_pictures([photos]), tmp_path / "features", model=extractor, profile=profile
    )
    stages = by_stage(profile)
    assert stages["decode"].threads == 3
    for name in ("decode", "inference", "write"):
        assert 0 < stages[name].busy_seconds <= stages[name].threads * profile.seconds
    # No more than what calling the network and the disk leaves over.
    assert 0 <= stages["other"].busy_seconds < profile.seconds / 2


def test_the_command_prints_it(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
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
