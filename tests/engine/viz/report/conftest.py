"""Real images in a store, and the network's dense outputs for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import sparsefeat
from sparsefeat import Extractor, Report, build_report, list_images
from sparsefeat.cli.demo import copy_photographs
from sparsefeat.images import PRESETS, Decoded, decode, normalize

LAYERS = "pools,block5_conv3/pre"


@dataclass(frozen=True, kw_only=True)
class Real:
    """The demo's images and one broken file, in two parts."""

    folder: Path
    photos: Path
    names: list[str]  # in the order of the rows
    dense: dict[str, npt.NDArray[np.float32]]  # (6, H, W, C)
    report: Report


@pytest.fixture(scope="session")
def real(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Real:
    folder = tmp_path_factory.mktemp("report")
    photos = folder / "photos"
    names = sorted(path.name for path in copy_photographs(photos))
    (photos / "zz-broken.jpg").write_text("no image")
    extractor = Extractor(vgg16, layers=LAYERS)
    sparsefeat.extract(list_images([photos]), folder / "features", model=extractor, rows_per_part=4)
    images = [decode(photos / name, PRESETS["keras"], (224, 224)) for name in names]
    pixels = [image.pixels for image in images if isinstance(image, Decoded)]
    return Real(
        folder=folder / "features",
        photos=photos,
        names=names,
        dense=extractor.run(normalize(np.stack(pixels))),
        report=build_report(folder / "features"),
    )
