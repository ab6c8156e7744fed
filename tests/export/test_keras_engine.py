import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from sparsefeat_export.model_file import read_metadata, write_model

# A separate process, because threads can be set only before TensorFlow runs anything.
PROGRAM = """
import json, sys
import numpy as np
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.keras_engine import KerasEngine
from sparsefeat_export.comparison import probe_pixels
from sparsefeat_export.scaling import MODES
found = {}
for way in ("predict", "function", "jit"):
    engine = KerasEngine(
        model=sys.argv[1], layers=["block5_pool", "block1_conv1"], mode=way, threads=2
    )
    outputs = engine.run(np.concatenate([MODES["caffe"].apply(probe_pixels(32, 32))] * 2))
    found[way] = {
        "facts": engine.facts,
        "shapes": {name: list(output.shape) for name, output in outputs.items()},
        "types": sorted({f"{type(one).__name__} {one.dtype}" for one in outputs.values()}),
        "corners": {name: output[1, 0, 0].tolist() for name, output in outputs.items()},
    }
try:
    KerasEngine(model=sys.argv[2], layers=["block5_pool"], mode="function", threads=2)
except WeightsError as exc:
    print(json.dumps({"ways": found, "error": str(exc)}))
"""


@pytest.fixture(scope="module")
def printed(small_vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The program's output for a model, and for one with weights that were not exported."""
    model = onnx.load(small_vgg16, load_external_data=False)
    metadata = read_metadata(small_vgg16)
    metadata["weights"]["sha256"] = "0" * 64
    other = tmp_path_factory.mktemp("other") / "vgg16.onnx"
    shutil.copy(small_vgg16.with_name(f"{small_vgg16.name}.data"), other.parent)
    write_model(other, model, metadata)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(small_vgg16), str(other)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_every_mode_gives_the_requested_layers_as_keras_computes_them(
    small_vgg16: Path, printed: Any
) -> None:
    (probe,) = (one for one in read_metadata(small_vgg16)["probe"] if one["height"] == 32)
    for found in printed["ways"].values():
        assert found["facts"]["intra_op_threads"] == 2
        assert found["facts"]["inter_op_threads"] == 1
        assert list(found["shapes"]) == ["block5_pool", "block1_conv1"]  # as they were asked for
        assert found["shapes"] == {"block5_pool": [2, 1, 1, 32], "block1_conv1": [2, 32, 32, 4]}
        assert found["types"] == ["ndarray float32"]
        for name, corner in found["corners"].items():
            expected = probe["expected"][name]
            got = [corner[channel] for channel in expected["channels"]]
            assert got == pytest.approx(expected["corner"], rel=1e-5, abs=1e-6)


def test_weights_that_were_not_exported_are_refused(printed: Any) -> None:
    assert "weights that Keras gets are not those that were exported" in printed["error"]
