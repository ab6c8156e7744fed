"""Set up a session for a provider, and check that the provider is active."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparsefeat.errors import ProviderError
from sparsefeat.runtime import openvino
from sparsefeat.runtime.cuda import CudaOptions
from sparsefeat.runtime.registry import PROVIDERS, Precision, Provider
from sparsefeat.system import importing

if TYPE_CHECKING:
    import onnxruntime

# Makes ONNX Runtime record which provider runs which node.
RECORD_ASSIGNMENT = ("session.record_ep_graph_assignment_info", "1")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The arguments of a session: `settings` and `providers` are in ONNX Runtime's form."""

    provider: Provider
    settings: Any  # onnxruntime.SessionOptions
    providers: list[tuple[str, dict[str, str]]] | None
    options: dict[str, str] = field(default_factory=dict)


def configure_session(
    provider: Provider,
    *,
    precision: Precision,
    threads: int,
    options: CudaOptions | None = None,
    spin: bool = True,
) -> Setup:
    """Set up session options for a provider.

    Parameters
    ----------
    threads
        Number of threads that share the work of one operator.
    options
        Options of ``cuda``; other providers have none.
    spin
        Let ONNX Runtime's threads wait for work in a busy loop, which is faster if no other
        threads need the processor.

    Raises
    ------
    ProviderError
        The provider is not available.
    DependencyError
        ONNX Runtime is not installed or does not load.
    """
    with importing("onnxruntime", "pip install 'sparsefeat[cpu]'"):
        import onnxruntime as ort
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4  # exceptions carry the error messages
    settings.add_session_config_entry(*RECORD_ASSIGNMENT)
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    if provider.name == "openvino":
        own = openvino.options(precision, threads)
        settings.add_provider_for_devices([openvino.device(ort)], own)
        settings.intra_op_num_threads = 1  # OpenVINO has its own threads
        return Setup(provider=provider, settings=settings, providers=None, options=own)
    own = {}
    if provider.name == "cuda":
        _check_available(ort, provider)
        own = (options or CudaOptions()).for_onnxruntime()
    return Setup(
        provider=provider, settings=settings, providers=[(provider.ort_name, own)], options=own
    )


def _check_available(ort: Any, provider: Provider) -> None:
    available = ort.get_available_providers()
    if provider.ort_name in available:
        return
    known = [name for name, other in PROVIDERS.items() if other.ort_name in available]
    raise ProviderError(
        f"provider {provider.name} was asked for, but the installed onnxruntime {ort.__version__} "
        f"has only: {', '.join(known)}{_both_installed()}; install it with: {provider.install}"
    )


def _both_installed() -> str:
    """Return a remark if both onnxruntime and onnxruntime-gpu are installed, otherwise ""."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("onnxruntime")
        version("onnxruntime-gpu")
    except PackageNotFoundError:
        return ""
    return " (onnxruntime has overwritten onnxruntime-gpu: uninstall both first)"


def check_active(session: "onnxruntime.InferenceSession", provider: Provider) -> None:
    """Check that every node of the session runs on the provider.

    ONNX Runtime silently assigns to its CPU provider the nodes that another one does not support.

    Raises
    ------
    ProviderError
        The provider is not active, or does not run all nodes.
    """
    active = session.get_providers()
    if active[:1] != [provider.ort_name]:
        raise ProviderError(
            f"provider {provider.name} was asked for, but ONNX Runtime activated "
            f"{', '.join(active)}; install it with: {provider.install}"
        )
    nodes = [
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    elsewhere = [node for node in nodes if node[0] != provider.ort_name]
    if elsewhere:
        left = ", ".join(
            f"{count} {op_type} to {ep_name}"
            for (ep_name, op_type), count in Counter(elsewhere).most_common(3)
        )
        raise ProviderError(
            f"provider {provider.name} was asked for, but took only "
            f"{len(nodes) - len(elsewhere)} of the graph's {len(nodes)} nodes and left {left}; "
            "use --provider cpu"
        )
