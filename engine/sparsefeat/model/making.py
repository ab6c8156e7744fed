"""The functions of `sparsefeat_export` that users import from `sparsefeat`."""

from sparsefeat_export import ExportError, ExportResult, QuantizeResult, export, quantize

__all__ = ["ExportError", "ExportResult", "QuantizeResult", "export", "quantize"]
