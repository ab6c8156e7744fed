"""Winograd's convolutions in the network agree with Keras, with equal bits in every run."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.cli.demo import copy_photographs
from sparsefeat.errors import InputError, ModelError, ProviderError
from sparsefeat.images import normalize
from sparsefeat.model import ModelFile
from sparsefeat.runtime.network import Network
from sparsefeat_kernels import choose_variant

Float32 = NDArray[np.float32]

# Every layer and pre-activation of Keras' own VGG16, of images that Keras loads.
KERAS = """
import sys
from pathlib import Path
import keras, numpy as np, onnx
from keras.applications.vgg16 import VGG16, preprocess_input
model_path, photos, output = sys.argv[1:]
vgg16 = VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
weights = {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(model_path).graph.initializer}
outputs, linear = {}, []
for layer in vgg16.layers[1:]:
    outputs[layer.name] = layer.output
    if layer.weights:
        kernel = weights[f"{layer.name}/kernel"].transpose(2, 3, 1, 0)
        layer.set_weights([kernel, weights[f"{layer.name}/bias"]])
        config = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_linear"}
        twin = keras.layers.Conv2D.from_config(config)
        outputs[f"{layer.name}/pre"] = twin(layer.input)
        twin.set_weights(layer.get_weights())
arrays = [
    keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    for path in sorted(Path(photos).iterdir())[:2]
]
found = keras.Model(vgg16.input, outputs).predict(preprocess_input(np.stack(arrays)), verbose=0)
np.savez(output + "/keras.npz", **{name.replace("/", "|"): one for name, one in found.items()})
"""

# A model with more layers than VGG16.
FINE_TUNED = """
import sparsefeat_export

keras.utils.set_random_seed(0)
images = x = keras.Input((96, 104, 3))
conv = dict(padding="same", activation="relu", bias_initializer="random_normal")
for block, (count, channels) in enumerate([(2, 16), (2, 16), (3, 16), (3, 32), (3, 32)], start=1):
    for index in range(1, count + 1):
        width = channels if block > 2 else 4 * block
        x = keras.layers.Conv2D(width, 3, name=f"block{block}_conv{index}", **conv)(x)
    x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
x = keras.layers.Conv2D(48, 3, name="more", **conv)(x)
x = keras.layers.Dropout(0.3, name="drop")(x)
x = keras.layers.Conv2D(32, 1, name="narrow", **conv)(x)
x = keras.layers.Conv2D(32, 3, name="wide", **conv)(x)
x = keras.layers.Conv2D(32, 2, activation="relu", name="valid")(x)
x = keras.layers.MaxPooling2D(2, name="last_pool")(x)
x = keras.layers.Conv2D(16, 3, padding="same", name="linear")(x)
x = keras.layers.ReLU(name="rectify")(x)
x = keras.layers.GlobalAveragePooling2D(name="average")(x)
x = keras.layers.Dense(3, name="labels")(x)
keras.Model(images, x).save(output + "/model.keras")
sparsefeat_export.export(
    output + "/model.onnx", weights=output + "/model.keras", channels_divisor=16
)
"""


@pytest.fixture(scope="module")
def from_keras(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, and what one process with Keras has made."""
    folder = tmp_path_factory.mktemp("keras")
    (folder / "photos").mkdir()
    copy_photographs(folder / "photos")
    subprocess.run(
        [sys.executable, "-c", KERAS + FINE_TUNED, str(vgg16), str(folder / "photos"), str(folder)],
        check=True,
        capture_output=True,
    )
    return folder


def photographs(*shape: int) -> Float32:
    n, height, width = shape
    astronaut, coffee = data.astronaut(), data.coffee()
    crops = [
        image[8 * i : 8 * i + height, 5 * i : 5 * i + width]
        for i, image in zip(range(n), [astronaut, coffee, *[astronaut] * n], strict=False)
    ]
    return normalize(np.stack(crops))


def relative(got: Float32, expected: NDArray[np.floating]) -> float:
    difference = np.linalg.norm(got.astype(np.float64) - expected)
    return float(difference / np.linalg.norm(expected.astype(np.float64)))


@pytest.fixture(scope="module")
def direct(vgg16: Path) -> sparsefeat.Extractor:
    return sparsefeat.Extractor(vgg16, "all,*/pre", convolution="direct")


@pytest.fixture(scope="module")
def winograd(vgg16: Path) -> sparsefeat.Extractor:
    extractor = sparsefeat.Extractor(vgg16, "all,*/pre")
    assert extractor.convolution == "winograd"
    return extractor


