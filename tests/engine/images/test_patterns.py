"""Matching of paths with patterns."""

import pytest

from sparsefeat.images.patterns import Choice, folded, matches, may_hold


@pytest.mark.parametrize(
    ("path", "pattern", "meant"),
    [
        ("a.JPG", "*.jpg", True),
        ("x/a.jpg", "*.jpg", False),
        ("x/a.jpg", "**/*.JPG", True),
        ("a.jpg", "**/*.jpg", True),
        ("X/y/z.png", "x", True),  # a matching folder includes everything in it
        ("[a]/b", "[A]/b", True),
        ("a/b", "[a]/b", True),
        ("x/y", "y", False),
        ("a", "a/b", False),
    ],
)
def test_paths_match_patterns_without_case(path: str, pattern: str, meant: bool) -> None:
    assert matches(path.split("/"), folded(pattern)) is meant


def test_folders_that_can_not_hold_matches_are_not_searched() -> None:
    assert may_hold(["X"], folded("x/*.jpg"))
    assert may_hold(["x", "y"], folded("x/**/*.jpg"))
    assert not may_hold(["y"], folded("x/*.jpg"))


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        *((name, False) for name in ("a.mov", "A.MP4", "._a.jpg", ".DS_Store", "a.jpg.xmp")),
        *((name, False) for name in ("Thumbs.db", "desktop.ini", "IMG_1.AAE", "a.jpg.json")),
        *((name, True) for name in ("a.jpg", "mov", "txt", "a.mov.jpg", "a", ".jpg", "icon")),
        *((name, False) for name in ("a.cr2", "A.CR3", "a.nef", "a.arw", "a.DNG", "a.raf")),
        *((name, False) for name in ("a.orf", "a.rw2", "a.psd", "a.thm", "a.insv", "a.gpx")),
        *((name, False) for name in ("a.lrcat", "a.lrdata", "Icon\r")),
    ],
)
def test_companions_are_recognized_by_their_names(name: str, listed: bool) -> None:
    assert Choice().takes([name], name) is listed
    assert Choice().takes([name], name, named=True)
    assert Choice(include="*").takes([name], name)
