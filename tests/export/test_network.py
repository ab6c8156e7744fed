"""Saved Keras models that can't be exported are refused, with the name of the layer."""

import json
from pathlib import Path

import pytest

from .conftest import RunInKeras

SCRIPT = """
import json, sys
from pathlib import Path
from sparsefeat_export.network import describe
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.network import load
from sparsefeat_export.sources import Request

folder, requests = Path(sys.argv[1]), json.loads(sys.argv[2])
errors = {}
for name, (file, top, divisor) in requests.items():
    try:
        network = load(Request(weights=str(folder / file), top=top, channels_divisor=divisor))
    except WeightsError as exc:
        errors[name] = str(exc)
    else:
        errors[name] = {layer["name"]: layer["stride"] for layer in describe(network)}
print(json.dumps(errors))
"""

REQUESTS = {
    "branched": ("branched.keras", None, 16),
    "repeated": ("repeated.keras", None, 16),
    "summed": ("summed.keras", None, 16),
    "lambda": ("with_lambda.keras", None, 16),
    "infinite": ("infinite.keras", None, 16),
    "separate ReLU": ("separate_relu.keras", None, 16),
    "overlapping pools": ("overlapping_pools.keras", None, 16),
    "too narrow": ("finetuned.keras", None, 1),
    "no keras file": ("keras2.keras", None, 16),
    "whole .h5": ("whole.h5", None, 16),
    "two heads": ("two_heads.keras", None, 16),
    "two inputs": ("two_inputs.keras", None, 16),
    "two heads cut": ("two_heads.keras", False, 16),
    "two inputs cut": ("two_inputs.keras", False, 16),
    "dotted": ("dotted.keras", None, 16),
    "odd size": ("odd_size.keras", None, 16),
    "top cut": ("other_top.keras", False, 16),
    "no top": ("headless.keras", True, 16),
}


@pytest.fixture(scope="module")
def outcomes(
    keras_files: Path, run_in_keras: RunInKeras, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """The outcome of each request, from one process."""
    folder = tmp_path_factory.mktemp("requests")
    for file in keras_files.glob("*.*"):
        (folder / file.name).symlink_to(file)
    (folder / "keras2.keras").symlink_to(keras_files / "keras2.h5")
    done = run_in_keras(SCRIPT, folder, json.dumps(REQUESTS))
    assert done.returncode == 0, done.stderr
    decoded: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return decoded


@pytest.mark.parametrize(
    ("request_name", "parts"),
    [
        ("branched", ["'sum'", "chain of layers"]),
        ("repeated", ["layers in sequence"]),
        ("summed", ["Sum", "not a layer"]),
        ("lambda", ["cannot load", "a Lambda layer"]),
        ("infinite", ["block3_conv2/bias", "inf", "(5,)"]),
        (
            "separate ReLU",
            [
                "'block1_conv1' is not VGG16's block1_conv1: its activation is 'linear'",
                "expected relu; a separate ReLU layer is not accepted instead",
            ],
        ),
        (
            "overlapping pools",
            ["'block1_pool' is not VGG16's block1_pool: its pool size is (3, 3), expected (2, 2)"],
        ),
        ("too narrow", ["'block1_conv1'", "(3, 3, 3, 4)", "(3, 3, 3, 64)"]),
        ("no keras file", ["not a .keras file"]),
        ("two heads", ["1 inputs and 2 outputs", "--no-top"]),
        ("two inputs", ["2 inputs and 1 outputs"]),
        ("dotted", ["'average pool.v2'", "no store can hold", "rename it"]),
        ("no top", ["no top", "fc1 is missing"]),
    ],
)
def test_unsupported_models_are_refused_in_one_line(
    outcomes: dict[str, object], request_name: str, parts: list[str]
) -> None:
    message = outcomes[request_name]
    assert isinstance(message, str), message
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_whole_model_in_hdf5_keeps_its_layers(outcomes: dict[str, object]) -> None:
    layers = outcomes["whole .h5"]
    assert isinstance(layers, dict)
    assert len(layers) == 22
    assert list(layers)[-4:] == ["flatten", "fc1", "fc2", "predictions"]


@pytest.mark.parametrize("request_name", ["top cut", "two heads cut", "two inputs cut"])
def test_another_top_can_be_left_out(outcomes: dict[str, object], request_name: str) -> None:
    layers = outcomes[request_name]
    assert isinstance(layers, dict)
    assert len(layers) == 18
    assert list(layers)[-1] == "block5_pool"


def test_strides_do_not_depend_on_an_uneven_image_size(outcomes: dict[str, object]) -> None:
    strides = outcomes["odd size"]
    assert isinstance(strides, dict)
    pools = {f"block{block}_pool": 2**block for block in range(1, 6)}
    convolutions = {name: 2 ** (int(name[5]) - 1) for name in strides if "_conv" in name}
    tail = {"halved": 64, "upsampled": 16, "transposed": 8, "flatten": None}
    assert strides == pools | convolutions | tail
