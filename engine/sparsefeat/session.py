"""An ONNX Runtime session over a cut graph."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import MissingDependencyError, ModelError, ProviderError
from sparsefeat.model import Cut, ModelFile

if TYPE_CHECKING:
    import onnxruntime

Float32 = NDArray[np.float32]

PROVIDERS = {"cpu": "CPUExecutionProvider"}


class Session:
    """Runs a cut graph: preprocessed pictures in, one array for each chosen output.

    Parameters
    ----------
    file
        Where the weights lie.
    cut
        The graph.
    provider
        A key of `PROVIDERS`.
    threads
        Threads that share the work of one operator.

    Raises
    ------
    ProviderError
        There is no such provider, or it isn't active although it was asked for.
    ModelError
        ONNX Runtime can't load the graph.
    """

    def __init__(self, file: ModelFile, cut: Cut, *, provider: str, threads: int) -> None:
        if provider not in PROVIDERS:
            raise ProviderError(
                f"unknown provider {provider!r}, expected one of: {', '.join(PROVIDERS)}"
            )
        self._tensors = cut.tensors
        self._input = file.metadata.input.name
        self._session = _create(file, cut, provider, threads)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that is active, read from the session."""
        return str(self._session.get_providers()[0])

    def run(self, images: Float32) -> dict[str, Float32]:
        """Run one batch, float32 (N, H, W, 3) with N >= 1, through the graph.

        Raises
        ------
        ProviderError
            ONNX Runtime failed, most often for want of memory.
        """
        try:
            outputs = self._session.run(list(self._tensors.values()), {self._input: images})
        except Exception as exc:  # onnxruntime's exceptions share no other base
            n, height, width, _ = images.shape
            raise ProviderError(
                f"{self.provider} failed on {n} pictures of {height}x{width} ({_one_line(exc)}); "
                "if memory is short, take a smaller batch or size, or fewer layers"
            ) from exc
        return dict(zip(self._tensors, outputs, strict=True))


def _create(
    file: ModelFile, cut: Cut, provider: str, threads: int
) -> "onnxruntime.InferenceSession":
    ort = _onnxruntime()
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4  # what it has to say of errors comes with the exception
    settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(file.folder)
    )
    wanted = PROVIDERS[provider]
    try:
        session = ort.InferenceSession(
            cut.model.SerializeToString(), sess_options=settings, providers=[wanted]
        )
    except Exception as exc:  # onnxruntime's exceptions share no other base
        raise ModelError(f"ONNX Runtime can't load {file.path}: {_one_line(exc)}") from exc
    if session.get_providers()[0] != wanted:
        raise ProviderError(
            f"provider {provider} was asked for, but ONNX Runtime activated "
            f"{', '.join(session.get_providers())}; install a build of it that has {wanted}"
        )
    return session


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingDependencyError(
            "onnxruntime is not installed; install it with: pip install 'sparsefeat[cpu]'"
        ) from exc
    return onnxruntime


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
