from .cuda import CudaOptions
from .network import Convolution, Network, load_convolutions
from .precision import bf16_only_in_vectors, choose_precision
from .probe import can_prove_fixed, prove
from .registry import AUTO, PRECISIONS, PROVIDERS, Precision, Provider, candidates
from .setup import Setup, check_active, set_up

__all__ = [
    "AUTO",
    "PRECISIONS",
    "PROVIDERS",
    "Convolution",
    "CudaOptions",
    "Network",
    "Precision",
    "Provider",
    "Setup",
    "bf16_only_in_vectors",
    "can_prove_fixed",
    "candidates",
    "check_active",
    "choose_precision",
    "load_convolutions",
    "prove",
    "set_up",
]
