"""A small model, images and a store."""

from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.images import list_images

SIZE = (64, 64)


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images in two folders, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("sparsity") / "photos"
    for label, names in (("animals", ("chelsea", "astronaut")), ("things", ("coffee", "rocket"))):
        (folder / label).mkdir(parents=True)
        for name in names:
            Image.fromarray(getattr(data, name)()).save(folder / label / f"{name}.png")
    (folder / "things" / "notes.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="package")
def extractor(small_vgg16: Path) -> sparsefeat.Extractor:
    layers = "block1_pool,block4_pool,block5_conv3/pre,block5_conv3"
    return sparsefeat.Extractor(small_vgg16, layers, size=SIZE, batch_size=3)


@pytest.fixture(scope="package")
def store(extractor: sparsefeat.Extractor, photos: Path) -> sparsefeat.Store:
    folder = photos.parent / "features"
    sparsefeat.extract(list_images([photos]), folder, model=extractor, rows_per_part=2)
    return sparsefeat.open(folder)
