"""Shards of the images for processes that don't know each other."""

import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import InputError
from sparsefeat.images import Search, Shard


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    for number in range(24):
        image = Image.fromarray(data.astronaut()[number : number + 40, :40])
        image.save(folder / f"{'b/' * (number % 2)}{number}.png")
    for number in range(3):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            archive.add(folder / f"{2 * number}.png", arcname="x.png")
            archive.add(folder / f"{2 * number + 2}.png", arcname="y.png")
    return folder


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_each_image_is_in_exactly_one_shard(photos: Path, count: int) -> None:
    expected = [each.path for each in Search(photos)]
    shares = [[e.path for e in Search(photos, shard=Shard(n, count))] for n in range(count)]
    assert Counter(path for share in shares for path in share) == Counter(expected)
    assert len(expected) == 30
    for share in shares:  # in the order of all images; an archive is not divided
        assert share == [path for path in expected if path in share]
        members = Counter(path.partition(".tar/")[0] for path in share if ".tar/" in path)
        assert set(members.values()) <= {2}


def test_shards_do_not_depend_on_the_root(photos: Path) -> None:
    below = [each.path for each in Search(photos, shard=Shard(1, 3))]
    photos.rename(photos.parent / "moved")
    assert [each.path for each in Search(photos.parent / "moved", shard=Shard(1, 3))] == below


@pytest.mark.parametrize(
    "text", ["", "1", "4/4", "-1/4", "1/0", "0/0", "1/2/3", "a/b", "1/2 ", "\u0661/2"]
)
def test_invalid_shards_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="got shard"):
        Shard.parse(text)


def test_concurrent_shards_fill_one_store(small_vgg16: Path, photos: Path, tmp_path: Path) -> None:
    """Four shards at the same time, one of them twice; then everything again with other shards."""
    store = tmp_path / "features"
    line = [sys.executable, "-m", "sparsefeat", "extract", str(photos), "-o", str(store)]
    line += ["-m", str(small_vgg16), "--size", "32x32", "--rows-per-part", "3", "--threads", "1"]
    running = [subprocess.Popen([*line, "--shard", f"{n}/4"]) for n in (0, 1, 2, 3, 2)]
    assert [process.wait(300) for process in running] == [0] * 5
    rows = sparsefeat.open(store).obs
    assert Counter(rows.path) == Counter(each.path for each in Search(photos))
    again = sparsefeat.extract(
        photos, store, model=sparsefeat.Extractor(small_vgg16, size=(32, 32)), shard="1/2"
    )
    assert (again.rows, again.failed) == (0, 0)
    assert again.already_stored == len([*Search(photos, shard=Shard(1, 2))])
    assert sparsefeat.verify(store).ok
