"""Listing of real files, some with unusual names."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import InputError, SourceError
from sparsefeat.images import (
    Reason,
    Source,
    decode_path,
    describe_companions,
    find_image,
    list_images,
)
from sparsefeat.types import Reject

from ..refusals import as_nobody


def make(folder: Path, *names: str | bytes) -> Path:
    for name in names:
        file = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))  # noqa: PTH118
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(name))
    return folder


def paths(found: Sequence[Source | Reject]) -> list[str]:
    assert all(isinstance(item, Source) for item in found), found
    return [item.path for item in found]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_listed_in_the_order_of_bytes(inside: Path) -> None:
    names: list[str | bytes] = [
        "b.jpg",
        "a/z.png",
        "a-b/c",
        "a.tif",
        "A",
        "é",
        "a/b/deep",
        "Z",
        b"\xff.jpg",
        "ａ",
    ]
    make(inside / "photos", *names)
    found = list_images(["photos"])
    expected = sorted(os.fsencode(name) for name in names)
    assert [os.fsencode(decode_path(path)) for path in paths(found)] == expected
    for item in found:
        assert isinstance(item, Source)
        assert item.root == str(inside / "photos")
        status = Path(item.file).stat()
        assert (item.bytes, item.mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert Path(item.file).read_bytes() == os.fsencode(decode_path(item.path))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"caf\xe9.jpg", "caf%E9.jpg"),
        (b"100%.jpg", "100%25.jpg"),
        (b"two\nlines.jpg", "two\nlines.jpg"),
        (b" spaces .jpg", " spaces .jpg"),
        ("e\u0301.jpg".encode(), "e\u0301.jpg"),
        ("\u00e9.jpg".encode(), "\u00e9.jpg"),
        (b"x" * 255, "x" * 255),
        (b"[a]*?.jpg", "[a]*?.jpg"),
        (b"back\\slash.jpg", "back\\slash.jpg"),
    ],
)
def test_unusual_names_are_listed(name: bytes, path: str, inside: Path) -> None:
    make(inside / "photos", name)
    (item,) = list_images(["photos"])
    assert isinstance(item, Source)
    assert item.path == path
    item.path.encode("utf-8")
    named = list_images([os.fsdecode(b"photos/" + name)], root="photos")
    assert named == [item]


def test_the_label_is_the_name_of_the_parent_folder(inside: Path) -> None:
    make(inside / "photos", "x.jpg", "cats/a.jpg", b"50%\xff/a.jpg")
    found = list_images(["photos"])
    assert [item.label for item in found if isinstance(item, Source)] == [
        "50%25%FF",
        "cats",
        "photos",
    ]


def test_hidden_files_and_stores_are_left_out(inside: Path) -> None:
    make(inside / "photos", ".hidden.jpg", ".git/a.jpg", "part.zarr/c/0", "out/b.jpg", "ok.jpg")
    assert paths(list_images(["photos"], skip=inside / "photos" / "out")) == ["ok.jpg"]
    assert paths(list_images(["photos"], skip="nowhere")) == ["ok.jpg", "out/b.jpg"]


def test_a_hidden_file_that_is_named_is_listed(inside: Path) -> None:
    make(inside, ".hidden.jpg")
    assert paths(list_images([".hidden.jpg"])) == [".hidden.jpg"]


def test_a_pattern_gives_the_same_paths_as_its_folder(inside: Path) -> None:
    make(inside / "photos", "a.jpg", "b.png", "c/d.jpg", "c/e/f.jpg", "c/e/g.png", ".h/i.jpg")
    everything = {item.path: item for item in list_images(["photos"])}
    for pattern, expected in {
        "photos/*.jpg": ["a.jpg"],
        "photos/**/*.jpg": ["a.jpg", "c/d.jpg", "c/e/f.jpg"],
        "photos/*/*.jpg": ["c/d.jpg"],
        "photos/c*/**/?.png": ["c/e/g.png"],
        "photos/[ab].*": ["a.jpg", "b.png"],
        "photos/**": list(everything),
        "photos/*": list(everything),
    }.items():
        found = list_images([pattern])
        assert found == [everything[path] for path in expected], pattern
    assert paths(list_images([f"{inside}/p*/b.png"])) == ["photos/b.png"]


def test_an_existing_name_with_wildcards_is_not_a_pattern(inside: Path) -> None:
    make(inside, "*.jpg", "other.jpg")
    assert paths(list_images(["*.jpg"])) == ["*.jpg"]
    assert paths(list_images(["*.jp?"])) == ["*.jpg", "other.jpg"]


def test_the_root_of_a_single_file_is_the_given_one_or_the_current_folder(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(inside, "photos/cats/a.jpg", "elsewhere/b.jpg")
    file = inside / "photos" / "cats" / "a.jpg"
    roots = {}
    for root in (None, "photos", inside / "photos" / "cats", "elsewhere"):
        (item,) = list_images([file], root=root)
        roots[str(root)] = (item.root, item.path)
    assert roots == {
        "None": (str(inside), "photos/cats/a.jpg"),
        "photos": (str(inside / "photos"), "cats/a.jpg"),
        str(inside / "photos" / "cats"): (str(inside / "photos" / "cats"), "a.jpg"),
        "elsewhere": (str(inside), "photos/cats/a.jpg"),
    }
    monkeypatch.chdir("elsewhere")
    (item,) = list_images(["../photos/cats/a.jpg"])
    assert (item.root, item.path) == ("/", str(file)[1:])


def test_a_root_matches_only_whole_folder_names(inside: Path) -> None:
    make(inside, "photos2/a.jpg", "photos/b.jpg")
    (item,) = list_images(["photos2/a.jpg"], root="photos")
    assert item.path == "photos2/a.jpg"


def test_a_file_that_is_named_twice_is_listed_once(inside: Path) -> None:
    make(inside, "p/a.jpg", "p/b.jpg", "p/c/d.jpg")
    found = list_images(["p/b.jpg", "p/c", "p/*.jpg", "p", "./p/../p/b.jpg", inside / "p"])
    assert [(item.path, item.root) for item in found] == [
        ("p/b.jpg", str(inside)),
        ("d.jpg", str(inside / "p" / "c")),
        ("a.jpg", str(inside / "p")),
    ]


def test_two_dots_after_a_link_are_resolved_as_by_the_system(inside: Path) -> None:
    make(inside, "real/inner/x.jpg", "real/right.jpg", "wrong.jpg")
    (inside / "link").symlink_to("real/inner")
    (item,) = list_images(["link/../right.jpg"])
    assert item.path == "real/right.jpg"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_lists_of_paths_are_read(end: str, inside: Path) -> None:
    make(inside, "p/a.jpg", "p/b b.jpg", "p/c.jpg")
    (inside / "list").write_text(
        end.join(["p/c.jpg", "", "p/b b.jpg", "p/gone.jpg", "p", "p/c.jpg", ""]), newline=""
    )
    found = list_images(["p/a.jpg"], files_from="list", root="p")
    assert [(item.path, getattr(item, "reason", "")) for item in found] == [
        ("a.jpg", ""),
        ("c.jpg", ""),
        ("b b.jpg", ""),
        ("gone.jpg", "no such file"),
    ]


def test_a_list_with_nul_may_hold_newlines_and_any_bytes(inside: Path) -> None:
    make(inside, b"two\nlines", b"\xff\xfe")
    (inside / "list").write_bytes(b"two\nlines\0\xff\xfe\0")
    assert paths(list_images([], files_from="list")) == ["two\nlines", "%FF%FE"]


def test_a_list_may_come_from_standard_input(inside: Path) -> None:
    make(inside, b"a.jpg", b"caf\xe9.jpg")
    code = (
        "from sparsefeat.images import list_images\n"
        "print([item.path for item in list_images([], files_from='-')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"caf\xe9.jpg\na.jpg", capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "['caf%E9.jpg', 'a.jpg']"


@pytest.mark.parametrize(
    "inputs",
    [
        ["nowhere"],
        ["empty"],
        ["empty/*.jpg"],
        ["nowhere/*.jpg"],
        ["a.jpg", "b*"],
        ["dangling"],
    ],
)
def test_names_that_match_nothing_are_an_error(inputs: list[str], inside: Path) -> None:
    make(inside, "a.jpg")
    (inside / "empty").mkdir()
    (inside / "dangling").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"^got .*expected .*") as caught:
        list_images(inputs)
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_an_error(inside: Path) -> None:
    with pytest.raises(SourceError, match="got 'nowhere' as a list"):
        list_images([], files_from="nowhere")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe\r\0\n\0"])
def test_an_empty_list_gives_no_images(inside: Path, content: bytes) -> None:
    (inside / "list").write_bytes(content)
    assert list_images([], files_from="list") == []
    assert list_images([]) == []
    (inside / "empty").mkdir()
    with pytest.raises(SourceError, match="'empty', expected images: there are no files"):
        list_images("empty", files_from="list")


def test_a_listed_folder_is_searched_unless_its_files_are_listed_too(inside: Path) -> None:
    make(inside, "p/a.jpg", "p/b.jpg", "p/c/d.jpg", "q/e.jpg", "q/f/g.jpg", "empty/x.mov")
    (inside / "list").write_text("p\np/a.jpg\np/c\nq\nempty\n")
    found = list_images([], files_from="list")
    assert paths(found) == ["p/a.jpg", "d.jpg", "e.jpg", "f/g.jpg"]
    assert found[1].root == str(inside / "p/c")
    # As `find` writes it: folders and the files in them.
    written = subprocess.run(["find", "p", "-print0"], capture_output=True, check=True).stdout
    (inside / "list").write_bytes(written)
    assert sorted(paths(list_images([], files_from="list"))) == [
        "p/a.jpg",
        "p/b.jpg",
        "p/c/d.jpg",
    ]


def test_a_single_path_is_accepted(inside: Path) -> None:
    make(inside, "p/a.jpg", "p/b.png")
    assert paths(list_images("p")) == paths(list_images(Path("p"))) == ["a.jpg", "b.png"]
    assert paths(list_images("p/*.jpg")) == ["a.jpg"]
    assert paths(list_images(name for name in ["p/b.png", "p"])) == ["p/b.png", "a.jpg"]


@pytest.mark.parametrize(
    "inputs", [None, 3, b"p", {"p": 1}, [None], [b"p"], [["p"]], [np.zeros((2, 2))], np.zeros(2)]
)
def test_inputs_that_are_not_paths_are_refused(inputs: Any) -> None:
    with pytest.raises(InputError, match=r"^got a \w+.*expected"):
        list_images(inputs)


def test_patterns_ignore_case(inside: Path) -> None:
    make(inside / "Photos", "a.jpg", "b.JPG", "Trip/c.Jpg", "trip2/d.jpeg")
    assert paths(list_images("Photos/**/*.jpg")) == ["Trip/c.Jpg", "a.jpg", "b.JPG"]
    assert paths(list_images("Photos/**/*.JPG")) == ["Trip/c.Jpg", "a.jpg", "b.JPG"]
    assert paths(list_images("Photos/TRIP*/*")) == ["Trip/c.Jpg", "trip2/d.jpeg"]
    assert paths(list_images("Photos/[AB].jpg")) == ["a.jpg", "b.JPG"]
    with pytest.raises(SourceError, match="nothing has that name"):
        list_images("Photos/A.jpg")  # a name, not a pattern


def test_existing_folders_with_brackets_are_not_patterns(inside: Path) -> None:
    make(inside, "p [2019]/a.jpg", "p [2019]/x [1]/b.JPG", "p 2/no.jpg", "p [x/c.jpg", "q*/d.jpg")
    assert paths(list_images("p [2019]")) == ["a.jpg", "x [1]/b.JPG"]
    for pattern, expected in {
        "p [2019]/*.jpg": ["a.jpg"],
        "p [2019]/**/*.jpg": ["a.jpg", "x [1]/b.JPG"],
        "p [2019]/x [1]/*.jpg": ["b.JPG"],
        "p [2019]/*/*.jpg": ["x [1]/b.JPG"],
        "p [x/*.jpg": ["c.jpg"],
        "q*/*.jpg": ["d.jpg"],
        "*/x [1]/*.jpg": ["p [2019]/x [1]/b.JPG"],
    }.items():
        assert paths(list_images(pattern)) == expected, pattern
    assert list_images("p [2019]/*.jpg")[0].root == str(inside / "p [2019]")
    with pytest.raises(SourceError, match="nothing has that name"):
        list_images("p [2019]/gone.jpg")


def test_companions_are_skipped_and_counted(inside: Path) -> None:
    make(inside / "p", "a.jpg", "a.MOV", "a.xmp", "x/b.mov", "desktop.ini", "x/Thumbs.db", "n.bin")
    found = list_images("p")
    assert paths(found) == ["a.jpg", "n.bin"]
    assert found.companions == {".mov": 2, ".xmp": 1, ".ini": 1, ".db": 1}
    assert list_images(["p", "p/*", "p/x", "p/a.jpg"]).companions == found.companions
    (inside / "list").write_text("p/a.jpg\np/a.MOV\np/._a.jpg\np/.DS_Store\n")
    listed = list_images([], files_from="list")
    assert paths(listed) == ["p/a.jpg"]
    assert listed.companions == {".mov": 1, "._*": 1, ".ds_store": 1}
    # A companion that is named itself is listed.
    named = list_images(["p/a.MOV", "p/a.jpg"])
    assert (paths(named), named.companions) == (["p/a.MOV", "p/a.jpg"], {})
    assert paths(list_images("p", include="*.mov")) == ["a.MOV", "x/b.mov"]
    with pytest.raises(SourceError, match=r"1 file that accompanies images was skipped: 1 \."):
        list_images("p/*.ini")


def test_raw_photographs_are_counted_separately(inside: Path) -> None:
    make(inside / "p", "a.CR2", "a.jpg", "b.nef", "b.xmp", "c.nef", "Icon\r")
    make(inside / "p" / "Previews.lrdata", "d.jpg")
    found = list_images("p")
    assert paths(found) == ["a.jpg"]
    assert describe_companions(found.companions) == (
        "2 files that accompany images were skipped: 1 .xmp, 1 icon\\r; "
        "3 raw files were skipped: 2 .nef, 1 .cr2"
    )
    (inside / "p" / "a.jpg").unlink()
    with pytest.raises(SourceError, match=r"no files in it .*; 3 raw files were skipped: 2 \.nef"):
        list_images("p")


def test_an_include_that_matches_nothing_is_named(inside: Path) -> None:
    make(inside / "p", "a.jpg", "b.jpg", "x/c.png")
    with pytest.raises(
        SourceError, match=r"none of the 3 files in it matches --include '\*\.tif' or 'y';"
    ):
        list_images("p", include=["*.tif", "y"])
    assert paths(list_images("p", include=["*.tif", "x"])) == ["x/c.png"]


def test_include_and_exclude_choose_files(inside: Path) -> None:
    make(inside / "p", "a.jpg", "b.PNG", "raw/c.jpg", "x/raw/d.jpg", "x/e-edit.jpg", "x/f.jpg")
    for options, expected in (
        ({"include": "*.jpg"}, ["a.jpg", "raw/c.jpg", "x/e-edit.jpg", "x/f.jpg", "x/raw/d.jpg"]),
        ({"include": ["*.png", "F.*"]}, ["b.PNG", "x/f.jpg"]),
        ({"include": "x"}, ["x/e-edit.jpg", "x/f.jpg", "x/raw/d.jpg"]),
        ({"exclude": ["RAW", "*-edit.*"]}, ["a.jpg", "b.PNG", "x/f.jpg"]),
        ({"exclude": "x/raw"}, ["a.jpg", "b.PNG", "raw/c.jpg", "x/e-edit.jpg", "x/f.jpg"]),
        ({"include": "x/*.jpg", "exclude": "*-edit.jpg"}, ["x/f.jpg"]),
    ):
        assert paths(list_images("p", **options)) == expected, options
    assert paths(list_images(["p/a.jpg", "p/b.PNG", "p/x"], exclude="*.jpg")) == ["p/b.PNG"]
    (inside / "list").write_text("p/a.jpg\np/b.PNG\n")
    assert paths(list_images([], files_from="list", exclude="*.png")) == ["p/a.jpg"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"include": "*.gif"}, r"matches --include '\*\.gif'"),
        ({"exclude": "p"}, "--include and --exclude left the others out"),
    ]
    for options, says in cases:
        with pytest.raises(SourceError, match=says):
            list_images([], files_from="list", **options)
    for options, says in (
        ({"include": "*.gif"}, r"matches --include '\*\.gif'"),
        ({"exclude": ["x", "raw", "*.*"]}, "--include and --exclude left the others out"),
    ):
        with pytest.raises(SourceError, match=says):
            list_images("p", **options)
    for pattern in ("", "/", ".", 3):
        with pytest.raises(InputError, match="expected a pattern"):
            list_images("p", exclude=[pattern])  # type: ignore[list-item]


def test_relative_prefixes_of_patterns_are_accepted_or_refused(inside: Path) -> None:
    make(inside / "p", "a.jpg", "raw/b.jpg", "x/raw/c.jpg")
    # "./" matches at any depth, as every pattern does.
    for pattern in ("raw", "./raw", "././raw/"):
        found = list_images("p", exclude=pattern)
        assert (paths(found), found.unmatched) == (["a.jpg"], ()), pattern
    for pattern in (str(inside / "p/raw"), "../raw", "x/../raw", ".."):
        with pytest.raises(InputError, match=r"without a leading / and without \.\."):
            list_images("p", exclude=pattern)
        with pytest.raises(InputError, match=r"^got include .* for example, "):
            list_images("p", include=[pattern])


def test_a_pattern_that_matches_nothing_is_reported(inside: Path) -> None:
    make(inside / "p", "a.jpg", "a.png", "raw/b.jpg", "b.mov", "c.jpg")
    patterns = ["p/raw", "raw", "RAW/*.jpg", "a.*", "*.png", "*.mov", "*.gif"]
    found = list_images("p", exclude=patterns, include=["*.jpg", "*.jpeg", "raw/b.jpg", "a.*"])
    # An excluded folder is not entered.
    assert found.unmatched == (
        *(("include", pattern) for pattern in ("*.jpeg", "raw/b.jpg")),
        *(("exclude", pattern) for pattern in ("p/raw", "RAW/*.jpg", "*.gif")),
    )
    assert list_images("p").unmatched == ()
    # Arguments themselves are relative to the current folder.
    assert list_images(["p/a.jpg", "p/raw/b.jpg"], exclude="p/raw").unmatched == ()


def test_a_list_whose_entries_hold_no_images_is_an_error(inside: Path) -> None:
    (inside / "mount").mkdir()
    make(inside, "a.mov")
    for entries, says in (
        ("mount\n", r"got 1 path in 'list', expected images: there are no files in it"),
        ("mount\na.mov\n", r"got 2 paths in 'list', .* skipped: 1 \.mov; name"),
    ):
        (inside / "list").write_text(entries)
        with pytest.raises(SourceError, match=says):
            list_images([], files_from="list")
    (inside / "list").write_text("\n")
    assert list_images([], files_from="list") == []


def test_an_excluded_folder_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path / "p", "closed/a.jpg", "open.jpg")
    (tmp_path / "p/closed").chmod(0)
    with as_nobody(tmp_path):
        found = list_images(tmp_path / "p", exclude="closed")
    (tmp_path / "p/closed").chmod(0o755)
    assert paths(found) == ["open.jpg"]


def test_urls_are_not_downloaded(inside: Path) -> None:
    with pytest.raises(SourceError, match="does not download"):
        list_images("https://example.org/a.jpg?size=2")
    (inside / "list").write_text("file:///p/a.jpg\np/a.jpg\n")
    item, _ = list_images([], files_from="list")
    assert isinstance(item, Reject)
    assert (item.path, item.reason) == ("file:///p/a.jpg", str(Reason.URL))


def test_a_lone_surrogate_is_a_missing_file() -> None:
    item = find_image("\ud800.jpg")
    assert isinstance(item, Reject)
    assert item.reason == "no such file"


def test_a_list_of_missing_files_gives_failures_and_no_error(inside: Path) -> None:
    (inside / "list").write_bytes(b"gone\n")
    (item,) = list_images([], files_from="list")
    assert isinstance(item, Reject)
    assert (item.path, item.root, item.sha256) == ("gone", str(inside), "")


def test_special_files_are_skipped_or_rejected_if_named(inside: Path) -> None:
    make(inside / "p", "a.jpg")
    os.mkfifo(inside / "p" / "fifo.jpg")
    assert paths(list_images(["p"])) == ["a.jpg"]
    (named,) = list_images(["p/fifo.jpg"])
    assert isinstance(named, Reject)
    assert named.reason == "not a regular file"


def test_a_nul_in_a_path_is_a_missing_file() -> None:
    item = find_image("a\0b")
    assert isinstance(item, Reject)
    assert item.reason == "no such file"


def test_a_forbidden_folder_is_reported_and_the_rest_is_listed(tmp_path: Path) -> None:
    make(tmp_path / "p", "closed/a.jpg", "open.jpg")
    (tmp_path / "p" / "closed").chmod(0)
    with as_nobody(tmp_path):
        found = list_images([tmp_path / "p"])
    assert [(item.path, getattr(item, "reason", "")) for item in found] == [
        ("closed", "permission denied"),
        ("open.jpg", ""),
    ]
    with as_nobody(), pytest.raises(SourceError, match="can be read"):
        list_images([tmp_path / "p" / "closed"])
    (tmp_path / "p" / "closed").chmod(0o755)
