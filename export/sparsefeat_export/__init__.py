"""Export Keras' VGG16 as one verified ONNX graph in which every layer is an output."""

from sparsefeat_export.certificate import Certificate, LayerErrors
from sparsefeat_export.errors import (
    AssumedScalingWarning,
    CertificateError,
    DependencyError,
    DownloadError,
    ExportError,
    ImagesError,
    MissingDependencyError,
    OutputError,
    TaskError,
    WeightsError,
    WeightsNotFoundError,
)
from sparsefeat_export.exporter import ExportResult, export
from sparsefeat_export.quantization import Agreement, QuantizeResult, quantize

__all__ = [
    "Agreement",
    "AssumedScalingWarning",
    "Certificate",
    "CertificateError",
    "DependencyError",
    "DownloadError",
    "ExportError",
    "ExportResult",
    "ImagesError",
    "LayerErrors",
    "MissingDependencyError",
    "OutputError",
    "QuantizeResult",
    "TaskError",
    "WeightsError",
    "WeightsNotFoundError",
    "export",
    "quantize",
]
