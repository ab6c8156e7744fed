"""Inputs that other tools wrote: img2dataset, webdataset, datasets."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.images import Source, list_images
from sparsefeat.images.reading import read_file
from sparsefeat.types import Reject

IMG2DATASET = Path(__file__).parents[2] / "fixtures" / "img2dataset"
CAPTIONS = {
    "000000": "a photograph, astronaut",
    "000001": "a photograph, cat",
    "000003": "a photograph, chelsea",
    "000010": "a photograph, coffee",
    "000011": "a photograph, rocket",
}
"""By their keys: five digits of the shard, and the number in it. That of 000002 is missing."""
MOST = 10**6  # pixels


def jpeg(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(data.astronaut()[number : number + 48, :48]).save(content, "JPEG")
    return content.getvalue()


def facts(found: Iterable[Source | Reject]) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, label and extra columns of each image, none of which may be a reject."""
    described = []
    for each in found:
        assert isinstance(each, Source), each
        assert Image.open(io.BytesIO(read_file(each, MOST))).size[0] >= 40
        described.append((each.path, each.label, json.loads(each.extra)))
    return described


def test_shards_of_img2dataset_are_read(small_vgg16: Path, tmp_path: Path) -> None:
    """The Parquet file beside each tar has no images; it is neither damaged nor a reject."""
    found = list_images(IMG2DATASET / "webdataset", keep="key,caption,url,exif")
    assert sorted((path, kept["key"], kept["caption"]) for path, _, kept in facts(found)) == [
        (f"0000{key[4]}.tar/{key}.jpg", key, caption) for key, caption in CAPTIONS.items()
    ]
    assert all(kept["url"].startswith("http://127.0.0.1:") for *_, kept in facts(found))
    assert found.companions == {".parquet": 2, ".json": 2}

    options: dict[str, Any] = {"model": sparsefeat.Extractor(small_vgg16, size=(32, 32))}
    search = sparsefeat.Search(IMG2DATASET / "webdataset", keep="caption")
    result = sparsefeat.extract(search, tmp_path / "a", **options)
    assert (result.rows, result.rejected, result.failed) == (5, 0, 0)
    search = sparsefeat.Search(IMG2DATASET / "parquet", keep="caption")
    sparsefeat.extract(search, tmp_path / "b", **options)
    tar, parquet = sparsefeat.open(tmp_path / "a"), sparsefeat.open(tmp_path / "b")
    assert sorted(tar.obs.caption) == sorted(parquet.obs.caption) == sorted(CAPTIONS.values())
    for caption in CAPTIONS.values():
        (one,), (other,) = (each.where(f"caption == {caption!r}") for each in (tar, parquet))
        assert tar.obs.sha256.iloc[one] == parquet.obs.sha256.iloc[other]
        assert (tar["block5_pool"][one] - parquet["block5_pool"][other]).nnz == 0


def test_parquet_of_img2dataset_is_read() -> None:
    found = facts(list_images(IMG2DATASET / "parquet", keep="status,original_width,caption"))
    assert sorted((path, kept["caption"]) for path, _, kept in found) == [
        (f"0000{key[4]}.parquet/{key}", caption) for key, caption in CAPTIONS.items()
    ]
    assert {(kept["status"], kept["original_width"]) for *_, kept in found} == {("success", 160)}


@pytest.mark.parametrize("pattern", ["s-%03d.tar", "s-%03d.tar.gz"])
def test_shards_of_webdataset_are_read(tmp_path: Path, pattern: str) -> None:
    import webdataset

    compressed = pattern.endswith("gz")
    target = f"file:{tmp_path}/{pattern}"
    with webdataset.ShardWriter(target, maxcount=2, verbose=0, compress=compressed) as writer:
        for number in range(5):
            writer.write(
                {
                    "__key__": f"part/{number:04}",
                    "jpg": jpeg(number),
                    "cls": number % 2,
                    "json": {"caption": f"number {number}", "score": number / 4},
                    "txt": f"text {number}",
                }
            )
    found = list_images(tmp_path, keep="caption,score,txt,__key__", label_column="cls")
    ending = pattern.partition(".")[2]
    assert facts(found) == [
        (
            f"s-{number // 2:03}.{ending}/part/{number:04}.jpg",
            str(number % 2),
            {
                "caption": f"number {number}",
                "score": number / 4,
                "txt": f"text {number}",
                "__key__": f"part/{number:04}",
            },
        )
        for number in range(5)
    ]


