"""The options of an extractor, and how they are recorded."""

import inspect
import pickle
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat import PRESETS, CudaOptions, Extractor, ExtractorOptions, Preset
from sparsefeat.pipeline.options import KeywordOptions

OPTIONS: list[ExtractorOptions] = [
    ExtractorOptions(),
    ExtractorOptions("pools", pool="avg", size=(96, 128), threads=1, batch_size=3),
    ExtractorOptions(["block5_pool", "block5_conv3/pre"], preprocess=PRESETS["bilinear"]),
    ExtractorOptions(provider="auto", provider_options={"device_id": "1"}),
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_the_repr_is_the_code_that_builds_it(options: ExtractorOptions) -> None:
    names = {each.__name__: each for each in (ExtractorOptions, CudaOptions, Preset)}
    again = eval(repr(options), names)
    assert again == options == pickle.loads(pickle.dumps(options))
    assert hash(again) == hash(options)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"pool": "mean"}, "unknown pool 'mean', expected one of: none, avg, max"),
        ({"size": (0, 64)}, "expected \\(height, width\\)"),
        ({"preprocess": "kears"}, "did you mean keras"),
        ({"provider": "cdua"}, "did you mean cuda"),
        ({"precision": "fp16"}, "expected one of: fp32, bf16, int8"),
        ({"provider": "cuda", "precision": "int8"}, "cuda does not support int8"),
        ({"convolution": "fft"}, "auto, direct, winograd"),
        ({"threads": 0}, "threads is 0"),
        ({"decode_threads": 100_000}, "decode_threads is 100000"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"provider": "cuda", "provider_options": {"device": 1}}, "cuda option 'device'"),
        ({"provider_options": CudaOptions(device_id=1)}, "for provider cpu, which has none"),
        (
            {"provider": "openvino", "provider_options": {"device_id": 1}},
            "for provider openvino, which has none",
        ),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_the_model_is_opened(
    wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(sparsefeat.SparsefeatError, match=says):
        ExtractorOptions(**wrong)
    with pytest.raises(sparsefeat.SparsefeatError, match=says):
        Extractor("there-is-none.onnx", **wrong)


def test_an_extractor_and_extract_have_the_same_parameters() -> None:
    model, *others = inspect.signature(Extractor).parameters.values()
    assert model.name == "model"
    assert others == list(inspect.signature(ExtractorOptions).parameters.values())
    keywords = others[1:]  # all but the layers
    of_extract = list(inspect.signature(sparsefeat.extract).parameters.values())
    assert of_extract[-len(keywords) :] == keywords
    types = get_type_hints(ExtractorOptions)
    assert get_type_hints(KeywordOptions) == {each.name: types[each.name] for each in keywords}


def test_an_extractor_is_made_from_options(small_vgg16: Path) -> None:
    extractor = Extractor(small_vgg16, "block5_pool", size=[64, 96], batch_size=2)  # type: ignore[arg-type]
    options = ExtractorOptions("block5_pool", size=(64, 96), batch_size=2)
    assert extractor.options == options
    assert extractor.with_layers("block4_pool").options.size == (64, 96)
    for other in (
        Extractor.of(small_vgg16, options),
        pickle.loads(pickle.dumps(extractor)),
        eval(repr(extractor), {"Extractor": Extractor, "ExtractorOptions": ExtractorOptions}),
    ):
        assert other.options == options
        assert other.settings == extractor.settings


def test_a_store_records_all_options(small_vgg16: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    runs: list[dict[str, Any]] = [
        {"size": (32, 32), "batch_size": 1, "threads": 1},
        {"layers": "block5_*pool", "size": (32, 32), "preprocess": PRESETS["keras"]},
    ]
    for number, options in enumerate(runs):
        Image.fromarray(data.coffee()[number:]).save(photos / f"{number}.png")
        result = sparsefeat.extract(photos, tmp_path / "f", model=small_vgg16, **options)
        assert (result.rows, result.already_stored) == (1, number)
    found = sparsefeat.open(tmp_path / "f")
    recorded: list[Any] = found.provenance
    first, second = (record["options"] for record in recorded)
    assert first == {
        "layers": "block5_pool",
        "pool": "none",
        "size": [32, 32],
        "preprocess": "keras",
        "provider": "cpu",
        "precision": None,
        "provider_options": None,
        "convolution": "auto",
        "threads": 1,
        "batch_size": 1,
        "decode_threads": None,
    }
    assert second["layers"] == "block5_*pool"
    assert second["preprocess"]["resample"] == "nearest"
    assert np.isfinite(found["block5_pool"].to_numpy()).all()


def test_options_together_with_an_extractor_are_refused(small_vgg16: Path, tmp_path: Path) -> None:
    extractor = Extractor(small_vgg16)
    says = "got layers, threads and an Extractor, which has its own"
    with pytest.raises(sparsefeat.InputError, match=says):
        sparsefeat.extract([], tmp_path / "f", model=extractor, layers="pools", threads=1)
    wrong: dict[str, Any] = {"row_per_part": 5}
    with pytest.raises(TypeError, match=r"extract\(\) got an unexpected .* 'row_per_part'"):
        sparsefeat.extract([], tmp_path / "f", model=extractor, **wrong)
