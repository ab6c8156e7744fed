"""The exported network as `Extractor` runs it, on ONNX Runtime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefeat.pipeline import Extractor
from sparsefeat.system import importing
from sparsefeat_kernels import Csr, to_dense

Float32 = NDArray[np.float32]


class OrtEngine:
    """Runs a model file through `Extractor`, which verifies provider and precision.

    Parameters
    ----------
    model, layers, size, threads
        As `Extractor` takes them.
    batch_sizes
        The batch sizes that will be run. A larger batch would be split.
    options
        The other options of `Extractor`: provider, precision, convolution.

    Raises
    ------
    DependencyError
        ONNX Runtime isn't installed, or doesn't load.
    SparsefeatError
        As `Extractor` raises it.
    """

    def __init__(
        self,
        *,
        model: str,
        layers: list[str],
        size: list[int],
        threads: int,
        batch_sizes: list[int],
        **options: Any,
    ) -> None:
        with importing("onnxruntime", "pip install 'sparsefeat[cpu]'"):
            import onnxruntime

        self._model = model
        self._extractor = Extractor(
            model,
            layers,
            size=(size[0], size[1]),
            threads=threads,
            batch_size=max(batch_sizes),
            **options,
        )
        self.facts: dict[str, Any] = {
            "device": "gpu" if options["provider"] == "cuda" else "cpu",
            "precision": self._extractor.precision,
            "runs_on": f"ONNX Runtime {onnxruntime.__version__}, {self._extractor.provider}, "
            f"convolution {self._extractor.convolution}"
            + (f" ({variant})" if (variant := self._extractor.convolution_variant) else ""),
            "intra_op_threads": threads,
            "inter_op_threads": 1,
            "probe_error": self._extractor.probe_error,
            "provider_options": self._extractor.provenance["provider_options"],
        }

    def run(self, images: Float32) -> dict[str, Float32]:
        """Run float32 (N, H, W, 3) through the network; return an array for each layer."""
        return self._extractor.run(images)

    def extract(
        self, files: Sequence[str], *, batch_size: int, size: tuple[int, int]
    ) -> Iterator[dict[str, "Rows"]]:
        """Extract images in batches; yield the rows of each layer for each batch.

        The rows are valid until the next batch is requested. `size` must be the engine's.
        """
        if batch_size != self._extractor.options.batch_size:
            options = replace(self._extractor.options, batch_size=batch_size)
            self._extractor = Extractor.of(self._model, options)
        shapes = {name: layer.shape for name, layer in self._extractor.layers.items()}
        for batch in self._extractor.extract(files, reuse=True):
            yield {name: Rows(csr, shapes[name]) for name, csr in batch.layers.items()}


@dataclass(frozen=True)
class Rows:
    """Rows of one layer as CSR; ``np.asarray`` makes them dense: float32 (N, ...)."""

    csr: Csr
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.csr.n_rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Float32:
        return to_dense(self.csr).reshape(len(self), *self.shape)
