"""Failures of the system and unusual metadata are never recorded as properties of an image."""

import errno
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import SourceError, StoreWriteError
from sparsefeat.images import PRESETS, Decoded, Source, decode, list_images
from sparsefeat.pipeline import ExtractionResult
from sparsefeat.pipeline.extraction import extract as extract_images
from sparsefeat.types import ReadFailure, Reject

from ..command import run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty-four crops of images in two folders, and a file that is not an image."""
    folder = tmp_path / "photos"
    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    for index in range(24):
        label = folder / ("even" if index % 2 == 0 else "odd")
        label.mkdir(parents=True, exist_ok=True)
        crop = sources[index % 4][10 * index : 10 * index + 60, 5 * index : 5 * index + 70]
        Image.fromarray(np.ascontiguousarray(crop)).save(label / f"{index:02}.png")
    (folder / "notes.jpg").write_text("no image")
    return folder


@pytest.fixture
def extractor(small_vgg16: Path) -> sparsefeat.Extractor:
    """An extractor that reads few images ahead."""
    return sparsefeat.Extractor(
        small_vgg16, "block3_pool,block5_pool", size=(64, 64), batch_size=1, decode_threads=1
    )


class After:
    """A progress function that does something once, after a number of images."""

    def __init__(self, done: int, what: object) -> None:
        self._done, self._what = done, what

    def __call__(self, progress: ExtractionResult) -> None:
        if self._what is not None and progress.done >= self._done:
            what, self._what = self._what, None
            assert callable(what)
            what()


def extract(
    extractor: sparsefeat.Extractor,
    inputs: Sequence[Path],
    store: Path,
    report: After | None = None,
    files_from: Path | None = None,
) -> ExtractionResult:
    images = list_images(inputs, files_from=files_from)
    return extract_images(images, store, model=extractor, rows_per_part=5, progress=report)


def contents(store: Path) -> dict[str, bytes]:
    """Return the bytes of every row by its image."""
    opened = sparsefeat.open(store)
    layers = [opened[name].to_numpy() for name in opened.layers]
    return {
        path: b"".join(layer[row].tobytes() for layer in layers)
        for row, path in enumerate(opened.obs["path"])
    }


@pytest.mark.parametrize("named", ["folder", "pattern", "folders", "folder in it"])
def test_a_root_that_vanishes_stops_the_run_without_recording_rejects(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path, named: str
) -> None:
    inputs = {
        "folder": [photos],
        "pattern": [photos / "**/*.png"],
        "folders": [photos / "even", photos / "odd"],
        "folder in it": [photos / "even"],
    }[named]
    store, whole, away = tmp_path / "features", tmp_path / "whole", tmp_path / "away"
    extract(extractor, inputs, whole)
    with pytest.raises(SourceError, match=r"photos.* can't be read any more .* rows? added before"):
        extract(extractor, inputs, store, After(3, lambda: photos.rename(away)))
    before = contents(store)
    assert 3 <= len(before) < len(contents(whole))
    assert set(sparsefeat.open(store).rejected["reason"]) <= {"not an image"}
    away.rename(photos)
    again = extract(extractor, inputs, store)
    assert (again.already_stored, again.failed) == (len(before), 0)
    assert contents(store) == contents(whole)
    assert list(contents(store)) == list(contents(whole))
    rejects = [sparsefeat.open(each).rejected["path"].tolist() for each in (store, whole)]
    assert rejects[0] == rejects[1]


def test_the_command_reports_a_vanished_root_in_one_line(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    line = [
        *(sys.executable, "-m", "sparsefeat", "extract", str(photos), "-o", str(store)),
        *("-m", str(small_vgg16), "--size", "640x640", "--threads", "1"),
        *("--rows-per-part", "3", "--batch-size", "1"),
    ]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(store.glob("snapshots/*.json")):
        assert process.poll() is None
        time.sleep(0.005)
    photos.rename(tmp_path / "away")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    (said,) = err.splitlines()
    rows = len(sparsefeat.open(store))
    assert said.startswith(f"Error: {photos} can't be read any more (No such file or directory)")
    assert said.endswith(f"({rows} rows added before)")
    (tmp_path / "away").rename(photos)
    done = run(tmp_path, *line[3:])
    assert f"{24 - rows} rows added, 1 rejected" in done.stdout


def test_images_that_vanish_are_reported_and_extracted_later(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    store, away = tmp_path / "features", tmp_path / "away"
    outcome = extract(extractor, [photos], store, After(2, lambda: (photos / "odd").rename(away)))
    assert (outcome.rows, outcome.rejected, outcome.failed) == (12, 1, 12)
    assert (outcome.done, outcome.total, outcome.stopped) == (25, 25, False)
    first = outcome.first_failures[0]
    assert (first.path, first.reason) == ("odd/01.png", "no such file")
    assert [reject.path for reject in outcome.first_rejects] == ["notes.jpg"]
    assert sparsefeat.open(store).rejected["path"].tolist() == ["notes.jpg"]
    away.rename(photos / "odd")
    assert extract(extractor, [photos], store).rows == 12
    outcome = extract(extractor, [photos], store)
    assert (outcome.rows, outcome.failed, outcome.already_stored) == (0, 0, 24)


def test_a_missing_image_of_a_list_is_a_failure_and_not_a_change(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    store, listing = tmp_path / "features", tmp_path / "list"
    listing.write_text("\n".join(map(str, sorted(photos.rglob("*.png")))))
    assert extract(extractor, [], store, files_from=listing).rows == 24
    (photos / "odd/05.png").unlink()
    outcome = extract(extractor, [], store, files_from=listing)
    assert (outcome.already_stored, outcome.failed, outcome.changed) == (23, 1, [])


def test_a_file_that_is_still_being_copied_is_extracted_later(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    store, late = tmp_path / "features", photos / "odd/23.png"
    whole, status = late.read_bytes(), late.stat()

    def put_back(content: bytes) -> None:
        late.write_bytes(content)
        os.utime(late, ns=(status.st_mtime_ns, status.st_mtime_ns))

    outcome = extract(extractor, [photos], store, After(2, lambda: put_back(whole[:500])))
    assert (outcome.rows, outcome.failed) == (23, 1)
    assert outcome.first_failures[0].reason == "the file changed since it was listed"
    put_back(whole)
    assert extract(extractor, [photos], store).rows == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_files_that_became_pipes_or_folders_are_not_rejects(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    store, away = tmp_path / "features", tmp_path / "away"
    away.mkdir()
    pipe, folder = photos / "odd/21.png", photos / "odd/23.png"

    def replace() -> None:
        for each in (pipe, folder):
            each.rename(away / each.name)
        os.mkfifo(pipe)
        folder.mkdir()

    outcome = extract(extractor, [photos], store, After(2, replace))
    assert [each.reason for each in outcome.first_failures] == [
        "not a regular file",
        "a folder, not a file",
    ]
    pipe.unlink()
    folder.rmdir()
    for each in (pipe, folder):
        (away / each.name).rename(each)
    assert extract(extractor, [photos], store).rows == 2


# Permissions don't restrict root unless it gives up that privilege.
BOUND = """
import ctypes, os, sys
if os.geteuid() == 0:
    for CAP_DAC in (1, 2):
        assert ctypes.CDLL(None).prctl(24, CAP_DAC, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "sparsefeat", *sys.argv[1:]])
