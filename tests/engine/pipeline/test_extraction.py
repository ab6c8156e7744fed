import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import InputError, StoreMismatchError
from sparsefeat.images import decode_path, list_images
from sparsefeat.pipeline import ExtractionResult
from sparsefeat.pipeline.extraction import extract as extract_images
from sparsefeat.storage import LocalStorage
from sparsefeat.store.dataset import Change, Log
from sparsefeat.store.format import part_key
from sparsefeat.system.text import counted

Opened = Callable[[list[str], Path], tuple[dict[str, Any], Counter[str]]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty-four crops of images in two folders, and a file that is no image."""
    folder = tmp_path / "photos"
    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    for index in range(24):
        label = folder / ("even" if index % 2 == 0 else "odd")
        label.mkdir(parents=True, exist_ok=True)
        crop = sources[index % 4][10 * index : 10 * index + 60, 5 * index : 5 * index + 70]
        Image.fromarray(np.ascontiguousarray(crop)).save(label / f"{index:02}.png")
    (folder / "notes.jpg").write_text("no image")
    return folder


def command(model: Path, photos: Sequence[Path], store: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "sparsefeat", "extract", *map(str, photos)),
        *("-o", str(store), "-m", str(model), "--layers", "block3_pool,block5_pool"),
        *("--size", "64x64", "--rows-per-part", "5", "--batch-size", "2", *options),
    ]


def extract(
    model: Path, photos: Sequence[Path], store: Path, **options: object
) -> ExtractionResult:
    extractor = sparsefeat.Extractor(model, "block3_pool,block5_pool", size=(64, 64), batch_size=2)
    images = list_images(photos)
    return extract_images(images, store, model=extractor, rows_per_part=5, **options)  # type: ignore[arg-type]


def contents(store: Path) -> dict[str, bytes]:
    """Return the bytes of every row by its image."""
    opened = sparsefeat.open(store)
    layers = [opened[name].to_numpy() for name in opened.layers]
    return {
        path: b"".join(layer[row].tobytes() for layer in layers)
        for row, path in enumerate(opened.obs["path"])
    }


def files(store: Path) -> list[Path]:
    return [file for file in store.rglob("*") if file.is_file()]


def digests(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files(store)
    }


def test_a_second_run_adds_nothing(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    store = tmp_path / "features"
    seen: list[tuple[int, int]] = []
    outcome = extract(
        small_vgg16, [photos], store, progress=lambda p: seen.append((p.done, p.total))
    )
    assert (outcome.total, outcome.rows, outcome.rejected) == (25, 24, 1)
    assert not outcome.stopped
    assert seen[-1] == (25, 25)
    assert seen == sorted(seen)
    before = digests(store)
    again = extract(small_vgg16, [photos], store)
    assert (again.rows, again.rejected) == (0, 0)
    assert (again.already_stored, again.already_rejected, again.changed) == (24, 1, [])
    assert digests(store) == before

    opened = sparsefeat.open(store)
    assert len(opened) == 24
    assert opened.obs["label"].tolist() == ["even"] * 12 + ["odd"] * 12
    assert opened.rejected["path"].tolist() == ["notes.jpg"]
    extractor = sparsefeat.Extractor(small_vgg16, "block5_pool", size=(64, 64))
    (batch,) = extractor.extract([photos / "even/08.png"])
    row = opened.obs["path"].tolist().index("even/08.png")
    stored = opened["block5_pool"][row]
    np.testing.assert_array_equal(stored.indices, batch.layers["block5_pool"].indices)
    np.testing.assert_array_equal(stored.data, batch.layers["block5_pool"].data)


def test_paths_are_listed_as_by_the_command(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    extractor = sparsefeat.Extractor(small_vgg16, "block5_pool", size=(64, 64))
    first = extract_images(photos / "even", store, model=extractor)
    assert (first.total, first.rows) == (12, 12)
    assert sparsefeat.open(store).obs["path"].tolist()[0] == "00.png"
    again = extract_images([str(photos / "even"), photos / "typo.png"], store, model=extractor)
    assert (again.total, again.rows, again.already_stored) == (13, 0, 12)
    # A store in the folder of the images is not searched for images.
    shutil.copy(photos / "even/00.png", store)
    for folder in (tmp_path, [tmp_path]):
        assert extract_images(folder, store, model=extractor).total == 25
    with pytest.raises(InputError, match="expected several images"):
        extract_images(None, store, model=extractor)  # type: ignore[arg-type]


def test_a_second_folder_is_appended_and_copies_are_recognized(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, elsewhere = tmp_path / "features", tmp_path / "elsewhere"
    extract(small_vgg16, [photos / "even"], store)
    assert extract(small_vgg16, [photos / "odd"], store).rows == 12
    shutil.copytree(photos / "even", elsewhere)  # keeps the times, as if the folder was moved
    moved = extract(small_vgg16, [elsewhere], store)
    assert (moved.rows, moved.already_stored) == (0, 12)
    # Another image of the same name, size and time is recognized as another image.
    twin = elsewhere / "00.png"
    stat = twin.stat()
    twin.write_bytes(bytes(reversed(twin.read_bytes())))
    os.utime(twin, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other = extract(small_vgg16, [elsewhere], store)
    assert (other.rejected, other.already_stored) == (1, 11)


def test_a_changed_image_is_reported_and_keeps_its_row(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    extract(small_vgg16, [photos], store)
    before = contents(store)
    shutil.copy(photos / "odd/01.png", photos / "even/00.png")
    os.utime(photos / "even/02.png", ns=(1, 1))
    outcome = extract(small_vgg16, [photos], store)
    assert sorted(outcome.changed) == ["even/00.png", "even/02.png"]
    assert outcome.rows == 0
    # By digest, only the image with other bytes has changed.
    assert extract(small_vgg16, [photos], store, identity="digest").changed == ["even/00.png"]
    assert contents(store) == before


# Runs commands that print JSON, and counts how often each opens each file of a folder.
OPENED = """
import collections, contextlib, io, json, sys
opened = collections.Counter()
def hook(event, args):
    if event == "open" and str(args[0]).startswith(sys.argv[1]):
        opened[str(args[0])] += 1
sys.addaudithook(hook)
from sparsefeat.cli.main import main
for line in sys.stdin:
    opened.clear()
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main(json.loads(line))
    print(json.dumps([json.loads(printed.getvalue()), opened]), flush=True)
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A process that runs commands."""
    with subprocess.Popen(
        [sys.executable, "-c", OPENED, f"{tmp_path}{os.sep}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        commands, answers = process.stdin, process.stdout

        def run(arguments: list[str], photos: Path) -> tuple[dict[str, Any], Counter[str]]:
            commands.write(json.dumps(arguments) + "\n")
            commands.flush()
            result, counts = json.loads(answers.readline())
            files = {Path(file): count for file, count in counts.items() if "." in Path(file).name}
            return result, Counter(
                {
                    str(file.relative_to(photos)): count
                    for file, count in files.items()
                    if photos in file.parents
                }
            )

        yield run
        commands.close()


def test_a_file_is_read_once_whatever_identifies_it(
    small_vgg16: Path, photos: Path, tmp_path: Path, opened: Opened
) -> None:
    stores = [tmp_path / "by-digest", tmp_path / "by-time"]
    lines = [
        command(small_vgg16, [photos], store, "--json", "--identity", identity)[3:]
        for store, identity in zip(stores, ("digest", "mtime"), strict=True)
    ]
    every = {str(each.relative_to(photos)): 1 for each in photos.rglob("*.*")}
    for line in lines:
        result, counts = opened(line, photos)
        assert (result["rows"], result["rejected"]) == (24, 1)
        assert counts == every
    by_digest, by_time = (sparsefeat.open(store) for store in stores)
    assert contents(stores[0]) == contents(stores[1])
    pd.testing.assert_frame_equal(by_digest.obs, by_time.obs)
    # Stored images are read once for their digest, new ones once for digest and pixels.
    (photos / "even/00.png").rename(photos / "even/99.png")
    del every["even/00.png"]
    for line, again in zip(lines, ({**every, "even/99.png": 1}, {"even/99.png": 1}), strict=True):
        result, counts = opened(line, photos)
        assert (result["rows"], result["already_stored"], result["already_rejected"]) == (1, 23, 1)
        assert counts == again
    # A moved folder is distinguished from another one by the bytes of its images.
    moved = photos.rename(tmp_path / "moved")
    shutil.copy(moved / "odd/01.png", moved / "odd/new.png")
    result, counts = opened(
        [str(moved) if part == str(photos) else part for part in lines[1]], moved
    )
    assert (result["rows"], result["already_stored"]) == (1, 24)
    assert set(counts.values()) == {1}
    assert len(counts) == 26


def test_rejects_are_tried_again_only_on_request(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, damaged = tmp_path / "features", photos / "even/damaged.png"
    whole = (photos / "odd/03.png").read_bytes()
    damaged.write_bytes(bytes(len(whole)))
    os.utime(damaged, ns=(5, 5))
    assert extract(small_vgg16, [photos], store).rejected == 2
    damaged.write_bytes(whole)  # repaired, with the same size and time
    os.utime(damaged, ns=(5, 5))
    skipped = extract(small_vgg16, [photos], store)
    assert (skipped.rows, skipped.rejected, skipped.already_rejected) == (0, 0, 2)
    tried = extract(small_vgg16, [photos], store, retry_rejects=True)
    assert (tried.rows, tried.rejected, tried.already_stored) == (1, 1, 24)
    assert sparsefeat.open(store).rejected["path"].tolist() == ["notes.jpg"]
    assert extract(small_vgg16, [photos], store).already_rejected == 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_settings_that_differ_are_refused(
    small_vgg16: Path, photos: Path, tmp_path: Path, batch_size: int
) -> None:
    store = tmp_path / "features"
    extract(small_vgg16, [photos / "even"], store)
    before = digests(store)
    usual: dict[str, Any] = {"layers": "block3_pool,block5_pool", "size": (64, 64)}
    changes: list[tuple[dict[str, Any], str]] = [
        ({"preprocess": "bilinear"}, "preprocess"),
        ({"pool": "max"}, "pool"),
        ({"size": (96, 96)}, "size"),
        (
            {"layers": "block5_pool"},
            "layers: got 'block5_pool', expected 'block3_pool,block5_pool'",
        ),
    ]
    for options, says in changes:
        options = {**usual, "batch_size": batch_size, **options}
        extractor = sparsefeat.Extractor(small_vgg16, **options)
        with pytest.raises(StoreMismatchError, match=says):
            extract_images(list_images([photos]), store, model=extractor)
    assert digests(store) == before


def test_other_settings_are_refused_before_the_network_is_loaded(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, model = tmp_path / "features", tmp_path / "model"
    extract(small_vgg16, [photos / "even"], store)
    model.mkdir()
    copy = Path(shutil.copy(small_vgg16, model))
    with (model / "vgg16.onnx.data").open("wb") as weights:  # zeros, which are not a valid network
        weights.truncate(small_vgg16.with_name("vgg16.onnx.data").stat().st_size)
    layers = "block3_pool,block5_pool"
    with pytest.raises(sparsefeat.ModelCorruptError):
        extract_images(photos, store, model=copy, layers=layers, size=(64, 64))
    for other, values in (("block1_pool", "float32"), (layers, "uint8")):
        with pytest.raises(
            StoreMismatchError, match="block1_pool" if values != "uint8" else "uint8"
        ):
            extract_images(photos, store, model=copy, layers=other, size=(64, 64), values=values)


def test_stages_of_a_run_are_logged(
    small_vgg16: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, both = tmp_path / "features", threading.Barrier(2)
    (photos / "film.mov").write_text("no image")
    caplog.set_level("DEBUG", "sparsefeat")

    def first_batch(progress: ExtractionResult) -> None:
        if progress.done <= 2:
            both.wait()

    with ThreadPoolExecutor() as threads:
        for folder in ("even", "odd"):
            threads.submit(extract, small_vgg16, [photos / folder], store, progress=first_batch)
    list_images(photos)
    said = {
        level: [record.getMessage() for record in caplog.records if record.levelname == level]
        for level in ("DEBUG", "INFO", "WARNING")
    }
    assert {record.name.partition(".")[0] for record in caplog.records} == {"sparsefeat"}
    assert sum("CPUExecutionProvider in fp32" in each for each in said["INFO"]) == 2
    last = len(sparsefeat.history(store))
    for number in range(1, last + 1):
        assert sum(f"snapshot {number} committed (extract)" in each for each in said["INFO"]) == 1
    assert f"{store}: snapshot {last} committed (extract), 24 rows in {last} parts" in said["INFO"]
    assert "1 file that accompanies images was skipped: 1 .mov" in said["DEBUG"]
    assert not said["WARNING"]


def test_an_unknown_identity_is_refused(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of: mtime, digest"):
        extract(small_vgg16, [photos], tmp_path / "features", identity="name")
    assert not (tmp_path / "features").exists()


def test_a_file_is_recognized_from_any_current_folder(
    small_vgg16: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "features"
    first, second = photos / "odd/01.png", photos / "odd/03.png"
    monkeypatch.chdir(tmp_path)
    assert extract(small_vgg16, [first], store).rows == 1
    monkeypatch.chdir(photos / "odd")
    assert extract(small_vgg16, [Path("01.png"), second], store).rows == 1
    monkeypatch.chdir("/")
    assert extract(small_vgg16, [first, second], store).rows == 0
    whole = extract(small_vgg16, [photos], store)
    assert (whole.rows, whole.already_stored) == (22, 2)


def test_a_root_may_have_any_name(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    store = tmp_path / "features"
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 100%"))
    photos.rename(odd)
    assert extract(small_vgg16, [odd], store).rows == 24
    again = extract(small_vgg16, [odd / "even", odd / "odd/01.png"], store)
    assert (again.rows, again.already_stored) == (0, 13)
    root = sparsefeat.open(store).obs["root"].iloc[0]
    assert Path(decode_path(root)) == odd


def test_a_store_among_the_listed_files_is_skipped(small_vgg16: Path, photos: Path) -> None:
    store = photos / "features"
    extract(small_vgg16, [photos / "even"], store)
    listing = photos.parent / "list"
    listing.write_text("\n".join(map(str, sorted(photos.rglob("*.*")))))
    listed = list_images([], files_from=listing, skip=store)
    assert len(listed) == 25
    assert len(list_images([photos], skip=store)) == 25


def test_rows_before_an_error_of_the_source_are_committed(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    extractor = sparsefeat.Extractor(small_vgg16, size=(64, 64), batch_size=4)
    images: list[Any] = [*list_images([photos])[:6], 3.5]
    with pytest.raises(InputError, match="list_images"):
        extract_images(images, store, model=extractor)
    assert len(sparsefeat.open(store)) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_write_error_loses_only_the_current_part(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, whole = tmp_path / "features", tmp_path / "whole"
    extract(small_vgg16, [photos / "even"], store)
    before = digests(store)
    limited = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "sys.argv = sys.argv[1:]; runpy.run_module('sparsefeat', run_name='__main__')\n"
    )
    arguments = command(small_vgg16, [photos], store)[3:]
    refused = subprocess.run(
        [sys.executable, "-c", limited, "sparsefeat", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert "can't be written" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert digests(store) == before
    extract(small_vgg16, [photos], store)
    extract(small_vgg16, [photos / "even"], whole)
    extract(small_vgg16, [photos], whole)
    assert contents(store) == contents(whole)


def test_a_stop_that_is_set_beforehand_starts_nothing(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, stop = tmp_path / "features", threading.Event()
    stop.set()
    outcome = extract(small_vgg16, [photos], store, stop=stop)
    assert (outcome.done, outcome.stopped) == (0, True)


def test_a_stop_is_obeyed_while_the_store_is_opened(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, stop = tmp_path / "features", threading.Event()
    extract(small_vgg16, [photos / "even"], store)
    before, seen = digests(store), []

    def opening(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 1:
            stop.set()

    outcome = extract(small_vgg16, [photos], store, stop=stop, opening=opening)
    assert (outcome.done, outcome.stopped) == (0, True)
    assert seen == [(0, 3), (1, 3)]
    assert digests(store) == before


def test_stopping_commits_finished_rows(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    store, stop = tmp_path / "features", threading.Event()
    stopped = extract(small_vgg16, [photos], store, stop=stop, progress=lambda _: stop.set())
    assert stopped.stopped
    assert 0 < stopped.rows < 24
    assert len(sparsefeat.open(store)) == stopped.rows
    assert extract(small_vgg16, [photos], store).rows == 24 - stopped.rows
    whole = tmp_path / "whole"
    extract(small_vgg16, [photos], whole)
    assert contents(store) == contents(whole)


def test_killed_at_any_moment_no_committed_row_is_lost(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, whole = tmp_path / "features", tmp_path / "whole"
    extract(small_vgg16, [photos], whole)
    expected = contents(whole)
    line = command(small_vgg16, [photos], store)
    moments = random.Random(5)
    kills = 0
    while kills < 4:
        before = digests(store)
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        # It commits something first, so that each kill hits another stage of the work.
        while len(files(store)) <= len(before) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.06))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        after = digests(store)
        assert {name: after.get(name) for name in before} == before
        if process.returncode == 0:
            break
    assert kills >= 1
    subprocess.run(line, check=True, capture_output=True)
    assert contents(store) == expected
    assert list(contents(store)) == list(expected)
    assert len(sparsefeat.open(store).rejected) == 1
    assert sparsefeat.verify(store).ok
    assert not list(store.glob(".part*"))


def test_a_second_signal_ends_a_run_at_once(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    options = ("--size", "1600x1600", "--threads", "1", "--batch-size", "8")
    line = command(small_vgg16, [photos], store, *options)
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not store.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "interrupt again to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    subprocess.run(command(small_vgg16, [photos], tmp_path / "other"), check=True, text=True)


def test_a_signal_commits_finished_rows(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    """Also in a run that continues one that a signal has ended."""
    store, before = tmp_path / "features", 0
    # Inference on one thread and images of 640x640 leave time for an interrupt.
    line = command(small_vgg16, [photos], store, "--size", "640x640", "--threads", "1")
    for number in (signal.SIGINT, signal.SIGTERM):
        snapshots = len(list(store.glob("snapshots/*.json")))
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while len(list(store.glob("snapshots/*.json"))) == snapshots:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert "Traceback" not in err
        assert "stopping" in err
        rows = len(sparsefeat.open(store))
        assert f" {counted(rows - before, 'row')} added" in out
        assert before < rows < 24
        before = rows
    finished = subprocess.run(line, check=True, capture_output=True, text=True)
    assert f" {counted(24 - before, 'row')} added" in finished.stdout


@pytest.mark.skipif(os.name == "nt", reason="links need a permission there")
def test_a_signal_is_obeyed_while_a_large_store_is_opened(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    extract(small_vgg16, [photos / "even"], store)
    log = Log(LocalStorage(store))
    entry = log.require().parts[0]
    copies = [structs.replace(entry, name=f"{number:016x}") for number in range(3_000)]
    for copy in copies:
        (store / f"{part_key(copy.name)}").symlink_to(store / part_key(entry.name))
    log.commit(log.require(), lambda latest: Change(operation="copy", parts=copies))
    interpreter, _, _, *arguments = command(small_vgg16, [photos], store)
    code = """
import sys
from sparsefeat.cli import main, progress
progress.LOG_FIRST_SECONDS = progress.LOG_EVERY_SECONDS = 0
main(sys.argv[1:], prog_name="sparsefeat")
"""
    line = [interpreter, "-c", code, "--verbose", *arguments]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any("of 3,000 parts of the store" in each for each in said)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "features: 0 rows added, 0 rejected, 0 already in the store" in out
    assert "Traceback" not in err
    assert "stopping after the current batch; interrupt again to stop at once" in err
    assert "stopped early; the same command continues from here" in err
    assert log.require().operation == "copy"


def test_concurrent_runs_store_each_image_once(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    line = command(small_vgg16, [photos], store, "--rows-per-part", "3")
    processes = [
        subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    opened = sparsefeat.open(store)
    assert len(opened) == opened.obs["path"].nunique() == 24
    assert sparsefeat.verify(store).ok
    extract(small_vgg16, [photos], tmp_path / "calm")
    assert contents(store) == contents(tmp_path / "calm")


@pytest.mark.parametrize("update", [False, True])
def test_an_image_that_changes_during_concurrent_runs_has_one_row(
    small_vgg16: Path, photos: Path, tmp_path: Path, update: bool
) -> None:
    store = tmp_path / "features"
    first = sorted(photos.rglob("*.png"))[0]

    def meanwhile(progress: ExtractionResult) -> None:
        if progress.done == 2:
            Image.fromarray(data.rocket()).save(first)
            subprocess.run(command(small_vgg16, [photos], store), check=True, capture_output=True)

    extractor = sparsefeat.Extractor(
        small_vgg16, "block3_pool,block5_pool", size=(64, 64), batch_size=2
    )
    outcome = sparsefeat.extract(photos, store, model=extractor, update=update, progress=meanwhile)
    opened = sparsefeat.open(store)
    assert len(opened) == opened.obs["path"].nunique() == 24
    (kept,) = opened.obs["bytes"][opened.obs["path"] == first.relative_to(photos).as_posix()]
    assert (kept == first.stat().st_size) == (not update)  # of two updates, the later one counts
    assert (outcome.rows, outcome.already_stored) == ((1, 23) if update else (0, 24))
    again = extract(small_vgg16, [photos], store, update=True)
    assert (again.rows, again.already_stored) == ((1, 23) if update else (0, 24))


def test_changed_images_are_updated(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    store = tmp_path / "features"
    extract(small_vgg16, [photos], store)
    before = contents(store)
    changed = sorted(path for path in photos.rglob("*.png"))[:2]
    for path in changed:
        Image.fromarray(data.rocket()).save(path)
    names = {path.relative_to(photos).as_posix() for path in changed}
    untouched = extract(small_vgg16, [photos], store)
    assert set(untouched.changed) == names
    assert contents(store) == before
    outcome = extract(small_vgg16, [photos], store, update=True)
    assert (outcome.rows, outcome.changed) == (2, [])
    after = contents(store)
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == names
    assert len(sparsefeat.open(store)) == 24
    operations = [commit.operation for commit in sparsefeat.history(store)]
    assert operations == [*["extract"] * 5, "update"]
    assert extract(small_vgg16, [photos], store, update=True).rows == 0
