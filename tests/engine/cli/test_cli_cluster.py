"""Extraction by workers that are killed: processes of this machine and of a real Ray cluster."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images
from tests.engine.command import assert_one_line, run
from tests.engine.ray_cluster import ENVIRONMENT, Nodes, nodes

import sparsefeat
from sparsefeat.storage import open_storage

POISON = b"kills who reads it"
# In workers, Pillow kills the process when it reads a certain image.
_HOOK = f"""
import os, signal, sys
from PIL.ImageFile import ImageFile
whole = ImageFile.__init__
def opened(self, file=None, filename=None):
    if hasattr(file, "getbuffer") and {POISON!r} in bytes(file.getbuffer()):
        os.kill(os.getpid(), signal.SIGSEGV)
    whole(self, file, filename)
if "sparsefeat" not in sys.orig_argv:  # not the command itself
    ImageFile.__init__ = opened
"""


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables that give processes this hook."""
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(_HOOK)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def cluster(hook: dict[str, str]) -> Iterator[Nodes]:
    with nodes(hook) as started:
        yield started


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand crops of two images, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("cluster") / "photos"
    rng = np.random.default_rng(0)
    for number in range(1000):
        photograph = load_sample_images().images[number % 2]
        top, left = (int(rng.integers(0, extent - 48)) for extent in photograph.shape[:2])
        file = folder / f"{number % 7}/{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph[top : top + 48, left : left + 48]).save(file, compress_level=1)
    (folder / "notes.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def alone(photos: Path, small_vgg16: Path) -> sparsefeat.Store:
    """The store that one process makes of these."""
    store = photos.parent / "alone"
    layers = "block3_pool,block5_pool"
    sparsefeat.extract(photos, store, model=small_vgg16, layers=layers, size=(64, 64))
    return sparsefeat.open(store)


def start(
    photos: Path,
    store: Path | str,
    model: Path,
    where: str | None,
    *words: str,
    env: Mapping[str, str] = {},
) -> "subprocess.Popen[str]":
    command = [
        *(sys.executable, "-m", "sparsefeat", "extract", str(photos), "-o", str(store)),
        *("-m", str(model), "--layers", "block3_pool,block5_pool", "--size", "64x64", "--json"),
        *(() if where is None else ("--cluster", where)),
        *("--rows-per-part", "64", *words),
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT, **env},
    )


