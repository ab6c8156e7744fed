"""Images that are objects in a bucket of a real server."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.errors import SourceError
from sparsefeat.images import Source, list_images
from sparsefeat.images.reading import read_file, read_original
from sparsefeat.storage import open_storage

from ..buckets import BUCKET, LIMITED, Fault, Proxy, put_any_key

MOST = 10**6  # pixels


def jpeg(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(data.astronaut()[number : number + 64, :64]).save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def images(url: str) -> dict[str, bytes]:
    """Write some objects below the URL, images and others."""
    files = {"a b/\u00e9.jpg": jpeg(0), "a b/1.JPG": jpeg(1), "2.png": jpeg(2)}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("x/3.jpg")
        entry.size = len(jpeg(3))
        tar.addfile(entry, io.BytesIO(jpeg(3)))
    others = {".hidden.jpg": b"0", "film.mov": b"0", "s.zarr/c.0": b"0"}
    storage = open_storage(url)
    for name, content in {**files, **others, "0.tar": archive.getvalue()}.items():
        storage.write(name, [content])
        storage.sync("/".join([*name.split("/"), "", ""][:2]))
    return {**files, "0.tar/x/3.jpg": jpeg(3)}


def test_a_prefix_is_listed_like_a_folder(url: str, images: dict[str, bytes]) -> None:
    found = list_images(url)
    assert found.companions == {".mov": 1}
    assert all(isinstance(each, Source) for each in found)
    listed = {each.path: each for each in found if isinstance(each, Source)}
    assert {path: read_file(each, MOST) for path, each in listed.items()} == images
    assert {each.root for each in found} == {url}
    assert listed["a b/1.JPG"].label == "a b"
    assert listed["2.png"].label == url.rpartition("/")[2]
    assert listed["2.png"].mtime_ns > 0
    assert [each.path for each in list_images(url, include="*.jpg")] == [
        "0.tar/x/3.jpg",
        "a b/1.JPG",
        "a b/\u00e9.jpg",
    ]


def test_the_root_of_a_single_object_is_the_prefix_above_it(
    url: str, images: dict[str, bytes]
) -> None:
    (found,) = list_images(f"{url}/a b/1.JPG")
    assert isinstance(found, Source)
    assert (found.root, found.path) == (f"{url}/a b", "1.JPG")
    assert read_file(found, MOST) == images["a b/1.JPG"]


def test_an_object_that_changed_since_it_was_listed_is_a_failure(
    url: str, images: dict[str, bytes]
) -> None:
    found = next(each for each in list_images(url) if each.path == "2.png")
    storage = open_storage(url)
    storage.write("2.png", [b"something else"])
    storage.sync("2.png/")
    assert isinstance(found, Source)
    with pytest.raises(Exception, match="changed since it was listed"):
        read_file(found, MOST)


def test_a_prefix_without_objects_is_an_error(url: str) -> None:
    with pytest.raises(SourceError, match="the bucket has no object of that name"):
        list_images(url)
    with pytest.raises(SourceError, match="sparsefeat does not download"):
        list_images("https://example.org/a.jpg")


def test_credentials_for_a_prefix_alone_are_enough(
    url: str, images: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = f"s3://{BUCKET}/{LIMITED[0]}"
    storage = open_storage(mine)
    storage.write("a.jpg", [jpeg(4)])
    storage.sync("a.jpg/")
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), LIMITED, strict=True):
        monkeypatch.setenv(name, value)
    for named in (mine, f"{mine}/a.jpg"):
        (found,) = list_images(named)
        assert isinstance(found, Source)
        assert read_file(found, MOST) == jpeg(4)
    for other in (url, f"s3://{BUCKET}"):
        with pytest.raises(SourceError, match=r"can't be listed \(AccessDenied: .*check the keys"):
            list_images(other)


# SeaweedFS rewrites such keys.
@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)
def test_only_objects_with_invalid_keys_are_rejected(
    endpoint: str, url: str, images: dict[str, bytes]
) -> None:
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    # Before and after the others, in folders of their own, and one that is not an image.
    bad = ["/1.jpg", "a b//x y+%25.jpg", "b/../c.jpg", "b/./c.jpg", "zz//1.jpg"]
    for name in [*bad, "zz//.hidden.mov", "z\u00e9+% .jpg"]:
        put_any_key(endpoint, f"{prefix}/{name}", jpeg(5))
    found = list_images(url)
    listed = {each.path for each in found if isinstance(each, Source)}
    assert listed == {*images, "z\u00e9+%25 .jpg"}
    rejects = {each.path: each for each in found if not isinstance(each, Source)}
    assert {*rejects} == {name.replace("%", "%25") for name in bad}
    for each in rejects.values():
        assert each.reason.startswith("a key with nothing, '.' or '..' between two slashes")
        assert (each.root, each.bytes) == (url, len(jpeg(5)))
    assert found.companions == {".mov": 2}
    (last,) = (each for each in found if each.path.startswith("z\u00e9"))
    assert isinstance(last, Source)
    assert read_file(last, MOST) == jpeg(5)


@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)
def test_listing_many_keys_continues_after_an_invalid_one(
    proxy: Proxy, url: str, endpoint: str
) -> None:
    """Three pages of a thousand keys, from a server that fails for a moment."""
    storage, prefix = open_storage(url), url.removeprefix(f"s3://{BUCKET}/")
    for number in range(2050):
        storage.write(f"{number:04d}.jpg", [b"1"])
    for number in range(2050):
        storage.sync(f"{number:04d}.jpg/")
    put_any_key(endpoint, f"{prefix}/1200//a.jpg", b"1")
    # After the check of the connection, the first page is requested twice; the second twice by
    # obstore and three times by us; the third once.
    asked: list[str] = []
    faults: dict[int, Fault] = {2: "truncate", 4: "truncate", 6: 503, 7: "truncate"}

    def away(method: str, path: str) -> Fault:
        asked.append(path)
        return faults.get(len(asked))

    proxy.fault = away
    found = [each.path for each in list_images(url)]
    assert sorted(found) == sorted([*(f"{n:04d}.jpg" for n in range(2050)), "1200//a.jpg"])
    assert found == sorted(found)
    assert len(asked) == 9


def test_images_of_a_bucket_are_extracted_into_it(
    url: str, images: dict[str, bytes], small_vgg16: Path, tmp_path: Path
) -> None:
    extractor = sparsefeat.Extractor(small_vgg16, size=(32, 32))
    store = f"{url}/features"
    result = sparsefeat.extract(url, store, model=extractor)
    assert (result.rows, result.rejected, result.failed) == (4, 0, 0)
    again = sparsefeat.extract(url, store, model=extractor)
    assert (again.rows, again.already_stored) == (0, 4)
    obs = sparsefeat.open(store).obs
    for path, root, digest in zip(obs.path, obs.root, obs.sha256, strict=True):
        assert read_original(path, root, digest) == images[path]
    assert read_original("0.tar/x/4.jpg", url, "") == "no such file"
    for name, content in images.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    # A folder with the name of a former archive isn't taken for an archive.
    sparsefeat.extract(tmp_path, tmp_path / "f", model=extractor)
    ours, theirs = sparsefeat.open(store), sparsefeat.open(tmp_path / "f")
    assert sorted(ours.obs.path) == sorted(theirs.obs.path) == sorted(images)
    order = [list(ours.obs.sha256).index(digest) for digest in theirs.obs.sha256]
    difference = ours["block5_pool"][order] - theirs["block5_pool"].to_scipy()
    assert difference.nnz == 0
