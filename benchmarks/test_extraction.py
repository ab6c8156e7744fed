"""From images to the store, compared with the bare network, with scripts, and by layers.

Candidates run in turn, on the same JPEG images, with the same number of threads. Without timing,
they run on a few images and a narrow network.
"""

import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.images import list_images
from sparsefeat.model import ModelFile
from sparsefeat.system.threads import available_threads

from .claims import Claim
from .conftest import MakeClaim, Models
from .engines import SIZE, Run, bare_session, check, keras_engine, ort_extractor
from .paired import Paired
from .photographs import Photographs

Float32 = NDArray[np.float32]
Answer = dict[str, Float32]
Ways = dict[str, Callable[[], object]]

BATCH = 8
FEW = 9  # images without timing: one full batch and one that isn't full
SAMPLE = 32  # images on which every candidate is checked before it is timed on all
LAYER = "block5_pool"
ROUNDS = 3


@pytest.fixture(scope="session")
def count(request: pytest.FixtureRequest, timing: bool) -> int:
    return int(request.config.getoption("images")) if timing else FEW


@pytest.fixture(scope="session")
def folder(photographs: Photographs, count: int) -> Path:
    return photographs.take(count)


@pytest.fixture(scope="session")
def sample(photographs: Photographs, count: int) -> Path:
    """Return the first images of `folder`."""
    return photographs.take(min(count, SAMPLE))


@pytest.fixture(scope="session")
def answer(models: Models, images: Callable[[int], Float32], count: int) -> Answer:
    """The expected outputs for `sample`: (n, H, W, C) for each pool."""
    ready = images(min(count, SAMPLE))
    return sparsefeat.Extractor(models.fp32, "pools", batch_size=BATCH).run(ready)


class Extraction:
    """Extracts a folder into a new store."""

    def __init__(self, models: Models, output: Path, way: str, layers: str) -> None:
        self._extractor = ort_extractor(models.of(way), layers, way, batch_size=BATCH)
        self._output = output

    def __call__(self, folder: Path) -> Path:
        store = self._output / "features"
        sparsefeat.extract(list_images([folder]), store, model=self._extractor)
        return store


def bare_loop(run: Run, images: Float32) -> list[Float32]:
    """Run the network on tensors in memory; nothing is decoded, encoded or written."""
    return [run(images[start : start + BATCH])[LAYER] for start in range(0, len(images), BATCH)]


def keras_script(model: Any, output: Path, batch_size: int, folder: Path) -> None:
    """Do as a tutorial: load, preprocess, predict, and save one array for each image."""
    import keras

    paths = sorted(folder.iterdir())
    output.mkdir()
    for start in range(0, len(paths), batch_size):
        chosen = paths[start : start + batch_size]
        batch = np.stack(
            [
                keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
                for path in chosen
            ]
        )
        features = model.predict(keras.applications.vgg16.preprocess_input(batch), verbose=0)
        for path, one in zip(chosen, features[LAYER], strict=True):
            np.save(output / f"{path.stem}.npy", one)


def torch_network(path: Path) -> Any:
    """Make VGG16 up to `LAYER` in PyTorch, with the weights of a model file."""
    import torch

    file = ModelFile.open(path)
    steps: list[Any] = []
    for layer in file.metadata.layers:
        if layer.kind == "conv":
            kernel = torch.tensor(file.tensor(f"{layer.name}/kernel"))
            conv = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            conv.weight.data = kernel
            conv.bias.data = torch.tensor(file.tensor(f"{layer.name}/bias"))
            steps += [conv, torch.nn.ReLU(inplace=True)]
        elif layer.kind == "pool":
            steps.append(torch.nn.MaxPool2d(2))
        if layer.name == LAYER:
            break
    torch.set_num_threads(available_threads())
    return torch.nn.Sequential(*steps).eval().to(memory_format=torch.channels_last)