def test_every_layer_agrees_with_keras(winograd: sparsefeat.Extractor, from_keras: Path) -> None:
    photos = sorted((from_keras / "photos").iterdir())[:2]
    got = winograd.run(normalize(np.stack([winograd.read(path).pixels for path in photos])))
    with np.load(from_keras / "keras.npz") as found:
        assert len(found) == len(got) == 31
        for name, values in got.items():
            expected = found[name.replace("/", "|")]
            assert values.shape == expected.shape
            assert relative(values, expected) < 5e-6, name
            if not name.endswith("/pre"):
                assert ((values > 0) == (expected > 0)).mean() > 0.99999, name


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 33, 47), (1, 64, 95), (3, 130, 50)])
def test_images_of_any_size(
    direct: sparsefeat.Extractor, winograd: sparsefeat.Extractor, shape: tuple[int, int, int]
) -> None:
    images = photographs(*shape)
    expected = direct.run(images)
    for name, values in winograd.run(images).items():
        assert values.shape == expected[name].shape
        assert relative(values, expected[name]) < 5e-6, name


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_global_pooling_agrees_with_direct_convolution(vgg16: Path, pool: str) -> None:
    images = photographs(2, 96, 64)
    layers = "block1_conv1,block2_conv2/pre,block2_conv2,block2_pool,block5_pool"
    ways = [
        sparsefeat.Extractor(vgg16, layers, pool=pool, convolution=way)  # type: ignore[arg-type]
        for way in ("direct", "winograd")
    ]
    expected, got = (way.run(images) for way in ways)
    for name, values in got.items():
        assert values.shape == expected[name].shape
        assert relative(values, expected[name]) < 5e-6, name


@pytest.mark.filterwarnings("ignore:.* threads were asked for")
def test_results_do_not_depend_on_batch_or_threads(
    vgg16: Path, winograd: sparsefeat.Extractor
) -> None:
    images = photographs(5, 96, 112)
    expected = winograd.run(images)
    for threads, batch_size, layers in [
        (1, 1, "all,*/pre"),
        (2, 3, "all,*/pre"),
        (3, 5, "pools"),
        (5, 2, "block4_conv2,block5_pool"),
        (2, 4, "block3_conv3"),
    ]:
        extractor = sparsefeat.Extractor(vgg16, layers, threads=threads, batch_size=batch_size)
        for name, values in extractor.run(images).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=f"{name}, {threads}")


@pytest.mark.filterwarnings("ignore:.* threads were asked for")
def test_pooled_results_do_not_depend_on_batch_or_threads(vgg16: Path) -> None:
    images = photographs(5, 64, 96)
    layers = "block1_conv2,block3_pool,block5_conv3/pre"
    for pool in ("avg", "max"):
        extractors = (
            sparsefeat.Extractor(vgg16, layers, pool=pool, batch_size=size, threads=threads)
            for size, threads in ((1, 1), (5, 3))
        )
        one, many = (extractor.run(images) for extractor in extractors)
        for name, values in one.items():
            np.testing.assert_array_equal(values, many[name])


