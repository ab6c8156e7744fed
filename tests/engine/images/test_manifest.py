"""Tables of paths: Parquet and CSV files with an image per row."""

import csv
import itertools
import json
import re
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skimage import data

import sparsefeat
from sparsefeat import InputError, Search, SourceError
from sparsefeat.images import Shard, Source, list_images
from sparsefeat.images.reading import read_file
from sparsefeat.storage import open_storage
from sparsefeat.types import ReadFailure, Reject

CONTENTS = {f"{name}.jpg": name.encode() * 9 for name in ("one", "two", "three")}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `data` with images and archives; the current folder is another one."""
    folder = tmp_path / "data"
    (folder / "cats").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / "cats" / name).write_bytes(content)
    for kind in ("tar", "tar.gz"):
        with tarfile.open(folder / f"a.{kind}", "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(folder / "cats", "inner")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def write_csv(path: Path, rows: Sequence[Sequence[object]], **options: Any) -> Path:
    with path.open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        csv.writer(file, **options).writerows(rows)
    return path


def write_table(path: Path, columns: dict[str, list[Any]], **options: Any) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return path
    return write_csv(path, [[*columns], *zip(*columns.values(), strict=True)], **options)


def described(found: Source | Reject) -> tuple[str, str, str]:
    assert isinstance(found, Source), found
    return found.path, found.label, found.extra


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".parquet"])
def test_paths_labels_and_kept_columns_are_read(inside: Path, kind: str) -> None:
    columns = {
        "key": ["0001", "0002", "0003"],
        "path": ["cats/one.jpg", str(inside / "cats/two.jpg"), "cats/../cats/three.jpg"],
        "label": ["a", "", "b"],
        "caption": ["first", 'a "quoted", one', ""],
    }
    if kind == ".parquet":
        columns["caption"][2] = columns["label"][1] = None  # type: ignore[call-overload]
    table = write_table(inside / f"list{kind}", columns, delimiter="\t" if kind == ".tsv" else ",")
    found = list_images(files_from=table, keep="caption,key")
    assert [described(each) for each in found] == [
        ("cats/one.jpg", "a", '{"caption":"first","key":"0001"}'),
        ("cats/two.jpg", "cats", '{"caption":"a \\"quoted\\", one","key":"0002"}'),
        ("cats/three.jpg", "b", '{"key":"0003"}'),
    ]
    assert {each.root for each in found} == {str(inside)}
    assert [read_file(each, 100) for each in found if isinstance(each, Source)] == [
        CONTENTS[name] for name in ("one.jpg", "two.jpg", "three.jpg")
    ]
    assert found.unmatched == ()


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (["key", "url", "file_name"], "file_name"),
        (["key", "url"], "url"),
        (["Other", "Path"], "Path"),
        (["caption", "key"], "key"),
    ],
)
def test_the_column_of_paths_is_found_by_its_name(
    inside: Path, columns: list[str], chosen: str
) -> None:
    rows = {name: ["cats/one.jpg" if name == chosen else "nothing"] for name in columns}
    for kind in (".csv", ".parquet"):
        (found,) = list_images(files_from=write_table(inside / f"list{kind}", rows))
        assert found.path == "cats/one.jpg"
        other = next(name for name in columns if name != chosen)
        (found,) = list_images(files_from=inside / f"list{kind}", path_column=other)
        assert (found.path, type(found)) == ("nothing", ReadFailure)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_csv_of_spreadsheets_is_read(inside: Path, encoding: str, delimiter: str) -> None:
    (inside / "cats/été.jpg").write_bytes(b"x")
    rows = [["path", "note"], ["cats/été.jpg", "line\none"], [], ["cats/two.jpg"]]
    write_csv(inside / "list.csv", rows, encoding=encoding, delimiter=delimiter)
    found = list_images(files_from=inside / "list.csv", keep=["note"])
    assert [described(each)[::2] for each in found] == [
        ("cats/été.jpg", '{"note":"line\\none"}'),
        ("cats/two.jpg", "{}"),
    ]


def test_numbers_in_csv_are_recognized(inside: Path) -> None:
    texts = ["7", "-1", "0", "007", "0.50", "1.5e3", "1e3", "99999999999999999999", "x", ""]
    rows = [["path", "n"], *(["cats/one.jpg", text] for text in texts)]
    write_csv(inside / "list.csv", rows)
    kept = []
    for number in range(len(texts)):
        write_csv(inside / "list.csv", [rows[0], rows[number + 1]])
        (found,) = list_images(files_from=inside / "list.csv", keep="n")
        kept.append(json.loads(described(found)[2]).get("n"))
    expected = [7, -1, 0, "007", 0.5, 1500.0, "1e3", "99999999999999999999", "x", None]
    assert kept == expected


def test_members_of_archives_are_listed_by_path(inside: Path) -> None:
    names = ["a.tar/inner/two.jpg", "a.tar.gz/inner/two.jpg", "a.tar.gz/inner/one.jpg"]
    lost = ["a.tar/inner/gone.jpg", "b.tar/inner/one.jpg", "cats"]
    write_table(inside / "list.parquet", {"path": names + lost, "n": [1, 2, 3, 4, 5, 6]})
    found = list_images(files_from=inside / "list.parquet", keep="n")
    assert [described(each)[::2] for each in found[:3]] == [
        (name, f'{{"n":{number}}}') for number, name in enumerate(names, start=1)
    ]
    contents = [read_file(each, 100) for each in found if isinstance(each, Source)]
    assert contents == [CONTENTS[name.rpartition("/")[2]] for name in names]
    failed = [(each.path, each.reason) for each in found if isinstance(each, ReadFailure)]
    reasons = ["no such file", "no such file", "a folder, not a file"]
    assert failed == [*zip(lost, reasons, strict=True)]


def test_members_of_archives_may_be_in_a_list_of_lines(inside: Path, tmp_path: Path) -> None:
    Path("list.txt").write_text("../data/a.tar/inner/two.jpg\n../data/a.tar.gz/inner/one.jpg\n")
    found = list_images(files_from="list.txt", root="..")
    assert [each.path for each in found] == [
        "data/a.tar/inner/two.jpg",
        "data/a.tar.gz/inner/one.jpg",
    ]
    contents = [read_file(each, 100) for each in found if isinstance(each, Source)]
    assert contents == [CONTENTS["two.jpg"], CONTENTS["one.jpg"]]


@pytest.mark.parametrize(
    "paths", [["a.tar", "a.tar/inner/one.jpg"], ["a.tar/inner/one.jpg", "a.tar"]]
)
def test_an_archive_in_a_table_gives_all_of_its_images(inside: Path, paths: list[str]) -> None:
    write_table(inside / "list.csv", {"path": paths, "n": [1, 2]})
    found = [described(each) for each in list_images(files_from=inside / "list.csv", keep="n")]
    assert sorted(path for path, *_ in found) == [
        f"a.tar/inner/{name}" for name in sorted(CONTENTS)
    ]
    kept = {path: extra for path, _, extra in found}
    assert kept["a.tar/inner/two.jpg"] == f'{{"n":{paths.index("a.tar") + 1}}}'
    assert kept["a.tar/inner/one.jpg"] == '{"n":1}'


def test_shards_divide_the_rows(inside: Path) -> None:
    for number in range(40):
        (inside / f"{number}.jpg").write_bytes(b"x")
    paths = [f"{number}.jpg" for number in range(40)] + ["a.tar/inner/one.jpg", "a.tar/inner/x"]
    write_table(inside / "list.csv", {"path": paths})
    shares = [
        [each.path for each in Search(files_from=inside / "list.csv", shard=Shard(n, 3))]
        for n in range(3)
    ]
    assert sorted(itertools.chain(*shares)) == sorted(paths)
    assert all(len(share) > 5 for share in shares)
    assert sum(any("a.tar" in path for path in share) for share in shares) == 1


def test_patterns_and_skipped_folders_apply_to_tables(inside: Path) -> None:
    write_table(inside / "list.csv", {"path": ["cats/one.jpg", "cats/two.jpg", "x.txt", "a.tar"]})
    found = list_images(files_from=inside / "list.csv", include="t*.jpg", exclude="a.tar")
    assert [each.path for each in found] == ["cats/two.jpg"]
    found = list_images(files_from=inside / "list.csv", skip=inside / "cats", exclude="three.jpg")
    assert [each.path for each in found] == ["a.tar/inner/one.jpg", "a.tar/inner/two.jpg"]
    assert found.companions == {".txt": 1}


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("l.csv", b"a,b\n1,2\n", {}, "has the columns a, b, expected one with.*--path-column"),
        ("l.csv", b"path\nx", {"path_column": "pth"}, "no column 'pth', only path: check the"),
        ("l.csv", b"path\nx", {"keep": "caption"}, "no column 'caption', only path: check"),
        ("l.csv", b"path\nx", {"label_column": "kind"}, "no column 'kind', only path: check"),
        ("l.csv", b"path\nhttps://a.b/c.jpg", {}, "lists URLs.*does not download"),
        ("l.csv", b'path\n"' + b"x" * 200_000, {}, "can't be read as CSV .line 2: field larger"),
        ("l.csv", b"\xff\xfep\0a\0t\0h\0\n\0\x00\xd8", {}, "can't be read as CSV"),
        ("l.csv", b"path\n" + b"x," * 600_000, {}, "CSV .*a line has more than 1,048,576 char"),
        ("l.csv", b"path," * 300_000, {}, "CSV .a line has more than 1,048,576 characters"),
        ("l.csv", b"\n\npath", {}, "empty first line"),
        ("l.parquet", b"PAR1 no more", {}, "can't be read as Parquet"),
        ("gone.csv", None, {}, "No such file or directory; check the path"),
    ],
)
def test_errors_say_what_to_do(
    inside: Path, name: str, content: bytes | None, options: dict[str, Any], says: str
) -> None:
    if content is not None:
        (inside / name).write_bytes(content)
    with pytest.raises(SourceError, match=says) as told:
        list_images(files_from=inside / name, **options)
    assert len(str(told.value).splitlines()) == 1


def test_a_damaged_column_name_is_reported(inside: Path) -> None:
    """The name occurs several times in a file; for some, pyarrow raises UnicodeDecodeError."""
    content = write_table(inside / "l.parquet", {"path": ["x"], "caption": ["y"]}).read_bytes()
    outcomes: set[int | str] = set()
    for found in re.finditer(b"caption", content):
        damaged = content[: found.start()] + b"\xe0\xe0" + content[found.start() + 2 :]
        (inside / "l.parquet").write_bytes(damaged)
        try:
            outcomes.add(len(list_images(files_from=inside / "l.parquet")))
        except SourceError as exc:
            outcomes.add(re.sub(r".*(can't be read as Parquet).*", r"\1", str(exc)))
    assert "can't be read as Parquet" in outcomes
    assert outcomes <= {1, "can't be read as Parquet"}


def test_wrong_columns_urls_and_empty_tables(inside: Path) -> None:
    write_table(inside / "l.parquet", {"path": ["x"], "n": [1], "image": [b"x"]})
    with pytest.raises(SourceError, match=r"'n' of .* is not text"):
        list_images(files_from=inside / "l.parquet", path_column="n")
    with pytest.raises(InputError, match=r"path_column 'x'.*a table in files_from"):
        list_images(inside, path_column="x")
    with pytest.raises(SourceError, match="does not download; give the path of a file"):
        list_images(files_from="https://a.b/list.csv")
    write_table(inside / "l.csv", {"path": []})
    assert list_images(files_from=inside / "l.csv") == []
    (inside / "l.csv").write_bytes(b"")
    assert list_images(files_from=inside / "l.csv") == []


def test_a_table_is_read_in_pieces(inside: Path) -> None:
    rows = 5_000
    note = ["note " * 800] * rows
    pq.write_table(
        pa.table({"path": ["cats/one.jpg"] * rows, "note": note}),
        inside / "l.parquet",
        use_dictionary=False,
        compression="none",
    )
    write_csv(
        inside / "l.csv", [["path", "note"], *zip(["cats/one.jpg"] * rows, note, strict=True)]
    )
    for kind in (".csv", ".parquet"):
        tracemalloc.start()
        assert len(list_images(files_from=inside / f"l{kind}", keep="note")) == 1
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12 << 20 < (inside / f"l{kind}").stat().st_size, kind


def test_a_table_may_name_objects_and_members_in_a_bucket(url: str, inside: Path) -> None:
    storage = open_storage(url)

    def put(name: str, content: bytes) -> None:
        storage.write(name, [content])
        storage.sync("/".join([*name.split("/"), "", ""][:2]))

    put("cats/one.jpg", CONTENTS["one.jpg"])
    put("a.tar", (inside / "a.tar").read_bytes())
    names = ["cats/one.jpg", "a.tar/inner/two.jpg", f"{url}/cats/one.jpg", "gone.jpg"]
    table = write_table(inside / "list.csv", {"url": names, "n": [1, 2, 3, 4]})
    put("list.csv", table.read_bytes())
    found = list_images(files_from=f"{url}/list.csv", keep="n")
    assert [described(each)[::2] for each in found[:2]] == [
        ("cats/one.jpg", '{"n":1}'),
        ("a.tar/inner/two.jpg", '{"n":2}'),
    ]
    assert [(each.path, type(each)) for each in found[2:]] == [("gone.jpg", ReadFailure)]
    assert {each.root for each in found} == {url}
    contents = [read_file(each, 100) for each in found if isinstance(each, Source)]
    assert contents == [CONTENTS["one.jpg"], CONTENTS["two.jpg"]]


def test_extract_and_extractor_accept_a_search(small_vgg16: Path, inside: Path) -> None:
    from PIL import Image

    for number, name in enumerate(("x.png", "y.png")):
        Image.fromarray(data.astronaut()[number : number + 40, :40]).save(inside / name)
    write_table(inside / "list.csv", {"file": ["x.png", "y.png"], "note": ["a", "b"]})
    extractor = sparsefeat.Extractor(small_vgg16, size=(32, 32))
    search = Search(files_from=inside / "list.csv", keep="note")
    (batch,) = extractor.extract(search)
    assert [json.loads(row.extra) for row in batch.rows] == [{"note": "a"}, {"note": "b"}]
    search = Search(files_from=inside / "list.csv", keep="note")
    assert sparsefeat.extract(search, "store", model=extractor).rows == 2
    assert list(sparsefeat.open("store").obs.note) == ["a", "b"]
