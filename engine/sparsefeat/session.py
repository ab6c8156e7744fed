"""An ONNX Runtime session over a cut graph."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import InputError, MissingDependencyError, ModelError, ProviderError
from sparsefeat.model import Cut, ModelFile

if TYPE_CHECKING:
    import onnxruntime

Float32 = NDArray[np.float32]

PROVIDERS = {"cpu": "CPUExecutionProvider"}


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How to run: the provider, and the threads that share the work of one operator."""

    provider: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ProviderError(
                f"unknown provider {self.provider!r}, expected one of: {', '.join(PROVIDERS)}"
            )
        if self.threads < 1:
            raise InputError(f"got {self.threads} threads, expected at least 1")


class Session:
    """Runs a cut graph: preprocessed pictures in, one array for each chosen output."""

    def __init__(self, file: ModelFile, cut: Cut, options: SessionOptions) -> None:
        self._tensors = cut.tensors
        self._input = file.metadata.input.name
        self._session = _create(file, cut, options)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that is active, read from the session."""
        return str(self._session.get_providers()[0])

    def run(self, images: Float32) -> dict[str, Float32]:
        """Run one batch, float32 (N, H, W, 3) with N >= 1, through the graph."""
        outputs = self._session.run(list(self._tensors.values()), {self._input: images})
        return dict(zip(self._tensors, outputs, strict=True))


def _create(file: ModelFile, cut: Cut, options: SessionOptions) -> "onnxruntime.InferenceSession":
    ort = _onnxruntime()
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors: what matters reaches the user as an exception
    settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(file.folder)
    )
    provider = PROVIDERS[options.provider]
    try:
        session = ort.InferenceSession(
            cut.model.SerializeToString(), sess_options=settings, providers=[provider]
        )
    except Exception as exc:  # onnxruntime's exceptions share no other base
        reason = " ".join(str(exc).split())
        raise ModelError(f"ONNX Runtime can't load {file.path}: {reason}") from exc
    if session.get_providers()[0] != provider:
        raise ProviderError(
            f"provider {options.provider} was asked for, but ONNX Runtime activated "
            f"{', '.join(session.get_providers())}; install a build of it that has {provider}"
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