"""


def bound(words: Sequence[str]) -> list[str]:
    """Return the command line that runs the command without root's privileges."""
    return [sys.executable, "-c", BOUND, *words]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a root that is bound")
def test_forbidden_files_and_folders_are_reported_each_time_and_never_recorded(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store, hidden, file = tmp_path / "features", photos / "odd", photos / "even/04.png"
    words = ["extract", str(photos), "-o", str(store), "-m", str(small_vgg16), "--size", "64x64"]
    hidden.chmod(0)
    file.chmod(0)
    for rows in ("11 rows added, 1 rejected", "0 rows added, 0 rejected"):
        done = subprocess.run(bound(words), capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert f"{rows}, 2 could not be read this time, " in done.stdout
        assert "could not be read: even/04.png: permission denied" in done.stderr
        assert "could not be read: odd: permission denied" in done.stderr
        assert "2 images could not be read this time and left no record in the store" in done.stderr
    assert sparsefeat.open(store).rejected["path"].tolist() == ["notes.jpg"]
    hidden.chmod(0o755)
    file.chmod(0o644)
    allowed = run(tmp_path, *words)
    assert (allowed.exit_code, allowed.stdout.split(",")[0]) == (0, f"{store}: 13 rows added")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a root that is bound")
def test_a_root_that_becomes_forbidden_stops_the_run(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "features"
    words = ["extract", str(photos), "-o", str(store), "-m", str(small_vgg16)]
    words += ["--size", "640x640", "--threads", "1", "--batch-size", "1", "--rows-per-part", "3"]

    process = subprocess.Popen(
        bound(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(store.glob("snapshots/*.json")) and process.poll() is None:
        time.sleep(0.005)
    photos.chmod(0)
    _, err = process.communicate()
    photos.chmod(0o755)
    assert process.returncode == 2, err
    assert "can't be read any more (Permission denied)" in err
    assert len(sparsefeat.open(store).rejected) == 0


def test_too_many_open_files_reject_neither_image_nor_folder(photos: Path) -> None:
    resource = pytest.importorskip("resource")
    image = list_images([photos / "even"])[0]
    assert isinstance(image, Source)
    decode(b"", PRESETS["keras"], (32, 32))  # loads modules that open files themselves
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        result = decode(image, PRESETS["keras"], (32, 32))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert isinstance(result, ReadFailure)
    assert result.reason == f"the file could not be read: {os.strerror(errno.EMFILE)}"
    assert isinstance(decode(image, PRESETS["keras"], (32, 32)), Decoded)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that can't be read")
def test_an_error_of_the_device_is_not_a_corrupt_image() -> None:
    result = decode("/proc/self/mem", PRESETS["keras"], (32, 32))
    assert isinstance(result, ReadFailure)
    assert result.reason == f"the file could not be read: {os.strerror(errno.EIO)}"


WITH_LITTLE_MEMORY = """
import resource, sys
from sparsefeat.images import decode
from sparsefeat.images import PRESETS

size = int(sys.argv[1])
small, large = sys.stdin.buffer.read(size), sys.stdin.buffer.read()
kind = lambda content: type(decode(content, PRESETS["keras"], (64, 64))).__name__
print(kind(small))
pages = int(open("/proc/self/statm").read().split()[0])
for megabytes in (2, 20, 40, 60, 80, 600):
    limit = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    print(kind(large))
print(kind(large[:30_000]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS binds on Linux")
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_too_little_memory_is_not_a_corrupt_image(name: str) -> None:
    def encoded(side: int) -> bytes:
        noise = np.random.default_rng(0).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
        stream = io.BytesIO()
        image = Image.fromarray(np.kron(noise, np.ones((8, 8, 1), np.uint8)))
        image.save(stream, name, **({"progressive": True} if name == "JPEG" else {}))
        return stream.getvalue()

    small, large = encoded(64), encoded(3000)
    done = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_MEMORY, str(len(small))],
        input=small + large,
        capture_output=True,
        check=True,
    )
    loaded, *short, enough, broken = done.stdout.decode().split()
    assert (loaded, short[0], enough) == ("Decoded", "ReadFailure", "Decoded")
    assert set(short) <= {"ReadFailure", "Decoded"}
    assert broken in ("Reject", "Decoded"), "with enough memory, the file decides"


def test_a_store_that_vanishes_is_an_error_and_not_created_again(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    store, away = tmp_path / "features", tmp_path / "away"
    with pytest.raises(
        StoreWriteError, match=r"features can't be written .*restore the store's folder"
    ):
        extract(extractor, [photos], store, After(12, lambda: store.rename(away)))
    assert not store.exists()
    away.rename(store)
    kept = len(sparsefeat.open(store))
    assert kept >= 10
    assert extract(extractor, [photos], store).rows == 24 - kept
    assert sparsefeat.verify(store).ok


def test_a_folder_that_replaces_the_store_gets_no_rows(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    store, away = tmp_path / "features", tmp_path / "away"

    def replace() -> None:  # like the folder below an unmounted drive
        store.rename(away)
        store.mkdir()
        shutil.copy(away / ".sparsefeat.lock", store)

    with pytest.raises(StoreWriteError, match="restore the store's folder"):
        extract(extractor, [photos], store, After(12, replace))
    assert not list(store.glob("snapshots/*.json"))


DATES = {
    "2262": 9_224_318_016 * 10**9,  # the first year whose nanoseconds exceed int64
    "2300": 10_413_792_000 * 10**9 + 1,
    "9999": 253_402_300_799 * 10**9,
    "1969": -1,
    "1900": -2_208_988_800 * 10**9 + 123_456_789,
    "1600": -11_676_096_000 * 10**9,
    "never": 0,
}


@pytest.mark.parametrize("folder", ["/dev/shm", ""])
def test_an_image_with_an_unusual_date_is_extracted(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path, folder: str
) -> None:
    if folder:  # /dev/shm stores dates that this disk may not
        if not Path(folder).is_dir():
            pytest.skip(f"no {folder}")
        odd = Path(folder, tmp_path.name)
        odd.mkdir()
    else:
        odd = tmp_path / "dated"
        odd.mkdir()
    try:
        for number, (name, mtime_ns) in enumerate(DATES.items()):
            shutil.copy(photos / f"even/{2 * number:02}.png", odd / f"{name}.png")
            os.utime(odd / f"{name}.png", ns=(0, mtime_ns))
        (odd / "broken.png").write_bytes(b"no image")
        os.utime(odd / "broken.png", ns=(0, DATES["2300"]))
        (odd / "empty.png").touch()
        os.utime(odd / "empty.png", ns=(0, DATES["1600"]))
        kept = {path.stem: path.stat().st_mtime_ns for path in odd.iterdir()}
        store = tmp_path / "features"
        outcome = extract(extractor, [odd], store)
        assert (outcome.rows, outcome.rejected, outcome.failed) == (7, 2, 0)
        obs = sparsefeat.open(store).obs
        for path, mtime_ns in zip(obs["path"], obs["mtime_ns"], strict=True):
            true = kept[Path(path).stem]
            assert mtime_ns == max(-(2**63), min(true, 2**63 - 1))
        again = extract(extractor, [odd], store)
        assert (again.rows, again.already_stored, again.already_rejected) == (0, 7, 2)
        assert (again.failed, again.changed) == (0, [])
        assert sparsefeat.verify(store, source=odd).changes == ()
        os.utime(odd / "1969.png", ns=(0, DATES["2300"]))
        assert extract(extractor, [odd], store).changed == ["1969.png"]
    finally:
        shutil.rmtree(odd)


def test_names_of_any_length_in_a_list_do_not_stop_the_run(
    extractor: sparsefeat.Extractor, photos: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "list"
    long = "x" * 100_000
    listing.write_text(f"{photos}/even/00.png\n{long}\n{photos}/{'d/' * 10_000}a.png\n")
    outcome = extract(extractor, [], tmp_path / "features", files_from=listing)
    assert (outcome.rows, outcome.failed) == (1, 2)


def test_an_impossible_name_is_a_missing_file(small_vgg16: Path) -> None:
    extractor = sparsefeat.Extractor(small_vgg16, size=(32, 32))
    (batch,) = extractor.extract(["a\ud800.jpg", "b\0.jpg"], errors="ignore")
    assert [reject.reason for reject in batch.rejects] == ["no such file"] * 2
    assert all(isinstance(reject, Reject) for reject in batch.rejects)


def test_a_file_too_large_for_any_image_is_not_read_for_its_digest(
    photos: Path, extractor: sparsefeat.Extractor, tmp_path: Path
) -> None:
    """Reading terabytes would take hours; the file is sparse, so it takes no disk space."""
    with (photos / "film.jpg").open("wb") as film:
        film.truncate(8 << 40)
    for already_rejected in (0, 2):
        progress = extract_images(
            list_images([photos]), tmp_path / "features", model=extractor, identity="digest"
        )
        assert progress.already_rejected == already_rejected
    assert progress.already_stored == 24