def torch_script(network: Any, output: Path, batch_size: int, folder: Path) -> None:
    """Do the same with Pillow and PyTorch."""
    import torch

    paths = sorted(folder.iterdir())
    output.mkdir()
    for start in range(0, len(paths), batch_size):
        chosen = paths[start : start + batch_size]
        batch = np.empty((len(chosen), *SIZE, 3), np.float32)
        for index, path in enumerate(chosen):
            with Image.open(path) as opened:
                pixels = opened.convert("RGB").resize(SIZE, Image.Resampling.NEAREST)
            batch[index] = np.asarray(pixels)[..., ::-1]
        batch -= np.array([103.939, 116.779, 123.68], np.float32)  # means of blue, green, red
        with torch.inference_mode():
            features = network(torch.from_numpy(batch).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        for path, one in zip(chosen, features.numpy(), strict=True):
            np.save(output / f"{path.stem}.npy", one)


class Comparison:
    """Candidates that make features of a folder, timed in turn, and the claims about them."""

    def __init__(
        self,
        benchmark: BenchmarkFixture,
        claim: MakeClaim,
        models: Models,
        sample: Path,
        answer: Answer,
        output: Path,
        n_rounds: int,
    ) -> None:
        self._benchmark, self._claim, self._n_rounds = benchmark, claim, n_rounds
        self._models, self._sample, self._answer, self.output = models, sample, answer, output
        self.missing: dict[str, str] = {}

    def extraction(self, way: str, layers: str = LAYER) -> Extraction | None:
        """Make an extraction and check it; return None, with a note, if it isn't available here."""
        try:
            extraction = Extraction(self._models, self.output, way, layers)
        except (sparsefeat.ProviderError, sparsefeat.PrecisionError) as exc:
            self.missing[way] = str(exc)
            return None
        store = sparsefeat.open(extraction(self._sample))
        self.check(way, {name: store[name].to_numpy() for name in store.layers})
        self.clear()
        return extraction

    def bare(self, way: str, images: Float32) -> Callable[[], object]:
        """Make a loop over tensors in a plain session, and check it."""
        loop = partial(bare_loop, bare_session(self._models.of(way), [LAYER], way))
        few = images[: len(self._answer[LAYER])]
        self.check(way, {LAYER: np.concatenate(loop(few))})
        return partial(loop, images)

    def script(self, way: str, model: Any, batch_size: int) -> Callable[[Path], object]:
        """Make a script, and check it."""
        write = {"keras-predict": keras_script, "torch-eager": torch_script}[way]
        script = partial(write, model, self.output / "arrays", batch_size)
        script(self._sample)
        saved = [np.load(path) for path in sorted((self.output / "arrays").iterdir())]
        self.check(way, {LAYER: np.stack(saved)})
        self.clear()
        return script

    def check(self, way: str, got: Answer) -> None:
        check(way, got, {layer: self._answer[layer] for layer in got})

    def clear(self) -> None:
        for path in self.output.iterdir():
            shutil.rmtree(path)

    def run(self, ways: Ways, n_images: int, against: str) -> Paired:
        paired = Paired(ways=ways, between=self.clear)
        self._benchmark.pedantic(paired.round, rounds=self._n_rounds)
        self.clear()
        self._benchmark.extra_info["ways"] = paired.figures(n_images, against=against)
        self._benchmark.extra_info["missing"] = self.missing
        return paired

    def claim(self, paired: Paired, fast: str, slow: str, bar: float, remark: str = "") -> None:
        ratio = paired.ratio(fast, slow)
        self._claim(Claim.of_speeds(f"{fast} / {slow}{remark}", ratio, bar))

    def claim_share(self, paired: Paired, part: str, whole: str, share: float, bar: float) -> None:
        """Claim that `part` takes at most `bar` times its `share` of the seconds of `whole`."""
        ratio = paired.ratio(part, whole)  # a ratio of speeds; its inverse is a ratio of seconds
        of = "" if share == 1 else f" (times {share:.3f}, its share of the arithmetic)"
        self._claim(
            Claim(
                text=f"seconds of {part} / {whole}{of}",
                measured=1 / ratio.median / share,
                spread=(1 / ratio.high / share, 1 / ratio.low / share),
                bar=bar,
                most=True,
                unit="x",
            )
        )


@pytest.fixture
def comparison(
    benchmark: BenchmarkFixture,
    claim: MakeClaim,
    models: Models,
    sample: Path,
    answer: Answer,
    rounds: Callable[[int], int],
    tmp_path: Path,
) -> Comparison:
    return Comparison(benchmark, claim, models, sample, answer, tmp_path, rounds(ROUNDS))


def test_against_the_bare_network(
    comparison: Comparison, images: Callable[[int], Float32], folder: Path, count: int
) -> None:
    extraction = comparison.extraction("onnxruntime-cpu")
    assert extraction is not None
    ways: Ways = {
        "extract fp32": partial(extraction, folder),
        "bare session loop": comparison.bare("onnxruntime-cpu", images(count)),
    }
    paired = comparison.run(ways, count, "bare session loop")
    comparison.claim(paired, "extract fp32", "bare session loop", 0.95)


def test_against_scripts(comparison: Comparison, models: Models, folder: Path, count: int) -> None:
    model = keras_engine(models.fp32, (LAYER,), "keras-predict").model
    extraction = comparison.extraction("sparsefeat")
    assert extraction is not None
    ways: Ways = {
        "extract fp32": partial(extraction, folder),
    }
    scripts = [("Keras", "keras-predict", model, 1), ("Keras", "keras-predict", model, 16)]
    if find_spec("torch"):
        scripts.append(("PyTorch", "torch-eager", torch_network(models.fp32), 16))
    for framework, way, network, batch_size in scripts:
        name = "one by one" if batch_size == 1 else f"batches of {batch_size}"
        script = comparison.script(way, network, batch_size)
        ways[f"{framework} script, {name}"] = partial(script, folder)
    paired = comparison.run(ways, count, "extract fp32")
    comparison.claim(paired, "extract fp32", "Keras script, one by one", 4)
    comparison.claim(paired, "extract fp32", "Keras script, batches of 16", 2)


def test_bf16_and_int8_against_float32(
    comparison: Comparison, images: Callable[[int], Float32], folder: Path, count: int
) -> None:
    """bf16 and int8 compared with float32, and int8 with its own bare network."""
    ways: Ways = {}
    for way in (
        "onnxruntime-cpu",
        "onnxruntime-openvino-bf16",
        "onnxruntime-cpu-int8",
        "onnxruntime-openvino-int8",
    ):
        extraction = comparison.extraction(way)
        if extraction is not None:
            ways[f"extract {way}"] = partial(extraction, folder)
    if "onnxruntime-openvino-int8" not in comparison.missing:
        loop = comparison.bare("onnxruntime-openvino-int8", images(count))
        ways["bare session loop onnxruntime-openvino-int8"] = loop
    ours = "extract onnxruntime-cpu"
    paired = comparison.run(ways, count, ours)
    for fast, slow, bar, remark in (
        ("extract onnxruntime-openvino-bf16", ours, 2.2, " (bar for AMX)"),
        ("extract onnxruntime-openvino-int8", ours, 5, " (bar for AMX)"),
        (
            "extract onnxruntime-openvino-int8",
            "bare session loop onnxruntime-openvino-int8",
            0.75,
            "",
        ),
    ):
        if fast in ways:
            comparison.claim(paired, fast, slow, bar, remark)


def test_cost_of_layers(comparison: Comparison, models: Models, folder: Path, count: int) -> None:
    """All pools cost little more than the last one; an early layer costs its share of the work."""
    early = "block3_pool"
    ways: Ways = {}
    for layers in (LAYER, "pools", early):
        extraction = comparison.extraction("sparsefeat", layers)
        assert extraction is not None
        ways[layers] = partial(extraction, folder)
    paired = comparison.run(ways, count, LAYER)
    comparison.claim_share(paired, "pools", LAYER, 1, 1.15)
    share = operations(models.fp32, early) / operations(models.fp32, LAYER)
    comparison.claim_share(paired, early, LAYER, share, 1.15)


def operations(model: Path, layer: str) -> int:
    """Count the multiplications of the convolutions up to `layer`, for 224 x 224 pixels."""
    total, n_inputs = 0, 3
    for one in ModelFile.open(model).metadata.layers:
        side, channels = 224 // (one.stride or 1), one.shape[-1]
        assert channels is not None
        if one.kind == "conv":
            total += side * side * channels * 9 * n_inputs
        n_inputs = channels
        if one.name == layer:
            return total
    raise ValueError(f"no layer {layer}")


def test_operations_are_counted(small_vgg16: Path) -> None:
    """The expected number was calculated by hand for a sixteenth of VGG16's channels."""
    block1 = 224**2 * 9 * (3 * 4 + 4 * 4)
    block2 = 112**2 * 9 * (4 * 8 + 8 * 8)
    block3 = 56**2 * 9 * (8 * 16 + 2 * 16 * 16)
    assert operations(small_vgg16, "block3_pool") == block1 + block2 + block3
    block4 = 28**2 * 9 * (16 * 32 + 2 * 32 * 32)
    block5 = 14**2 * 9 * (3 * 32 * 32)
    assert operations(small_vgg16, LAYER) == block1 + block2 + block3 + block4 + block5
