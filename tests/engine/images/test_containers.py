"""Images in tar, zip and Parquet files."""

import gzip
import io
import itertools
import json
import os
import shutil
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.images import MAX_PIXELS, Source, find_image, list_images, max_file_bytes
from sparsefeat.images.containers import list_members
from sparsefeat.images.reading import read_file, read_original
from sparsefeat.types import ReadFailure, Reject

MOST = 10**6  # pixels
Files = dict[str, bytes]


def jpeg(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(data.astronaut()[number : number + 64, :64]).save(content, "JPEG")
    return content.getvalue()


IMAGES: Files = {f"{n:05}.jpg": jpeg(n) for n in range(6)}


def write_tar(path: Path, files: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Iterable[tuple[str, bytes]], method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def write_parquet(path: Path, columns: dict[str, Any], metadata: Any = None) -> Path:
    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, path, row_group_size=4)
    return path


def as_structs(files: Files) -> list[dict[str, Any]]:
    return [{"bytes": content, "path": name} for name, content in files.items()]


WRITERS: dict[str, Callable[[Path, Files], Path]] = {
    ".tar": lambda path, files: write_tar(path, files.items()),
    ".tar.gz": lambda path, files: write_tar(path, files.items(), "w:gz"),
    ".TGZ": lambda path, files: write_tar(path, files.items(), "w:gz"),
    ".zip": lambda path, files: write_zip(path, files.items(), zipfile.ZIP_STORED),
    ".deflated.zip": lambda path, files: write_zip(path, files.items(), zipfile.ZIP_DEFLATED),
    ".parquet": lambda path, files: write_parquet(path, {"image": as_structs(files)}),
}


def read(found: Source | Reject) -> bytes:
    assert isinstance(found, Source)
    return read_file(found, MOST)


def contents(found: Iterable[Source | Reject]) -> Files:
    return {each.path.partition("/")[2]: read(each) for each in found}


def reasons(found: Iterable[Source | Reject]) -> dict[str, str]:
    return {each.path: each.reason for each in found if isinstance(each, Reject)}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_image_is_found_and_read(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / f"shard{kind}", IMAGES)
    found = list_images(tmp_path)
    assert contents(found) == IMAGES
    for each in found:
        assert isinstance(each, Source)
        assert each.root == str(tmp_path)
        assert each.path.startswith(f"shard{kind}/")
        assert (each.bytes, each.mtime_ns) == (len(read(each)), 0)
        assert each.label == tmp_path.name


@pytest.mark.parametrize("kind", WRITERS)
def test_patterns_and_companions_apply_inside_archives(tmp_path: Path, kind: str) -> None:
    files = {"cats/a.jpg": jpeg(1), "dogs/b.png": jpeg(2), "dogs/c.JPG": jpeg(3), "d/x.mov": b"0"}
    WRITERS[kind](tmp_path / f"shard{kind}", files)
    found = list_images(tmp_path)
    labels = [each.label for each in found if isinstance(each, Source)]
    assert labels == ["cats", "dogs", "dogs"]
    assert found.companions == {".mov": 1}
    assert list(contents(list_images(tmp_path, include="*.jpg"))) == ["cats/a.jpg", "dogs/c.JPG"]
    assert list(contents(list_images(tmp_path, exclude="dogs"))) == ["cats/a.jpg"]


def test_labels_come_from_the_files_of_a_webdataset_sample(tmp_path: Path) -> None:
    files = [
        ("a/0.cls", b"7\n"),
        ("a/0.jpg", jpeg(0)),
        ("a/1.left.jpg", jpeg(1)),
        ("a/1.right.jpg", jpeg(2)),
        ("a/1.json", json.dumps({"label": "50% caf\u00e9"}).encode()),
        ("a/2.jpg", jpeg(3)),
        ("a/2.json", b"{no json"),
        ("a/2.txt", b"a caption"),
    ]
    write_tar(tmp_path / "00000.tar", files)
    found = list_images(tmp_path)
    assert [(each.path, each.label) for each in found if isinstance(each, Source)] == [
        ("00000.tar/a/0.jpg", "7"),
        ("00000.tar/a/1.left.jpg", "50%25 caf\u00e9"),
        ("00000.tar/a/1.right.jpg", "50%25 caf\u00e9"),
        ("00000.tar/a/2.jpg", "a"),
    ]


def test_hugging_face_s_class_numbers_become_names(tmp_path: Path) -> None:
    metadata = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    columns = {"image": as_structs(IMAGES), "label": [0, 1, 1, 0, 5, None]}
    write_parquet(tmp_path / "train.parquet", columns, metadata)
    found = list_images(tmp_path)
    labels = [each.label for each in found if isinstance(each, Source)]
    assert labels == ["cat", "dog", "dog", "cat", "5", tmp_path.name]


def test_rows_of_img2dataset_without_bytes_are_skipped(tmp_path: Path) -> None:
    """img2dataset could not download these; the other rows are named by their key."""
    keys = [f"{n:09}" for n in range(3)]
    columns = {"key": keys, "status": ["success", "failed", "success"]}
    columns["jpg"] = [jpeg(0), None, jpeg(2)]  # type: ignore[list-item]
    write_parquet(tmp_path / "00000.parquet", columns)
    assert contents(list_images(tmp_path)) == {keys[0]: jpeg(0), keys[2]: jpeg(2)}


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    paths = pa.array([{"bytes": None, "path": "a.jpg"}], kind)
    write_parquet(tmp_path / "b.parquet", {"image": paths})
    found = list_images(tmp_path)
    assert "has paths and no bytes" in reasons(found)["b.parquet"]
    assert (len(found), found.companions) == (1, {".parquet": 1})
    said = reasons(list_images([tmp_path / "a.parquet", tmp_path / "b.parquet"]))
    why = "none of its columns (text) has the bytes of images: name a table of paths"
    assert why in next(iter(said.values()))


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
def test_concatenated_tars_are_read_as_one(tmp_path: Path, kind: str) -> None:
    """As `cat` joins them; other data after the last one are ignored."""
    names = sorted(IMAGES)
    for number, some in enumerate((names[:2], names[2:5], names[5:])):
        WRITERS[kind](tmp_path / f"{number}", {name: IMAGES[name] for name in some})
    parts = [(tmp_path / str(number)).read_bytes() for number in range(3)]
    for number in range(3):
        (tmp_path / str(number)).unlink()
    joined = tmp_path / f"all{kind}"
    joined.write_bytes(b"".join(parts))
    found = list_images(joined)
    assert {each.path.rpartition("/")[2]: read(each) for each in found} == IMAGES
    if kind == ".tar":
        joined.write_bytes(b"".join(parts) + b"no header at all" * 99)
        assert len(list_images(joined)) == 6
        joined.write_bytes(b"".join([*parts[:2], parts[2][:700]]))
        found = list_images(joined)
        assert len(found) == 6
        assert "it is truncated, after 5 files" in next(iter(reasons(found).values()))


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
def test_images_before_the_cut_of_a_truncated_tar_are_read(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / f"shard{kind}", IMAGES)
    whole = path.read_bytes()
    seen = set()
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        found = list_images(tmp_path)
        images = contents(each for each in found if isinstance(each, Source))
        assert images.items() <= IMAGES.items()
        seen.add(len(images))
        assert reasons(found).keys() <= {path.name}
        assert reasons(found) or len(images) == 6 or length == 0
    assert seen >= ({0, 1, 3, 5} if kind == ".tar" else {0, 5})  # some are read ahead


@pytest.mark.parametrize("kind", [".zip", ".parquet"])
def test_a_file_without_its_list_of_members_is_damaged(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / f"shard{kind}", IMAGES)
    path.write_bytes(path.read_bytes()[:-20])
    assert "the file that holds it is damaged" in reasons(list_images(tmp_path))[path.name]


@pytest.mark.parametrize("kind", WRITERS)
def test_names_that_lead_out_or_occur_twice_are_rejected(tmp_path: Path, kind: str) -> None:
    names = ["a.jpg", "../b.jpg", "c/../../d.jpg", "a.jpg", "e.jpg"]
    files = [(name, jpeg(n)) for n, name in enumerate(names)]
    path = tmp_path / f"shard{kind}"
    if "parquet" in kind:
        write_parquet(path, {"image": [{"bytes": data, "path": name} for name, data in files]})
    elif "zip" in kind:
        with pytest.warns(UserWarning, match="Duplicate name"):
            write_zip(path, files, zipfile.ZIP_DEFLATED)
    else:
        write_tar(path, files, "w:gz" if "g" in kind.lower() else "w")
    found = list_images(tmp_path)
    images = contents(each for each in found if isinstance(each, Source))
    twice = {f"{path.name}/a.jpg": "another image in the same file has its name"}
    if "parquet" in kind:  # a row has a number, too
        assert images.pop("000000003") == jpeg(3)
        twice = {}
    assert images == {"a.jpg": jpeg(0), "e.jpg": jpeg(4)}
    assert reasons(found) == twice | {
        f"{path.name}/../b.jpg": "a name that leads out of the file that holds it",
        f"{path.name}/c/../../d.jpg": "a name that leads out of the file that holds it",
    }


def test_a_zip_that_understates_sizes_costs_no_memory(tmp_path: Path) -> None:
    bomb = bytes(200 << 20)
    path = write_zip(tmp_path / "a.zip", [("a.jpg", bomb)], zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\1\2")
    struct.pack_into("<I", raw, entry + 16, zlib.crc32(b"0" * 100))
    struct.pack_into("<I", raw, entry + 24, 1 << 20)  # its size once inflated
    path.write_bytes(raw)
    (found,) = sparsefeat.images.list_images(tmp_path)
    assert isinstance(found, Source)
    with pytest.raises(Exception, match="the size or the checksum does not match"):
        read_file(found, MOST)


def test_encrypted_and_unsupported_members_are_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [("a.jpg", jpeg(0))], zipfile.ZIP_LZMA)
    assert reasons(list_images(tmp_path)) == {
        "a.zip/a.jpg": "compressed by a method other than deflate"
    }
    path = write_zip(tmp_path / "a.zip", [("a.jpg", jpeg(0))], zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    assert reasons(list_images(tmp_path)) == {"a.zip/a.jpg": "encrypted"}


@pytest.mark.parametrize("kind", [".tar", ".zip", ".parquet"])
def test_an_archive_that_changed_since_it_was_listed_is_a_failure(
    tmp_path: Path, kind: str
) -> None:
    path = WRITERS[kind](tmp_path / f"shard{kind}", IMAGES)
    first, *_ = list_images(tmp_path)
    assert isinstance(first, Source)
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(Exception, match="changed since it was listed"):
        read_file(first, MOST)


@pytest.mark.parametrize("kind", WRITERS)
def test_rows_equal_those_of_single_files(small_vgg16: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "single").mkdir()
    for name, content in IMAGES.items():
        (tmp_path / "single" / name).write_bytes(content)
    shards = tmp_path / "shards"
    shards.mkdir()
    WRITERS[kind](shards / f"0{kind}", IMAGES)
    (shards / "cut.tar").write_bytes(b"no tar")
    extractor = sparsefeat.Extractor(small_vgg16, size=(32, 32))
    sparsefeat.extract(tmp_path / "single", tmp_path / "a", model=extractor)
    result = sparsefeat.extract(shards, tmp_path / "b", model=extractor)
    assert (result.rows, result.rejected, result.failed) == (6, 1, 0)
    single, packed = sparsefeat.open(tmp_path / "a"), sparsefeat.open(tmp_path / "b")
    assert list(packed.obs.sha256) == list(single.obs.sha256)
    difference = packed["block5_pool"].to_scipy() - single["block5_pool"].to_scipy()
    assert difference.nnz == 0
    again = sparsefeat.extract(shards, tmp_path / "b", model=extractor)
    assert (again.rows, again.already_stored, again.already_rejected) == (0, 6, 1)
    assert sparsefeat.verify(tmp_path / "b", source=shards).ok
    path, root, sha256 = packed.obs[["path", "root", "sha256"]].iloc[2]
    assert read_original(path, root, sha256) == IMAGES["00002.jpg"]


def test_an_extractor_accepts_an_archive(small_vgg16: Path, tmp_path: Path) -> None:
    path = WRITERS[".tar"](tmp_path / "0.tar", IMAGES)
    extractor = sparsefeat.Extractor(small_vgg16, size=(32, 32))
    for images in (path, [path], str(path)):
        assert sum(len(batch.rows) for batch in extractor.extract(images)) == 6


def test_sparse_members_of_a_tar_are_read(tmp_path: Path) -> None:
    """GNU tar omits zeros; the image has them again."""
    holed = jpeg(0) + bytes(1 << 20)
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    os.truncate(tmp_path / "a.jpg", len(holed))
    (tmp_path / "b.jpg").write_bytes(jpeg(1))
    for flags, name in (("-cSf", "a.tar"), ("-czSf", "b.tar.gz")):
        subprocess.run(["tar", flags, name, "a.jpg", "b.jpg"], cwd=tmp_path, check=True)
    for name in ("a.tar", "b.tar.gz"):
        found = [each for each in list_images(tmp_path) if each.path.startswith(name)]
        assert contents(found) == {"a.jpg": holed, "b.jpg": jpeg(1)}


def test_hard_links_are_read_as_the_linked_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(0))
    (folder / "b.jpg").hardlink_to(folder / "a.jpg")
    subprocess.run(["tar", "-cf", "a.tar", "-C", "in", "a.jpg", "b.jpg"], cwd=tmp_path, check=True)
    subprocess.run(["tar", "-czf", "b.tgz", "-C", "in", "a.jpg", "b.jpg"], cwd=tmp_path, check=True)
    shutil.rmtree(folder)
    found = list_images(tmp_path)
    images = {each.path: read(each) for each in found if isinstance(each, Source)}
    assert images == {"a.tar/a.jpg": jpeg(0), "a.tar/b.jpg": jpeg(0), "b.tgz/a.jpg": jpeg(0)}
    assert reasons(found) == {"b.tgz/b.jpg": "a hard link that can't be resolved"}


def test_gzip_with_several_members_is_read_to_its_end(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a", IMAGES.items()).read_bytes()
    cuts = (0, 3000, 7000, len(whole))
    packed = b"".join(gzip.compress(whole[a:b]) for a, b in itertools.pairwise(cuts))
    (tmp_path / "a").unlink()
    (tmp_path / "a.tar.gz").write_bytes(packed)
    (tmp_path / "named.tar").write_bytes(packed)
    assert contents(list_images(tmp_path / "a.tar.gz")).keys()
    found = list_images(tmp_path)
    assert len(found) == 12
    assert {read(each) for each in found} == set(IMAGES.values())
    damaged = bytearray(packed)
    damaged[-6] ^= 1  # the checksum of the last piece
    (tmp_path / "a.tar.gz").write_bytes(damaged)
    assert "CRC check failed" in reasons(list_images(tmp_path))["a.tar.gz"]


@pytest.mark.parametrize("field", ["size", "extension"])
def test_an_absurd_size_in_a_header_is_damage(tmp_path: Path, field: str) -> None:
    """A negative size would make tarfile loop forever, and a name of a terabyte take a terabyte."""
    path = write_tar(tmp_path / "a.tar", IMAGES.items())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"00003.jpg")
    if field == "size":
        raw[at + 124 : at + 136] = (-512).to_bytes(12, signed=True)
    else:
        raw[at + 124 : at + 136] = b"\x80" + (1 << 40).to_bytes(11)
        raw[at + 156] = ord("L")
    raw[at + 148 : at + 156] = b" " * 8
    raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])
    path.write_bytes(raw)
    found = list_images(tmp_path)
    assert len(contents(each for each in found if isinstance(each, Source))) == 3
    assert "a header claims" in reasons(found)["a.tar"]


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Nor is one that is excluded, although a compressed tar yields bytes with each member."""
    zeros, film = gzip.compress(bytes(1 << 20)), 96
    for name, mebibytes in (("film.mov", film), ("a.jpg", (max_file_bytes(MAX_PIXELS) >> 20) + 1)):
        entry = tarfile.TarInfo(name)
        entry.size = mebibytes << 20
        header, end = entry.tobuf(tarfile.GNU_FORMAT), bytes(1024)
        with (tmp_path / f"{name}.tar.gz").open("wb") as file:
            file.write(gzip.compress(header) + mebibytes * zeros + gzip.compress(end))
    tracemalloc.start()
    found = list_images(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (film << 20) // 2
    assert found.companions == {".mov": 1}
    assert reasons(found) == {
        "a.jpg.tar.gz/a.jpg": "the file is larger than any image within the limit of pixels"
    }


def test_many_images_of_one_sample_are_not_collected_first(tmp_path: Path) -> None:
    files = [(f"frame.{n:04}.jpg", jpeg(n % 9)) for n in range(200)]
    source = find_image(write_tar(tmp_path / "a.tar.gz", files, "w:gz"))
    assert isinstance(source, Source)
    first = next(iter(list_members(source, lambda names, file: True)))
    assert first.path.endswith("frame.0000.jpg")
    assert len(list_images(tmp_path)) == 200


def test_a_malformed_member_is_rejected_alone(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [("x", b"0"), ("b.jpg", jpeg(1))], zipfile.ZIP_STORED)
    raw = path.read_bytes().replace(b"x", b"\0")  # an empty name
    path.write_bytes(raw)
    twice = pa.Table.from_arrays([pa.array([jpeg(0)])] * 2, names=["jpg", "jpg"])
    pq.write_table(twice, tmp_path / "b.parquet")
    write_tar(tmp_path / "c.tar", [("n" * 5000 + ".jpg", jpeg(0)), ("d.jpg", jpeg(2))])
    columns = {"image": as_structs({"a.jpg": jpeg(3)}), "label": ["l" * 20_000]}
    write_parquet(tmp_path / "d.parquet", columns)
    found = list_images(tmp_path)
    images = {each.path: each for each in found if isinstance(each, Source)}
    assert set(images) == {"a.zip/b.jpg", "c.tar/d.jpg", "d.parquet/a.jpg"}
    assert len(images["d.parquet/a.jpg"].label) == 200
    said = reasons(found)
    assert "the file that holds it is damaged" in said["b.parquet"]
    assert "a name that is too long" in said.values()


def test_a_zip_whose_sizes_exceed_the_file_is_damaged(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [("a.jpg", jpeg(0))], zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.rindex(b"PK\1\2") + 20, 1 << 30)
    path.write_bytes(raw)
    assert reasons(list_images(tmp_path)) == {"a.zip/a.jpg": "the file that holds it is damaged"}


@pytest.mark.parametrize("kind", WRITERS)
def test_hidden_files_are_hidden_inside_archives_too(tmp_path: Path, kind: str) -> None:
    names = (".git/a.jpg", "a/.thumbs/b.jpg", "s.zarr/c", "__MACOSX/d.jpg", "100%.jpg", "e.jpg")
    files = {name: jpeg(n) for n, name in enumerate(names)}
    WRITERS[kind](tmp_path / f"shard{kind}", {**files, "in.zip": b"PK"})
    found = list_images(tmp_path, exclude="*100%.jpg")
    assert list(contents(each for each in found if isinstance(each, Source))) == ["e.jpg"]
    assert list(reasons(found).values()) == ["an archive inside of an archive, which is not opened"]
    assert found.unmatched == ()


def test_a_missing_or_forbidden_archive_is_a_failure(tmp_path: Path) -> None:
    """It isn't recorded as a reject, and the next run tries it again."""
    path = tmp_path / "0.tar"
    path.symlink_to(tmp_path / "gone.tar")
    (found,) = list_images(tmp_path)
    assert isinstance(found, ReadFailure)
    assert found.reason == "no such file"
