"""Keras' VGG16 as one verified ONNX graph whose outputs are all its layers."""

from sparsefeat_export.certificate import Certificate, LayerErrors
from sparsefeat_export.errors import (
    CertificateError,
    DownloadError,
    ExportError,
    OutputError,
    PhotographsError,
    StepError,
    WeightsError,
    WeightsNotFoundError,
)
from sparsefeat_export.exporter import ExportResult, export

__all__ = [
    "Certificate",
    "CertificateError",
    "DownloadError",
    "ExportError",
    "ExportResult",
    "LayerErrors",
    "OutputError",
    "PhotographsError",
    "StepError",
    "WeightsError",
    "WeightsNotFoundError",
    "export",
]
