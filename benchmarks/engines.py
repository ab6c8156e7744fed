"""The network as `sparsefeat bench` runs it, but in this process, from images to NumPy arrays.

Names, limits and threads are those of `sparsefeat.bench`. Every call includes copies of inputs
and outputs, as for users.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import sparsefeat
from sparsefeat.bench import ENGINES
from sparsefeat.bench.agreement import compare_layer
from sparsefeat.bench.engines import FALLBACK
from sparsefeat.model import ModelFile, choose_layers, cut
from sparsefeat.runtime import configure_session
from sparsefeat.runtime.registry import PROVIDERS
from sparsefeat.system.threads import available_threads
from sparsefeat_export.keras_engine import KerasEngine

Float32 = NDArray[np.float32]
Run = Callable[[Float32], dict[str, Float32]]

SIZE = (224, 224)

KERAS = tuple(name for name, one in ENGINES.items() if one.framework == "tensorflow")
EXTRACTORS = tuple(
    name for name, one in ENGINES.items() if one.framework in ("sparsefeat", "onnxruntime")
)


def check(name: str, got: Mapping[str, Float32], expected: Mapping[str, Float32]) -> None:
    """Fail if an engine's output differs too much from float32 on the CPU provider."""
    assert list(got) == list(expected)
    for layer, values in got.items():
        compare_layer(ENGINES[name], ENGINES[FALLBACK], layer, got=values, expected=expected[layer])


@lru_cache(maxsize=len(KERAS))  # each has its own weights
def keras_engine(path: Path, layers: Sequence[str], name: str) -> KerasEngine:
    """Make an engine of `KERAS`, with as many threads as ONNX Runtime gets."""
    mode: Any = ENGINES[name].options["mode"]
    return KerasEngine(model=str(path), layers=[*layers], mode=mode, threads=available_threads())


def ort_extractor(
    path: Path, layers: str | Sequence[str], name: str, *, batch_size: int
) -> sparsefeat.Extractor:
    """Make an engine of `EXTRACTORS`.

    Raises
    ------
    ProviderError, PrecisionError
        It isn't available here.
    """
    options: dict[str, Any] = dict(ENGINES[name].options)
    return sparsefeat.Extractor(path, layers, batch_size=batch_size, **options)


def bare_session(path: Path, layers: Sequence[str], name: str) -> Run:
    """Make a plain ONNX Runtime session on the cut graph, set up as sparsefeat sets it up."""
    engine = ENGINES[name]
    file = ModelFile.open(path)
    wanted = choose_layers(layers, file.metadata.layers)
    graph = cut(file, wanted, size=SIZE)
    setup = configure_session(
        PROVIDERS[engine.options["provider"]],
        precision=engine.precision,
        threads=available_threads(),
    )
    setup.settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(file.folder)
    )
    session = onnxruntime.InferenceSession(
        graph.model.SerializeToString(), sess_options=setup.settings, providers=setup.providers
    )
    tensors = [graph.tensors[layer] for layer in wanted]

    def run(images: Float32) -> dict[str, Float32]:
        outputs = session.run(tensors, {file.metadata.input.name: images})
        return dict(zip(wanted, cast(list[Float32], outputs), strict=True))

    return run
