"""The execution providers, and the precisions that each of them supports."""

from dataclasses import dataclass
from typing import Literal, get_args

from sparsefeat.errors import PrecisionError, ProviderError
from sparsefeat.system import check_choice, unknown_choice

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An execution provider: sparsefeat's and ONNX Runtime's name, and how to install it."""

    name: str
    ort_name: str
    precisions: tuple[Precision, ...]
    install: str


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            name="cpu",
            ort_name="CPUExecutionProvider",
            precisions=("fp32", "int8"),
            install="pip install 'sparsefeat[cpu]'",
        ),
        Provider(
            name="openvino",
            ort_name="OpenVINOExecutionProvider",
            precisions=("fp32", "bf16", "int8"),
            install="pip install 'sparsefeat[cpu,fast]' (Linux and Windows on x86-64)",
        ),
        # CUDA could run int8 graphs only by converting to float around every operation.
        Provider(
            name="cuda",
            ort_name="CUDAExecutionProvider",
            precisions=("fp32",),
            install="pip uninstall onnxruntime && pip install 'sparsefeat[gpu]' "
            "(both install the same module)",
        ),
    )
}

# Fastest first, as measured (docs/providers.md). For float32, the CPU provider with Winograd
# convolutions is faster than OpenVINO; for int8, OpenVINO is faster.
_FASTEST: dict[Precision, tuple[str, ...]] = {
    "fp32": ("cuda", "cpu"),
    "bf16": ("openvino",),
    "int8": ("openvino", "cpu"),
}


def candidate_providers(provider: str, precision: Precision) -> tuple[Provider, ...]:
    """List the providers to try, the best first.

    Raises
    ------
    ProviderError
        The provider is unknown.
    PrecisionError
        The provider does not support the precision.
    InputError
        The precision is unknown.

    Examples
    --------
    >>> [provider.ort_name for provider in candidate_providers("openvino", "bf16")]
    ['OpenVINOExecutionProvider']
    """
    check_choice(precision, PRECISIONS, "precision")
    if provider == AUTO:
        return tuple(PROVIDERS[name] for name in _FASTEST[precision])
    if provider not in PROVIDERS:
        raise ProviderError(unknown_choice(provider, [AUTO, *PROVIDERS], "provider"))
    if precision not in PROVIDERS[provider].precisions:
        others = [name for name, other in PROVIDERS.items() if precision in other.precisions]
        raise PrecisionError(
            f"provider {provider} does not support {precision}, only "
            f"{', '.join(PROVIDERS[provider].precisions)}; use --provider {others[0]}"
        )
    return (PROVIDERS[provider],)
