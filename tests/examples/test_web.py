"""The page for browsers works in Chromium, with ONNX Runtime Web from npm."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import sparsefeat

from .conftest import EXAMPLES, RunScript

LAYER = "block2_pool"


@pytest.fixture(scope="module")
def site(
    furnished: Path, run_script: RunScript, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The page with its packages and a model, from a server on loopback."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm on this system")
    folder = tmp_path_factory.mktemp("site") / "web"
    copied = shutil.ignore_patterns("node_modules", "*.onnx", "*.data")
    shutil.copytree(EXAMPLES / "web", folder, ignore=copied)
    installed = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"npm can't install onnxruntime-web: {installed.stderr[-300:]}")
    assert installed.returncode == 0, installed.stderr
    run_script("cut_model.py", "demo/vgg16.onnx", LAYER, "-o", folder / "model.onnx")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_browser_computes_the_same_features(
    site: str, chromium: Any, furnished: Path, tmp_path: Path
) -> None:
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.goto(f"{site}/index.html")
    page.get_by_text(f"model.onnx: {LAYER}").wait_for()

    extractor = sparsefeat.Extractor(furnished / "demo/vgg16.onnx", LAYER, convolution="direct")
    for name in ("chelsea.png", "coffee.png"):
        path = furnished / "demo/photos" / name
        page.locator("input").set_input_files(path)
        page.get_by_text(f"{name}: ").wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="float32").click()
        download.value.save_as(tmp_path / name)
        got = np.fromfile(tmp_path / name, "<f4")

        (batch,) = extractor.extract([path])
        expected = batch.layers[LAYER].to_scipy().toarray()[0]
        assert got.shape == (56 * 56 * 128,)
        assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)
        assert np.mean((got == 0) == (expected == 0)) > 0.9999
        cells = page.locator("tbody td").all_inner_texts()
        assert cells[:3] == [LAYER, "1 x 56 x 56 x 128", f"{100 * np.mean(got == 0):.1f} %"]

    page.locator("input").set_input_files(EXAMPLES / "web/package.json")
    page.get_by_text("This image can't be used").wait_for()
    page.close()
    assert errors == []


def test_the_lock_file_names_no_registry() -> None:
    for path in (EXAMPLES / "web").glob("package*.json"):
        assert "://" not in path.read_text()
