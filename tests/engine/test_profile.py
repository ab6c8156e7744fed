import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.pictures import list_pictures
from sparsefeat.profile import Profile, StageTimes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(9):
        Image.fromarray(data.astronaut()[index:]).save(folder / f"{index}.png")
    return folder


def by_stage(profile: Profile) -> dict[str, StageTimes]:
    return {times.stage: times for times in profile.stages()}


def test_busy_and_waiting_make_up_each_thread_s_run() -> None:
    profile = Profile()
    profile.decoding(3)
    barrier = threading.Barrier(3)

    def decode(_: int) -> None:
        barrier.wait()
        with profile.busy("decode"):
            time.sleep(0.02)

    with profile.running():
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(decode, range(3)))
        with profile.waiting():
            time.sleep(0.01)
        with profile.busy("encode"), profile.busy("write"):
            time.sleep(0.01)
    stages = by_stage(profile)
    assert stages["decode"].busy_seconds >= 0.06
    assert stages["encode"].waiting_seconds >= 0.01
    for name in ("decode", "inference"):
        whole = stages[name].busy_seconds + stages[name].waiting_seconds
        assert whole == pytest.approx(stages[name].threads * profile.seconds)
    shared = [stages[name] for name in ("encode", "write", "other")]
    whole = sum(times.busy_seconds + times.waiting_seconds for times in shared)
    assert whole == pytest.approx(profile.seconds)


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
    sparsefeat.extract_to_store(
        extractor, list_pictures([photos]), tmp_path / "features", profile=profile
    )
    stages = by_stage(profile)
    assert stages["decode"].threads == 3
    for name in ("decode", "inference", "encode", "write"):
        assert 0 < stages[name].busy_seconds <= stages[name].threads * profile.seconds
    # No more than what calling the network and the disk leaves over.
    assert 0 <= stages["other"].busy_seconds < profile.seconds / 2


def test_the_command_prints_it(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    line = ["sparsefeat", "extract", photos, "-o", "f", "-m", small_vgg16, "--profile"]
    command = [sys.executable, "-m", *map(str, line)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for stage in ("decode", "inference", "encode", "write", "other"):
        assert f"\n{stage}" in done.stdout
    command[command.index("f")] = "g"
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout)
    measured = facts["profile"]
    assert measured["setup_seconds"] + measured["run_seconds"] <= facts["seconds"]
    own = [each for each in measured["stages"] if each["stage"] in ("encode", "write", "other")]
    whole = sum(each["busy_seconds"] + each["waiting_seconds"] for each in own)
    assert whole == pytest.approx(measured["run_seconds"])
