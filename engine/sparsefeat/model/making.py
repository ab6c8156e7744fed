"""What makes model files, under the names that users import: the package knows nothing of ours."""

from sparsefeat_export import ExportError, ExportResult, QuantizeResult, export, quantize

__all__ = ["ExportError", "ExportResult", "QuantizeResult", "export", "quantize"]
