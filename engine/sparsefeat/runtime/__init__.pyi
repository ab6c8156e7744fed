from .cuda import CudaOptions
from .network import Convolution, Network, load_convolutions
from .precision import bf16_only_in_vectors, choose_precision
from .probe import check_probe, has_probe_for
from .registry import AUTO, PRECISIONS, PROVIDERS, Precision, Provider, candidate_providers
from .setup import Setup, check_active, configure_session

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
    "candidate_providers",
    "check_active",
    "check_probe",
    "choose_precision",
    "configure_session",
    "has_probe_for",
    "load_convolutions",
]
