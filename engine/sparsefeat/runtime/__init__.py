"""Execution providers and precisions: what can be had here, how it is set up, what is active."""

from sparsefeat.runtime.active import check_active
from sparsefeat.runtime.cuda import CudaOptions
from sparsefeat.runtime.known import (
    AUTO,
    PRECISIONS,
    PROVIDERS,
    Precision,
    Provider,
    candidates,
)
from sparsefeat.runtime.precision import bf16_only_in_vectors, choose_precision
from sparsefeat.runtime.setup import Setup, set_up

__all__ = [
    "AUTO",
    "PRECISIONS",
    "PROVIDERS",
    "CudaOptions",
    "Precision",
    "Provider",
    "Setup",
    "bf16_only_in_vectors",
    "candidates",
    "check_active",
    "choose_precision",
    "set_up",
]
