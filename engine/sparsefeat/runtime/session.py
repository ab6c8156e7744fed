"""An ONNX Runtime session over a cut graph."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import ModelError, ProviderError
from sparsefeat.model import Cut, ModelFile
from sparsefeat.runtime import Setup, check_active

if TYPE_CHECKING:
    import onnxruntime

Float32 = NDArray[np.float32]


class Session:
    """Runs a cut graph in ONNX Runtime.

    Parameters
    ----------
    file
        The model, which has the weights.
    cut
        The graph.
    setup
        The provider and its settings.

    Raises
    ------
    ProviderError
        The provider can't load the graph or can't run all of it.
    ModelError
        ONNX Runtime can't load the graph, or its weights are damaged.
    """

    def __init__(self, file: ModelFile, cut: Cut, setup: Setup) -> None:
        self._input, self._tensors = cut.input, cut.tensors
        file.check(tensor.name for tensor in cut.model.graph.initializer)
        self._session = _create(file, cut, setup)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the active provider, read from the session."""
        return str(self._session.get_providers()[0])

    def run(self, x: Float32, outputs: Mapping[str, Float32]) -> None:
        """Run one batch and write the results to existing arrays.

        Parameters
        ----------
        x
            float32 (N, H, W, C) with N >= 1, C-contiguous.
        outputs
            For each chosen output a C-contiguous float32 array of its shape.

        Raises
        ------
        ProviderError
            ONNX Runtime failed, usually because of too little memory.
        """
        try:
            binding = self._session.io_binding()
            binding.bind_cpu_input(self._input, x)
            for name, tensor in self._tensors.items():
                output = outputs[name]
                binding.bind_output(tensor, "cpu", 0, np.float32, output.shape, output.ctypes.data)
            self._session.run_with_iobinding(binding)
        except Exception as exc:  # onnxruntime's exceptions share no other base
            raise ProviderError(
                f"{self.provider} failed on a batch of shape {x.shape} ({_one_line(exc)}); "
                "if memory is short, use a smaller batch or size, or fewer layers"
            ) from exc


def _create(file: ModelFile, cut: Cut, setup: Setup) -> "onnxruntime.InferenceSession":
    import onnxruntime

    setup.settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(file.folder)
    )
    provider = setup.provider
    try:
        session = onnxruntime.InferenceSession(
            cut.model.SerializeToString(),
            sess_options=setup.settings,
            providers=setup.providers,
            enable_fallback=0,  # otherwise it may continue with another provider
        )
    except Exception as exc:  # onnxruntime's exceptions share no other base
        if provider.name == "cpu":
            raise ModelError(f"ONNX Runtime can't load {file.path}: {_one_line(exc)}") from exc
        raise ProviderError(
            f"provider {provider.name} can't load {file.path} ({_one_line(exc)}); if --provider "
            f"cpu can, install this provider again: {provider.install}"
        ) from exc
    check_active(session, provider)
    return session


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
