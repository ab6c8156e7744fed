"""Every command that takes a store takes the URL of one in a bucket."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.store import Store

from ..buckets import Proxy, new_url
from ..command import assert_one_line
from ..store.data import make_batch, write_store
from .test_cli import ok, photos, run

__all__ = ["photos"]  # a fixture


def test_commands_work_on_a_store_in_a_bucket(url: str, small_vgg16: Path, photos: Path) -> None:
    folder, other, merged = photos.parent, new_url(), new_url()
    extract = f"extract photos -m {small_vgg16} -l pools --size 64x64"
    ok(f"{extract} -o {url}", folder)
    ok(f"{extract} -o local", folder)
    store, local = Store(url), Store(folder / "local")
    for name in local.layers:
        np.testing.assert_array_equal(store[name].to_numpy(), local[name].to_numpy())
    assert "2 already in the store" in ok(f"{extract} -o {url}", folder)
    (photos / "rocket.jpg").rename(photos / "moved.jpg")
    assert "1 row" in ok(f"{extract} -o {url}", folder)
    assert ok(f"info {url}", folder).startswith(f"{url}: 3 rows, 0 rejected, 2 parts")
    assert json.loads(ok(f"info {url} --json", folder))["rows"] == 3
    assert f"{url}: undamaged; 3 rows, 2 parts" in ok(f"verify {url}", folder)
    ok(f"{extract} -o {other}", folder)
    ok(f"merge {url} {other} local -o {merged}", folder)
    assert len(Store(merged)) == 3
    ok(f"remove {url} --where 'path == \"coffee.jpg\"'", folder)
    ok(f"compact {url} --all", folder)
    assert len(ok(f"history {url}", folder).splitlines()) >= 5
    ok(f"vacuum {url} --older-than 0s", folder)
    assert f"{url}: undamaged; 2 rows, 1 part" in ok(f"verify {url}", folder)
    assert "block5_pool" in ok(f"sparsity {url}", folder)
    ok(f"convert {url} -o rows.npz -l block5_pool", folder)
    ok(f"report {url} -o page.html", folder)
    assert (folder / "page.html").stat().st_size > 10_000


@pytest.mark.parametrize("words", ["info", "verify", "history", "vacuum", "compact", "report"])
def test_a_missing_store_is_reported(url: str, tmp_path: Path, words: str) -> None:
    done = run(f"{words} {url} {'-o page.html' * (words == 'report')}", tmp_path)
    assert_one_line(done)
    assert f"there is nothing at {url}, expected a store" in done.stderr


@pytest.mark.parametrize("words", ["sparsity URL", "extract URL -o new", "bench URL"])
def test_a_prefix_without_images_is_reported(
    url: str, small_vgg16: Path, tmp_path: Path, words: str
) -> None:
    done = run(f"{words.replace('URL', url)} -m {small_vgg16}", tmp_path)
    assert_one_line(done)
    assert f"got '{url}', expected images, or a store for a command that reads one: " in done.stderr


def test_refusals_of_the_server_are_reported_in_one_line(
    proxy: Proxy, url: str, small_vgg16: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are reported before anything that takes time."""
    extract = f"extract photos -m {small_vgg16} -l pools --size 64x64 -o"
    proxy.fault = lambda method, path: 403 if method == "PUT" else None
    done = run(f"{extract} {url}", photos.parent)
    assert_one_line(done)
    assert "can't be written (" in done.stderr
    assert "403 Forbidden" in done.stderr
    proxy.fault = lambda method, path: "drop"
    done = run(f"{extract} {new_url()}", photos.parent)
    assert_one_line(done)
    assert "no answer" in done.stderr
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = run(f"info {url}", photos.parent)
    assert_one_line(done)
    assert "no credentials were found in the environment" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_a_second_signal_ends_a_command_that_waits_for_the_server(proxy: Proxy, url: str) -> None:
    """Uploads that hang don't delay the end of the process."""
    for number in range(3):
        write_store(url, [make_batch([number])])
    proxy.fault = lambda method, path: "hang" if "zarr" in path and method == "PUT" else None
    proxy.requests.clear()
    command = [sys.executable, "-m", "sparsefeat", "compact", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while not any(method == "PUT" for method, path in proxy.requests if "zarr" in path):
                time.sleep(0.1)
                assert process.poll() is None
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                time.sleep(0.5)
            process.wait(20)
        finally:
            process.kill()
    proxy.fault = lambda method, path: None
    assert len(Store(url)) == 3
