"""Converts a store to files of other programs: h5ad, Parquet, scipy's npz."""

from sparsefeat.interop.conversion.convert import FORMATS, Conversion, ConvertedLayer, convert

__all__ = ["FORMATS", "Conversion", "ConvertedLayer", "convert"]