def wait_for_commit(store: Path, number: int = 1) -> None:
    deadline = time.monotonic() + 120
    while not (store / f"snapshots/{number:08}.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def a_worker(cluster: Nodes) -> psutil.Process:
    deadline = time.monotonic() + 60
    while not (working := cluster.workers()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return working[-1]


def assert_same(folder: Path | str, alone: sparsefeat.Store, *, rejected: Counter[str]) -> None:
    """Check that each image has exactly one row, bit for bit that of one process."""
    store = sparsefeat.open(folder)
    ours, theirs = (each.obs.reset_index() for each in (store, alone))
    assert Counter(ours["path"]) == Counter(theirs["path"])
    assert Counter(store.rejected["path"]) == rejected
    order, expected = (each.sort_values("path").index.to_numpy() for each in (ours, theirs))
    for column in ("label", "bytes", "mtime_ns", "sha256", "root"):
        assert ours[column][order].tolist() == theirs[column][expected].tolist()
    for name in alone.layers:
        got, wanted = store[name][order], alone[name][expected]
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(got, part), getattr(wanted, part))
    # Killed workers leave only garbage, which vacuum recognizes.
    sparsefeat.vacuum(folder, older_than=0)
    listed = {f"{part.entry.name}.zarr" for part in sparsefeat.open(folder).parts}
    # Files are counted: a server may list a folder for a while after its last file was deleted.
    found = {name.partition("/")[0] for name, _ in open_storage(folder).list_files("parts")}
    assert found == listed
    assert not sparsefeat.verify(folder).findings


@pytest.fixture
def poisoned(photos: Path) -> Iterator[str]:
    """An image that kills who reads it, if the process has the hook."""
    path = "3/poisoned.png"
    (photos / path).write_bytes((photos / "3/0003.png").read_bytes() + POISON)
    yield path
    (photos / path).unlink()


def assert_poison_is_rejected(store: Path, path: str, alone: sparsefeat.Store) -> None:
    assert_same(store, alone, rejected=Counter(["notes.jpg", path]))
    rejects = sparsefeat.open(store).rejected.set_index("path")["reason"]
    assert rejects[path] == "the process that reads it dies"


def test_killed_workers_and_machines_lose_no_row(
    cluster: Nodes,
    photos: Path,
    alone: sparsefeat.Store,
    small_vgg16: Path,
    tmp_path: Path,
    poisoned: str,
) -> None:
    """Nor does an image that kills its worker."""
    store, raylet = tmp_path / "features", cluster.add()
    running = start(photos, store, small_vgg16, cluster.address)
    wait_for_commit(store, 2)
    a_worker(cluster).kill()
    wait_for_commit(store, 4)
    raylet.kill()
    output, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    result = json.loads(output)
    assert (result["rows"], result["rejected"], result["failed"]) == (1000, 2, 0)
    assert result["crashes"] >= 6, "the image alone kills five workers"
    assert_poison_is_rejected(store, poisoned, alone)


def test_an_image_that_kills_its_worker_is_rejected(
    hook: dict[str, str],
    photos: Path,
    alone: sparsefeat.Store,
    small_vgg16: Path,
    tmp_path: Path,
    poisoned: str,
) -> None:
    store = tmp_path / "features"
    running = start(photos, store, small_vgg16, "local", env=hook)
    output, said = running.communicate(timeout=300)
    result = json.loads(output)
    assert (result["rows"], result["rejected"], result["crashes"]) == (1000, 2, 5), said
    assert_poison_is_rejected(store, poisoned, alone)


def test_killed_shards_can_be_continued_in_a_bucket(
    photos: Path, alone: sparsefeat.Store, small_vgg16: Path, url: str
) -> None:
    rng = random.Random(0)

    def shard(number: int, count: int) -> "subprocess.Popen[str]":
        return start(photos, url, small_vgg16, None, "--shard", f"{number}/{count}")

    running = [shard(number, 3) for number in range(3)]
    deadline = time.monotonic() + 120
    while len(open_storage(url).names("snapshots")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for process in running:
        time.sleep(rng.random())
        process.kill()
        process.communicate()
    # Two shards continue what three began.
    for process in [shard(number, 2) for number in range(2)]:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert_same(url, alone, rejected=Counter(["notes.jpg"]))


@pytest.mark.parametrize("where", ["a cluster", "local"])
def test_a_run_that_was_ended_can_be_continued(
    request: pytest.FixtureRequest,
    photos: Path,
    alone: sparsefeat.Store,
    small_vgg16: Path,
    tmp_path: Path,
    where: str,
) -> None:
    """Twice: the run that continues is ended, too, by the other signal."""
    if where != "local":
        where = request.getfixturevalue("cluster").address
    store, before, snapshots = tmp_path / "features", 0, 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        running = start(photos, store, small_vgg16, where)
        wait_for_commit(store, snapshots + 2)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
        assert "worker is lost" not in said
        assert running.returncode == code
        assert before < len(sparsefeat.open(store)) < 1000
        before, snapshots = len(sparsefeat.open(store)), len(sparsefeat.history(store))
    output, said = start(photos, store, small_vgg16, where).communicate(timeout=300)
    result = json.loads(output)
    assert (result["rows"], result["already_stored"]) == (1000 - before, before), said
    assert_same(store, alone, rejected=Counter(["notes.jpg"]))


def test_workers_that_always_die_are_reported_in_one_line(
    photos: Path, small_vgg16: Path, tmp_path: Path
) -> None:
    # As with a broken library: creating the network's session ends the process.
    (tmp_path / "sitecustomize.py").write_text("""
import os, signal, sys
if "sparsefeat" not in sys.orig_argv:  # not the command itself
    import onnxruntime
    onnxruntime.InferenceSession = lambda *args, **options: os.kill(os.getpid(), signal.SIGSEGV)
""")
    store, few = tmp_path / "features", photos / "2/0002.png"
    running = start(few, store, small_vgg16, "local", env={"PYTHONPATH": str(tmp_path)})
    _, said = running.communicate(timeout=300)
    assert running.returncode == 2
    assert said.splitlines()[-1].startswith("Error: a worker without images to read died"), said
    assert not store.exists() or not any((store / "parts").iterdir())


def test_workers_of_this_machine_extract_everything(
    photos: Path, alone: sparsefeat.Store, small_vgg16: Path, tmp_path: Path
) -> None:
    """Also from a script without `if __name__ == "__main__"`."""
    (tmp_path / "program.py").write_text(f"""
import sparsefeat
options = {{"layers": "block3_pool,block5_pool", "size": (64, 64), "threads": 1}}
photos, store, model = {[str(each) for each in (photos, tmp_path / "features", small_vgg16)]}
seen = []
result = sparsefeat.extract(
    photos, store, model=model, **options, cluster="local",
    rows_per_part=100, progress=lambda so_far: seen.append(so_far.done),
)
assert (result.rows, result.rejected, result.crashes) == (1000, 1, 0), result
assert seen == sorted(seen), seen
again = sparsefeat.extract(photos, store, model=model, **options, cluster="local")
assert (again.rows, again.already_stored, again.already_rejected) == (0, 1000, 1), again
""")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    assert_same(tmp_path / "features", alone, rejected=Counter(["notes.jpg"]))


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("127.0.0.1:1", "there is no Ray cluster at 127.0.0.1:1"),
        ("ray://head:1", "ray job submit"),
        ("everywhere", "expected local, auto or HOST:PORT"),
    ],
)
def test_a_missing_cluster_is_reported_in_one_line(
    photos: Path, small_vgg16: Path, tmp_path: Path, where: str, says: str
) -> None:
    done = run(
        tmp_path,
        *("extract", str(photos / "0"), "-o", "features", "-m", str(small_vgg16)),
        *("--cluster", where),
    )
    assert_one_line(done)
    assert says in done.stderr