def test_a_forked_process_runs_the_network(vgg16: Path) -> None:
    """As the workers of a data loader do."""
    code = (
        "import os, warnings, numpy as np, sparsefeat\n"
        f"extractor = sparsefeat.Extractor({str(vgg16)!r}, 'block2_pool', threads=2)\n"
        "images = np.zeros((2, 64, 64, 3), np.float32)\n"
        "expected = extractor.run(images, check=False)['block2_pool']\n"
        "warnings.simplefilter('ignore')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    got = extractor.run(images, check=False)['block2_pool']\n"
        "    os._exit(0 if np.array_equal(got, expected) else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "0"


def test_one_network_serves_many_threads(winograd: sparsefeat.Extractor, vgg16: Path) -> None:
    extractor = sparsefeat.Extractor(vgg16, "pools")
    batches = [photographs(1 + i % 3, 64, 64 + 8 * i) for i in range(6)]
    expected = [winograd.run(images) for images in batches]
    with ThreadPoolExecutor(4) as executor:
        for got, wanted in zip(executor.map(extractor.run, batches), expected, strict=True):
            for name, values in got.items():
                np.testing.assert_array_equal(values, wanted[name])


def test_models_with_a_top_agree_with_direct_convolution(small_vgg16_top: Path) -> None:
    """Only blocks 3 to 5 have multiples of 16 channels, which Winograd's convolutions need."""
    images = photographs(2, 224, 224)
    for layers in ("all,*/pre", "fc2", "block3_conv1", "block5_conv1,predictions", "flatten"):
        ways = [
            sparsefeat.Extractor(small_vgg16_top, layers, convolution=way)
            for way in ("direct", "auto")
        ]
        expected, got = (way.run(images) for way in ways)
        assert list(got) == list(expected)
        for name, values in got.items():
            assert relative(values, expected[name]) < 5e-6, name
        fits = layers != "block3_conv1"
        assert ways[1].convolution == ("winograd" if fits else "direct")


def test_layers_after_vgg16_agree_with_direct_convolution(from_keras: Path) -> None:
    """Layers that Winograd's convolutions compute alternate with others, down to one position."""
    model, images = from_keras / "model.onnx", photographs(3, 96, 104)
    for layers in ("all,*/pre", "labels", "wide", "last_pool", "drop,narrow/pre", "linear"):
        for pool in ("none", "avg"):
            ways = [
                sparsefeat.Extractor(model, layers, convolution=way, pool=pool)
                for way in ("direct", "winograd")
            ]
            expected, got = (way.run(images, check=False) for way in ways)
            assert list(got) == list(expected)
            for name, values in got.items():
                assert relative(values, expected[name]) < 5e-6, name


def test_the_active_convolution_is_recorded(vgg16: Path, small_vgg16: Path) -> None:
    assert sparsefeat.Extractor(vgg16, "block1_conv1").convolution == "direct"
    extractor = sparsefeat.Extractor(vgg16, convolution="direct")
    assert extractor.convolution == extractor.provenance["convolution"] == "direct"
    ours = sparsefeat.Extractor(vgg16)
    assert ours.convolution == ours.provenance["convolution"] == "winograd"
    assert ours.convolution_variant == ours.provenance["convolution_variant"] == choose_variant()
    assert extractor.convolution_variant is None
    other = extractor.with_layers("block1_pool")
    assert other.convolution == "direct"
    with pytest.raises(InputError, match="auto, direct, winograd"):
        sparsefeat.Extractor(vgg16, convolution="fft")  # type: ignore[arg-type]


def test_kernels_of_another_shape_are_an_error(small_vgg16: Path) -> None:
    """They are left to ONNX Runtime, which reports what is wrong."""
    file = ModelFile.open(small_vgg16)
    (kernel,) = (one for one in file.graph.graph.initializer if one.name == "block5_conv2/kernel")
    outputs = {"block5_pool": np.empty((1, 1, 1, 32), np.float32)}

    def run() -> None:
        network = Network(
            file,
            list(outputs),
            pool="none",
            size=None,
            convolution="auto",
            provider="cpu",
            precision="fp32",
            threads=1,
            options=None,
        )
        network.run(photographs(1, 32, 32), outputs)

    run()
    for dims in ([32, 32, 9], [32 * 32 * 9], [32, 32, 9, 1]):
        del kernel.dims[:]
        kernel.dims.extend(dims)
        with pytest.raises((ModelError, ProviderError)):
            run()


def test_winograd_is_an_error_where_it_is_not_available(small_int8: object, vgg16: Path) -> None:
    path = small_int8.path  # type: ignore[attr-defined]
    with pytest.raises(ProviderError, match="cpu in int8 uses its own"):
        sparsefeat.Extractor(path, convolution="winograd")
    assert sparsefeat.Extractor(path).convolution == "direct"
    code = (
        "import sparsefeat\n"
        f"print(sparsefeat.Extractor({str(vgg16)!r}, 'block2_conv1').convolution)\n"
        f"try: sparsefeat.Extractor({str(vgg16)!r}, 'block2_conv1', convolution='winograd')\n"
        "except sparsefeat.ProviderError as exc: print(exc)\n"
    )
    environment = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    active, message = run.stdout.splitlines()
    assert active == "direct"
    assert "neither AVX-512 nor AVX2 with FMA nor NEON" in message


def test_weights_are_transformed_once(vgg16: Path) -> None:
    """Two extractors of one model share the weights, which take most of their memory."""
    code = (
        "import resource, sparsefeat\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        f"first = sparsefeat.Extractor({str(vgg16)!r}, threads=1)\n"
        "one = peak()\n"
        f"more = [sparsefeat.Extractor({str(vgg16)!r}, threads=1) for _ in range(3)]\n"
        "print(peak() - one)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 200, "megabytes; each would take 235"


def test_a_store_may_hold_rows_of_both_convolutions(small_vgg16: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    copy_photographs(photos)
    for number, way in enumerate(("direct", "winograd"), start=1):
        images = sparsefeat.list_images([photos])[: 3 * number]
        extractor = sparsefeat.Extractor(small_vgg16, convolution=way)  # type: ignore[arg-type]
        sparsefeat.extract(images, tmp_path / "features", model=extractor)
    store = sparsefeat.open(tmp_path / "features")
    assert len(store.obs) == 6
    documents = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "features").rglob("*.json")
    ]
    text = json.dumps(documents)
    assert '"convolution": "direct"' in text
    assert '"convolution": "winograd"' in text


def test_compiling_is_announced(small_vgg16: Path, tmp_path: Path) -> None:
    """Only once: the second process loads what the first has compiled."""
    command = [
        *(sys.executable, "-m", "sparsefeat", "maps", str(tmp_path / "photo.png")),
        *("-m", str(small_vgg16), "--layer", "block3_conv3", "-o", str(tmp_path / "maps.html")),
    ]
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.png")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    runs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert ["compiling the convolutions" in run.stderr for run in runs] == [True, False]
