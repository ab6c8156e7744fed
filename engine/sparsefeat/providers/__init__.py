"""Execution providers and precisions: what can be had here, how it is set up, what is active."""

from sparsefeat.providers.active import check_active
from sparsefeat.providers.cuda import CudaOptions
from sparsefeat.providers.known import (
    AUTO,
    PRECISIONS,
    PROVIDERS,
    Precision,
    Provider,
    candidates,
)
from sparsefeat.providers.precision import bf16_only_in_vectors, choose_precision
from sparsefeat.providers.setup import Setup, set_up

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
