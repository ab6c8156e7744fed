import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.pipeline import extractor as extractor_module
from sparsefeat.pipeline.profile import StageTimes
from sparsefeat.store import Index, StoreWriter


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
def test_time_is_found_where_it_is_spent(
    small_vgg16: Path, photos: Path, tmp_path: Path, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = sparsefeat.Extractor(
        small_vgg16, size=(32, 32), batch_size=1, decode_threads=2, threads=1
    )
    sparsefeat.extract(photos, tmp_path / "first", model=extractor)  # what is loaded once
    owner, name = {
        "list": (Index, "status"),
        "decode": (extractor_module, "decode"),
        "inference": (extractor._network, "run"),
        "write": (StoreWriter, "append"),
    }[slow]
    work = getattr(owner, name)

    def slowly(*args: object, **options: object) -> object:
        time.sleep(0.1)
        return work(*args, **options)

    monkeypatch.setattr(owner, name, slowly)
    seconds, stages = by_stage(sparsefeat.extract(photos, tmp_path / "f", model=extractor))
    assert list(stages) == ["list", "decode", "inference", "write", "other"]
    assert seconds >= 0.1 * 9 / (2 if slow == "decode" else 1)
    for times in stages.values():
        assert times.busy_seconds >= 0
        assert times.waiting_seconds >= 0
    assert max(stages.values(), key=lambda times: times.busy_seconds).stage == slow
    assert stages[slow].busy_seconds >= 0.9
    # Who is not slow waits for who is.
    idle = {"list": "inference", "decode": "write", "inference": "write", "write": "inference"}
    assert stages[idle[slow]].waiting_seconds >= 0.1


def test_an_extraction_s_stages(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    extractor = sparsefeat.Extractor(small_vgg16, "pools", batch_size=2, decode_threads=3)
    seconds, stages = by_stage(sparsefeat.extract(photos, tmp_path / "features", model=extractor))
    assert stages["decode"].threads == extractor.decode_threads == 3
    for name in ("decode", "inference", "write"):
        assert 0 < stages[name].busy_seconds <= stages[name].threads * seconds
    # No more than what calling the network and the disk leaves over.
    assert 0 <= stages["other"].busy_seconds < seconds / 2


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