def test_tars_of_webdataset_s_writer_are_read(tmp_path: Path) -> None:
    """Only .txt files are captions; a field that is an image in some samples is not a column."""
    import webdataset

    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "0", "jpg": jpeg(0), "txt": "hello"})
        writer.write({"__key__": "1", "left.jpg": jpeg(1), "right.jpg": jpeg(2), "txt": "both"})
        writer.write({"__key__": "2", "jpg": jpeg(3)})
    found = list_images(tmp_path, keep="caption,key,jpg")
    assert [(path, kept) for path, _, kept in facts(found)] == [
        ("a.tar/0.jpg", {"caption": "hello", "key": "0"}),
        ("a.tar/1.left.jpg", {"caption": "both", "key": "1"}),
        ("a.tar/1.right.jpg", {"caption": "both", "key": "1"}),
        ("a.tar/2.jpg", {"key": "2"}),
    ]
    assert found.unmatched == (("keep", "jpg"),)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hugging Face dataset of four images in files, with classes of two kinds."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    (tmp_path / "files").mkdir()
    for number in range(4):
        (tmp_path / "files" / f"{number}.jpg").write_bytes(jpeg(number))
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "fine": datasets.ClassLabel(names=["tabby", "beagle", "pug"]),
            "tags": datasets.Sequence(datasets.ClassLabel(names=["x", "y"])),
            "caption": datasets.Value("string"),
        }
    )
    columns = {
        "image": [str(tmp_path / "files" / f"{number}.jpg") for number in range(4)],
        "label": [0, 1, 1, None],
        "fine": [0, 2, 1, 0],
        "tags": [[0, 1], [], [1], [0]],
        "caption": ["a", "b", None, "d"],
    }
    return datasets.Dataset.from_dict(columns, features=features)


EXPECTED = [
    ("cat", {"fine": "tabby", "tags": '["x","y"]', "caption": "a"}),
    ("dog", {"fine": "pug", "tags": "[]", "caption": "b"}),
    ("dog", {"fine": "beagle", "tags": '["y"]'}),
]


def test_parquet_of_hugging_face_with_images_is_read(dataset: Any, tmp_path: Path) -> None:
    from datasets.table import embed_table_storage

    embedded = dataset.with_format("arrow").map(embed_table_storage, batched=True)
    embedded.with_format(None).to_parquet(tmp_path / "out.parquet")
    found = facts(list_images(tmp_path / "out.parquet", keep="fine,tags,caption"))
    assert [(label, kept) for _, label, kept in found[:3]] == EXPECTED
    assert [path.rpartition("/")[2] for path, *_ in found] == [f"{n}.jpg" for n in range(4)]
    assert found[3][1] == tmp_path.name
    named = facts(list_images(tmp_path / "out.parquet", label_column="fine"))
    assert [label for _, label, _ in named] == ["tabby", "pug", "beagle", "tabby"]


def test_parquet_of_hugging_face_with_paths_is_read_as_a_table(
    dataset: Any, tmp_path: Path
) -> None:
    """Without `embed_table_storage` it has paths but no bytes."""
    dataset.to_parquet(tmp_path / "out.parquet")
    (refused,) = list_images(tmp_path / "out.parquet")
    assert isinstance(refused, Reject)
    assert "pass it to --files-from" in refused.reason
    found = facts(list_images(files_from=tmp_path / "out.parquet", keep="fine,tags,caption"))
    assert [(label, kept) for _, label, kept in found[:3]] == EXPECTED
    assert [path for path, *_ in found] == [f"files/{number}.jpg" for number in range(4)]
    assert found[3][1] == "files"


def test_requested_columns_that_are_missing_are_reported_as_unmatched() -> None:
    folders = [IMG2DATASET / "webdataset", IMG2DATASET / "parquet"]
    found = list_images(folders, keep="nothing", label_column="nobody")
    assert len(facts(found)) == 10
    assert found.unmatched == (("label-column", "nobody"), ("keep", "nothing"))
    assert {each.extra for each in found if isinstance(each, Source)} == {"{}"}
