from pathlib import Path

import numpy as np
import pytest

from sparsefeat.errors import InputError

from .made import made


def test_shares() -> None:
    maps = made()
    assert maps.pre is not None
    assert maps.clipped is not None
    for index in range(5):
        assert maps.zeros[index] == np.mean(maps.post[..., index] == 0)
        assert maps.clipped[index] == np.mean(maps.pre[..., index] < 0)
    # Every channel is 0 at one place before ReLU: that is zero, and not clipped.
    np.testing.assert_allclose(maps.zeros - maps.clipped, 1 / 48)
    np.testing.assert_array_equal(maps.zero_mask, maps.post == 0)
    assert maps.zeros[3] == 1.0


def test_frame_and_json() -> None:
    maps = made(best="variance", scores=np.arange(5.0)[::-1])
    assert maps.pre is not None
    frame = maps.frame()
    assert frame["channel"].tolist() == [7, 10, 13, 16, 19]
    assert frame["max"].tolist() == maps.post.max(axis=(0, 1)).tolist()
    assert frame["pre_min"].tolist() == maps.pre.min(axis=(0, 1)).tolist()
    assert frame["variance"].tolist() == [4, 3, 2, 1, 0]
    facts = maps.to_json()
    assert facts["shape"] == [6, 8, 22]
    assert facts["channels"][1]["zeros"] == maps.zeros[1]
    assert "clipped" not in made(stage="post").frame()


def test_the_ending_decides(tmp_path: Path) -> None:
    maps = made(stage="post")
    maps.save(tmp_path / "a.HTML")
    maps.save(tmp_path / "a.png")
    assert (tmp_path / "a.HTML").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for name in ("a.svg", "a"):
        with pytest.raises(InputError, match=r"\.html or \.png"):
            maps.save(tmp_path / name)
    with pytest.raises(InputError, match="can't write"):
        maps.save(tmp_path / "a.png" / "a.png")
