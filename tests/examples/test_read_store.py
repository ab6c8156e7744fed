"""`read_store.py` reads a store correctly without sparsefeat."""

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sparsefeat

from .conftest import EXAMPLES, RunScript


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("read_store", EXAMPLES / "read_store.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_s_store_is_read(furnished: Path, run_script: RunScript) -> None:
    lines = run_script("read_store.py", "demo/features", "block5_pool").splitlines()
    store = sparsefeat.open(furnished / "demo/features")
    view = store["block5_pool"]
    assert lines[0] == f"block5_pool: float32 (6, 25088), {view.sparsity:.1%} zeros"
    assert lines[1:] == [
        f"  {path}: {nnz} values"
        for path, nnz in zip(store.obs["path"], view.nnz_per_row, strict=True)
    ]


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_replaced_and_removed_rows_and_snapshots_with_a_base_are_handled(
    small_vgg16: Path, script: Any, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()

    def draw(name: str, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(photos / name)

    def extract() -> None:
        sparsefeat.extract(
            photos,
            store,
            model=small_vgg16,
            layers="block1_conv1/pre,block5_pool",
            size=(32, 32),
            rows_per_part=2,
            update=True,
        )

    store = tmp_path / "features"
    for number in range(7):
        draw(f"{number}.png", number)
    extract()
    draw("3.png", 99)  # replaced by a row of a new part
    extract()
    sparsefeat.remove(store, "path == '5.png'")
    opened = sparsefeat.open(store)
    documents = [path.read_text() for path in (store / "snapshots").glob("*.json")]
    assert any('"base"' in text for text in documents)
    assert opened.n_rows == 6

    for layer in ("block5_pool", "block1_conv1/pre"):  # the latter is stored dense
        matrix, images = script.read(store, layer)
        assert images["path"].tolist() == opened.obs["path"].tolist()
        np.testing.assert_array_equal(matrix.toarray(), opened[layer].to_scipy().toarray())
    with pytest.raises(SystemExit, match="has no layer fc2: it has block1_conv1/pre"):
        script.read(store, "fc2")

    newer = next(iter(sorted((store / "snapshots").glob("*.json"), reverse=True)))
    copy = tmp_path / "newer"
    shutil.copytree(store, copy)
    (copy / "snapshots" / newer.name).write_text(
        newer.read_text().replace('"format":1', '"format":2')
    )
    with pytest.raises(SystemExit, match="format 2"):
        script.read(copy, "block5_pool")
