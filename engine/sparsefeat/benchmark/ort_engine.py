"""The exported network on ONNX Runtime, as extraction runs it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefeat.extractor import Extractor

Float32 = NDArray[np.float32]


class OrtEngine:
    """Runs a model file through `Extractor`, which proves provider and precision.

    Parameters
    ----------
    model, layers, size, provider, precision, threads
        As `Extractor` takes them.
    batch_size
        The largest that will be run: larger batches would be cut in pieces.
    """

    def __init__(
        self,
        *,
        model: str,
        layers: list[str],
        size: list[int],
        provider: str,
        precision: Any,
        threads: int,
        batch_size: int,
    ) -> None:
        import onnxruntime

        height, width = size
        self._extractor = Extractor(
            model,
            layers,
            size=(height, width),
            provider=provider,
            precision=precision,
            convolution="direct",
            threads=threads,
            batch_size=batch_size,
        )
        self.facts: dict[str, Any] = {
            "device": "gpu" if provider == "cuda" else "cpu",
            "precision": self._extractor.precision,
            "runs_on": f"ONNX Runtime {onnxruntime.__version__}, {self._extractor.provider}",
            "intra_op_threads": threads,
            "inter_op_threads": 1,
            "probe_error": self._extractor.probe_error,
            "provider_options": self._extractor.provenance["provider_options"],
        }

    def run(self, images: Float32) -> dict[str, Float32]:
        """Run float32 (N, H, W, 3) through the network; one array for each layer comes back."""
        return self._extractor.run(images)
