import io
import itertools
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from sparsefeat.errors import InputError, LayerError, ProviderError, SourceError
from sparsefeat.images import (
    PRESETS,
    Decoded,
    QuirkWarning,
    decode,
    find_image,
    list_images,
    normalize,
    preset,
)
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.types import Batch, RejectWarning
from sparsefeat_kernels import Csr, to_dense

Float32 = NDArray[np.float32]


def images(n: int, height: int = 64, width: int = 96) -> Float32:
    return np.random.default_rng(7).uniform(-120, 150, (n, height, width, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images and two files that are not images, in a known order."""
    for index, photograph in enumerate(
        [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    ):
        Image.fromarray(photograph).save(tmp_path / f"{index}.png")
    (tmp_path / "1-not.jpg").write_text("no image")
    (tmp_path / "9-cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:1000])
    return tmp_path


def together(batches: list[Batch[Csr]], layer: str) -> Float32:
    return np.concatenate([to_dense(batch.layers[layer]) for batch in batches])


def test_any_number_of_images(small_vgg16: Path) -> None:
    extractor = Extractor(small_vgg16, "block1_pool,block5_pool", batch_size=4)
    all_of_them = extractor.run(images(9))
    for n in (0, 1, 3, 4, 5, 8, 9):
        outputs = extractor.run(images(9)[:n])
        for name, values in outputs.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, all_of_them[name][:n])
    assert outputs["block5_pool"].shape == (9, 2, 3, 32)


def test_an_extractor_of_other_layers_is_made_once(small_vgg16: Path) -> None:
    extractor = Extractor(small_vgg16, "block2_pool", pool="avg", size=(64, 96), batch_size=3)
    assert extractor.with_layers("block2_pool", pool="avg") is extractor
    other = extractor.with_layers("block1_pool,block2_pool")
    assert other is extractor.with_layers(["block2_pool", "block1_pool"])
    assert {name: layer.shape for name, layer in other.layers.items()} == {
        "block1_pool": (32, 48, 4),
        "block2_pool": (16, 24, 8),
    }
    assert other.provenance["batch_size"] == 3


def test_the_last_two_extractors_of_other_layers_are_kept(small_vgg16: Path) -> None:
    extractor = Extractor(small_vgg16, "block2_pool", size=(32, 32))
    first, second = (extractor.with_layers(name) for name in ("block1_conv1", "block1_conv2"))
    assert extractor.with_layers("block1_conv1") is first
    extractor.with_layers("block1_pool")
    assert extractor.with_layers("block1_conv1") is first
    assert extractor.with_layers("block1_conv2") is not second


def test_read_decodes_as_extract_does(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, size=(64, 96))
    decoded = extractor.read(folder / "0.png")
    (batch,) = extractor.extract([folder / "0.png"])
    assert decoded.row == batch.rows[0]
    outputs = extractor.run(normalize(decoded.pixels)[None])["block5_pool"]
    np.testing.assert_array_equal(to_dense(batch.layers["block5_pool"]), outputs.reshape(1, -1))
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(folder / "deep.png")
    with pytest.warns(QuirkWarning, match="16-bit"):
        extractor.read(folder / "deep.png")


def test_results_do_not_depend_on_batch_size_or_threads(vgg16: Path) -> None:
    images = normalize(np.stack([data.astronaut()[i : i + 224, i : i + 224] for i in range(5)]))
    one = Extractor(vgg16, "pools", batch_size=1, threads=1).run(images)
    for options in ({"batch_size": 5, "threads": 2}, {"batch_size": 3, "threads": 2}):
        other = Extractor(vgg16, "pools", **options).run(images)  # type: ignore[arg-type]
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (224, 224), (240, 100)])
def test_a_model_without_the_top_accepts_any_size(small_vgg16: Path, size: tuple[int, int]) -> None:
    outputs = Extractor(small_vgg16, "pools").run(images(1, *size))
    for index, values in enumerate(outputs.values(), 1):
        assert values.shape[1:3] == (size[0] >> index, size[1] >> index)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((1, 64, 64, 3), np.uint8), "uint8"),
        (np.zeros((1, 64, 64, 3)), "float64"),
        ([[0.0]], "list"),
        (np.zeros((64, 64, 3), np.float32), r"\(64, 64, 3\)"),
        (np.zeros((1, 3, 64, 64), np.float32), r"expected \(N, H, W, 3\)"),
        (np.zeros((1, 31, 64, 3), np.float32), "at least 32x32"),
    ],
)
def test_wrong_arrays_are_refused(small_vgg16: Path, array: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Extractor(small_vgg16).run(array)


def test_arrays_of_another_size_than_the_fixed_one_are_refused(
    small_vgg16: Path, small_vgg16_top: Path
) -> None:
    for extractor in (
        Extractor(small_vgg16, size=(128, 160)),
        Extractor(small_vgg16, size=(128, 160), pool="avg"),
        Extractor(small_vgg16_top, "fc2"),
    ):
        with pytest.raises(InputError, match="expected"):
            extractor.run(images(1, 64, 64))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"layers": "block6_pool"}, LayerError),
        ({"layers": "fc1"}, LayerError),
        ({"provider": "tpu"}, ProviderError),
        ({"pool": "mean"}, InputError),
        ({"preprocess": "kears"}, InputError),
        ({"threads": 0}, InputError),
        ({"batch_size": 0}, InputError),
        ({"batch_size": 2.0}, InputError),
        ({"threads": "2"}, InputError),
        ({"layers": None}, LayerError),
        ({"layers": [1]}, LayerError),
        ({"decode_threads": -1}, InputError),
    ],
)
def test_wrong_options_are_refused(
    small_vgg16: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        Extractor(small_vgg16, **options)
    assert "\n" not in str(caught.value)


def test_extract_and_run_give_the_same(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, "block3_pool,block5_conv3/pre", batch_size=3)
    batches = list(extractor.extract(list_images([folder]), errors="ignore"))
    assert [len(batch.rows) for batch in batches] == [3, 1]
    rows = [row for batch in batches for row in batch.rows]
    assert [row.path for row in rows] == ["0.png", "1.png", "2.png", "3.png"]
    assert [reject.path for batch in batches for reject in batch.rejects] == [
        "1-not.jpg",
        "9-cut.png",
    ]
    pixels = []
    for row in rows:
        decoded = decode(folder / row.path, preset("keras"), (224, 224))
        assert isinstance(decoded, Decoded)
        pixels.append(decoded.pixels)
    expected = extractor.run(normalize(np.stack(pixels)))
    for name, layer in extractor.layers.items():
        np.testing.assert_array_equal(
            together(batches, name).reshape(-1, *layer.shape), expected[name]
        )


def test_reused_memory_is_valid_until_the_next_batch(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, "pools", batch_size=1)
    paths = sorted(folder.glob("?.png"))
    fresh = list(extractor.extract(paths))
    reused: list[Csr] = []
    for one, other in zip(extractor.extract(paths, reuse=True), fresh, strict=True):
        time.sleep(0.05)  # the next batch is being computed meanwhile
        for name, csr in one.layers.items():
            np.testing.assert_array_equal(to_dense(csr), to_dense(other.layers[name]))
        reused.append(one.layers["block1_pool"])
    assert np.shares_memory(reused[0].data, reused[-1].data)
    assert not np.shares_memory(
        fresh[0].layers["block1_pool"].data, fresh[-1].layers["block1_pool"].data
    )


def test_images_may_be_paths_bytes_arrays_or_pil_images(small_vgg16: Path, folder: Path) -> None:
    path = folder / "2.png"
    encoded = io.BytesIO()
    Image.open(path).save(encoded, "BMP")
    images: list[Any] = [
        path,
        str(path),
        path.read_bytes(),
        encoded.getvalue(),
        Image.open(path),
        np.asarray(Image.open(path)),
        list_images([path])[0],
    ]
    (batch,) = Extractor(small_vgg16).extract(images)
    dense = to_dense(batch.layers["block5_pool"])
    assert not batch.rejects
    assert (dense == dense[0]).all()
    with pytest.raises(InputError, match="expected a path"):
        list(Extractor(small_vgg16).extract([3.5]))  # type: ignore[list-item]


def test_only_rejects_make_a_batch_without_rows(small_vgg16: Path, folder: Path) -> None:
    broken = [folder / "9-cut.png", folder / "no.png"]
    (batch,) = Extractor(small_vgg16).extract(broken, errors="ignore")
    assert batch.rows == ()
    assert len(batch.rejects) == 2
    assert batch.layers["block5_pool"].n_rows == 0
    assert list(Extractor(small_vgg16).extract([])) == []


def test_many_rejects_make_a_batch_before_the_next_image(small_vgg16: Path, folder: Path) -> None:
    broken: Iterator[bytes | Path] = itertools.repeat(b"no image")
    images = itertools.chain([folder / "0.png"], broken)
    batches = Extractor(small_vgg16).extract(images, errors="ignore")
    first = next(batches)
    batches.close()
    assert (len(first.rows), len(first.rejects)) == (0, 1024)


def test_an_endless_source_is_read_as_needed(small_vgg16: Path, folder: Path) -> None:
    taken = itertools.count()
    source = (folder / "0.png" for _ in taken)
    batches = Extractor(small_vgg16, batch_size=2, decode_threads=2).extract(source)
    for _ in range(3):
        assert len(next(batches).rows) == 2
    batches.close()
    assert next(taken) < 20


@pytest.mark.parametrize("where", ["source", "image"])
def test_rows_before_an_error_of_the_source_are_yielded(
    small_vgg16: Path, folder: Path, where: str
) -> None:
    def source() -> Iterator[Any]:
        for index in range(7):
            yield folder / f"{index % 4}.png"
        if where == "source":
            raise RuntimeError("the source broke")
        yield 3.5

    batches: list[Batch[Csr]] = []
    error: type[Exception] = RuntimeError if where == "source" else InputError
    with pytest.raises(error):
        batches.extend(Extractor(small_vgg16, batch_size=4).extract(source()))
    assert sum(len(batch.rows) for batch in batches) == 7


def test_rows_before_an_error_of_the_network_are_yielded(
    small_vgg16: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = Extractor(small_vgg16, batch_size=1, convolution="direct")
    run, calls = onnxruntime.InferenceSession.run_with_iobinding, itertools.count()

    def failing(*arguments: Any) -> None:
        if next(calls) == 2:
            raise RuntimeError("Failed to allocate memory")
        run(*arguments)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", failing)
    batches: list[Batch[Csr]] = []
    with pytest.raises(ProviderError, match="Failed to allocate memory"):
        batches.extend(extractor.extract(sorted(folder.glob("?.png"))))
    assert [Path(batch.rows[0].path).name for batch in batches] == ["0.png", "1.png"]


def test_closing_early_ends_all_threads(small_vgg16: Path, folder: Path) -> None:
    batches = Extractor(small_vgg16, batch_size=1).extract(itertools.repeat(folder / "0.png"))
    next(batches)
    batches.close()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("sparsefeat-stage")]


def test_one_image_object_and_one_buffer_may_be_used_many_times(
    small_vgg16: Path, folder: Path
) -> None:
    extractor = Extractor(small_vgg16, batch_size=8, decode_threads=4)
    shared = Image.open(folder / "0.png")
    (batch,) = extractor.extract([shared] * 8)
    dense = to_dense(batch.layers["block5_pool"])
    assert not batch.rejects
    assert (dense == dense[0]).all()

    buffer = np.empty((64, 64, 3), np.uint8)
    frames = [np.random.default_rng(n).integers(0, 256, buffer.shape, np.uint8) for n in range(8)]

    def video() -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            buffer[...] = frame
            yield buffer

    (reused,), (fresh,) = extractor.extract(video()), extractor.extract(frames)
    assert [row.sha256 for row in reused.rows] == [row.sha256 for row in fresh.rows]


def test_an_extractor_serves_several_threads(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, "pools", batch_size=2)
    paths = sorted(folder.glob("?.png"))

    def work(_: int) -> Float32:
        return together(list(extractor.extract(paths)), "block5_pool")

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(8)))
    assert all((result == results[0]).all() for result in results)


IMAGE = np.zeros((40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        IMAGE,
        IMAGE[..., 0],
        np.array(1),
        IMAGE.data,
        b"bytes",
        bytearray(b"bytes"),
        io.BytesIO(b"bytes"),
        Image.new("L", (9, 9)),
        {"a": IMAGE},
        pd.DataFrame({"path": ["a.jpg"]}),
        None,
        3,
    ],
    ids=lambda images: type(images).__name__,
)
def test_a_single_image_is_refused(small_vgg16: Path, images: Any) -> None:
    extractor = Extractor(small_vgg16)
    with pytest.raises(InputError, match=r"expected several images.*put it in a list") as caught:
        extractor.extract(images)  # at once, not when the batches are consumed
    assert "\n" not in str(caught.value)


def test_images_may_come_in_any_container(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, batch_size=4)
    names = [str(folder / "0.png"), str(folder / "3.png")]
    (expected,) = extractor.extract(names)
    for images in (
        tuple(names),
        (name for name in names),
        pd.Series(names),
        pd.Index(names),
        np.array(names),
        dict.fromkeys(names).keys(),
    ):
        (batch,) = extractor.extract(images)
        assert batch.rows == expected.rows
    arrays = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    (stack,), (several,) = extractor.extract(arrays), extractor.extract([*arrays])
    assert [row.sha256 for row in stack.rows] == [row.sha256 for row in several.rows]
    with pytest.raises(InputError, match="as an image"):
        list(extractor.extract([arrays]))


def test_folders_and_patterns_are_listed_as_by_the_command(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, batch_size=8)
    (folder / "sub [1]").mkdir()
    (folder / "0.png").rename(folder / "sub [1]/0.PNG")
    images: list[str | Path] = [
        str(folder / "sub [1]"),
        folder / "1.png",
        str(folder / "[23].p*"),
        f"{folder}/sub [1]/*.png",
    ]
    (batch,) = extractor.extract(images)
    names = [Path(row.path).name for row in batch.rows]
    assert names == ["0.PNG", "1.png", "2.png", "3.png", "0.PNG"]
    for one in (str(folder), folder):
        (batch,) = extractor.extract(one, errors="ignore")
        listed = [row.path for row in batch.rows] + [reject.path for reject in batch.rejects]
        assert sorted(listed) == [
            *("1-not.jpg", "1.png", "2.png", "3.png", "9-cut.png", "sub [1]/0.PNG"),
        ]
    (batch,) = extractor.extract(f"{folder}/?.PNG")
    assert [row.path for row in batch.rows] == ["1.png", "2.png", "3.png"]
    (folder / "empty").mkdir()
    for nothing in ("empty", "typo", "*.gif"):
        with pytest.raises(SourceError, match="expected"):
            list(extractor.extract(folder / nothing))
    with pytest.raises(SourceError, match="there are no files"):
        list(extractor.extract([folder / "1.png", folder / "empty"]))


def test_images_without_a_row_give_a_warning(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, batch_size=1)
    with pytest.warns(RejectWarning) as told:
        batches = list(extractor.extract([folder / "0.png", folder / "typo[1].png"]))
    assert sum(len(batch.rows) for batch in batches) == 1
    (warning,) = told
    said = str(warning.message)
    assert said.startswith("1 image could not be read and has no row: ")
    assert said.endswith("typo[1].png: no such file")
    assert warning.filename == __file__
    # One warning at the first of them, and one with their number at the end.
    several: list[bytes | Path] = [
        b"no",
        folder / "0.png",
        b"",
        folder / "1.png",
        folder / "no.png",
        folder / "2.png",
    ]
    with pytest.warns(RejectWarning) as told:
        list(extractor.extract(several))
    assert [str(each.message).partition(" could")[0] for each in told] == [
        "1 image",
        "3 images",
    ]


def test_images_without_a_row_can_be_errors(small_vgg16: Path, folder: Path) -> None:
    extractor = Extractor(small_vgg16, batch_size=4)
    for broken, error, says in (
        (folder / "typo.png", SourceError, "typo.png: no such file"),
        (folder / "9-cut.png", InputError, "9-cut.png: the image is truncated"),
        (find_image(folder / "gone.png"), SourceError, "gone.png: no such file"),
    ):
        batches: list[Batch[Csr]] = []
        images: list[Any] = [folder / "0.png", folder / "1.png", broken, folder / "2.png"]
        with pytest.raises(error, match=re.escape(says)):
            batches.extend(extractor.extract(images, errors="raise"))
        assert sum(len(batch.rows) for batch in batches) == 2
    with pytest.raises(InputError, match="unknown errors 'fail'"):
        extractor.extract([], errors="fail")  # type: ignore[arg-type]


def test_a_preset_may_be_given_by_name(small_vgg16: Path) -> None:
    by_name = Extractor(small_vgg16, preprocess="bilinear")
    assert Extractor(small_vgg16, preprocess=PRESETS["bilinear"]).settings == by_name.settings
    wrong: list[Any] = [None, 3, ["keras"], b"keras", "bilinaer"]
    for name in wrong:
        with pytest.raises(InputError, match="expected one of: keras, bilinear, bicubic, crop"):
            Extractor(small_vgg16, preprocess=name)
    with pytest.raises(InputError, match="expected one of: keras"):
        decode(IMAGE, "foo", (32, 32))


def test_a_size_is_two_whole_numbers(small_vgg16: Path, small_vgg16_top: Path) -> None:
    wrong: list[Any] = [224, "64x64", (64,), (64, 64, 3), (64.0, 64.0), (0, 64), (8192, 8192)]
    for size in wrong:
        with pytest.raises(InputError):
            Extractor(small_vgg16, size=size)
    as_list: Any = [224, 224]
    assert Extractor(small_vgg16_top, size=as_list).layers["block5_pool"].shape == (7, 7, 32)


def test_too_little_memory_is_reported_in_one_line(small_vgg16: Path) -> None:
    code = (
        "import resource, sparsefeat, numpy as np\n"
        f"extractor = sparsefeat.Extractor({str(small_vgg16)!r}, 'all', batch_size=64)\n"
        "images = np.zeros((64, 640, 640, 3), np.float32)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
        "try: extractor.run(images)\n"
        "except sparsefeat.ProviderError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "use a smaller batch" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_quirk_is_warned_of_once(small_vgg16: Path, tmp_path: Path) -> None:
    for index in range(3):
        image = Image.fromarray(data.coffee())
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / f"{index}.jpg", exif=exif)
    with pytest.warns(QuirkWarning, match="--preprocess bilinear") as told:
        list(Extractor(small_vgg16, batch_size=1).extract(sorted(tmp_path.iterdir())))
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(Extractor(small_vgg16, preprocess="bilinear").extract(sorted(tmp_path.iterdir())))


def test_settings_differ_if_results_would(small_vgg16: Path, small_vgg16_top: Path) -> None:
    usual = Extractor(small_vgg16).settings
    assert usual == Extractor(small_vgg16, threads=1, batch_size=2).settings
    changes: list[dict[str, Any]] = [{"pool": "avg"}, {"preprocess": "crop"}, {"size": (96, 96)}]
    for options in changes:
        assert Extractor(small_vgg16, **options).settings != usual
    assert Extractor(small_vgg16_top).settings != usual


def test_the_share_of_zeros_equals_numpy_s(vgg16: Path, folder: Path) -> None:
    extractor = Extractor(vgg16, "pools")
    (batch,) = extractor.extract(sorted(folder.glob("?.png")))
    for name, csr in batch.layers.items():
        dense = to_dense(csr)
        assert (dense.size - csr.nnz) / dense.size == np.mean(dense == 0)
        if name == "block5_pool":
            assert 0.8 < np.mean(dense == 0) < 0.95
