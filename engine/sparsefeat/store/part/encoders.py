"""How a layer's values are written: with all their bits, with fewer bits, or as codes."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from sparsefeat.store.format import (
    AnyValues,
    Chain,
    CodedValues,
    HalfValues,
    Loss,
    RoundedValues,
    Values,
)
from sparsefeat.types import ChannelScales
from sparsefeat_kernels import (
    Csr,
    dequantize,
    quantize_linear,
    quantize_squared,
    round_half,
    round_mantissa,
)

Float32: TypeAlias = npt.NDArray[np.float32]

LARGEST_CODE: Final = 255


@dataclass(kw_only=True)
class ValueEncoder:
    """Encodes a layer's values for writing, and measures the error.

    Attributes
    ----------
    chain
        The codecs of the written elements.
    loss
        The error so far.
    scales
        float32 (C,) for codes, else None.
    """

    chain: Chain = field(default_factory=lambda: Chain(dtype=np.dtype(np.float32)))
    loss: Loss = field(default_factory=Loss)
    scales: Float32 | None = None

    def written(self, csr: Csr) -> Csr:
        """Give the same rows with the numbers that are written, as float32."""
        return csr

    def note(self, csr: Csr, written: Csr) -> None:
        """Add the error of `written`, compared with `csr`, to the loss."""

    def n_fitting(self, csr: Csr) -> int:
        """Count the leading rows that this encoder can write."""
        return csr.n_rows

    def stored(self) -> AnyValues | None:
        """Say how the values are stored; None for float32 to the last bit."""
        return None


class RoundedEncoder(ValueEncoder):
    """Float32 of fewer bits of mantissa, or float16."""

    def __init__(self, values: Values) -> None:
        super().__init__(chain=Chain(dtype=np.dtype(np.float32), half=values.kind == "float16"))
        self._bits = None if values.kind == "float16" else values.bits

    def written(self, csr: Csr) -> Csr:
        """Round."""
        values = (
            round_half(csr.data) if self._bits is None else round_mantissa(csr.data, self._bits)
        )
        return Csr(csr.indptr, csr.indices, values, csr.n_columns)

    def note(self, csr: Csr, written: Csr) -> None:
        """Sum up the errors."""
        self.loss += Loss.of(csr, written.data)

    def stored(self) -> AnyValues:
        """Say how many bits."""
        if self._bits is None:
            return HalfValues(loss=self.loss)
        return RoundedValues(bits=self._bits, loss=self.loss)


class LinearEncoder(ValueEncoder):
    """Whole numbers that, times a scale, give the values to the last bit."""

    def __init__(self, scales: ChannelScales) -> None:
        dtype = np.dtype(np.uint8 if scales.largest <= np.iinfo(np.uint8).max else np.uint16)
        super().__init__(chain=Chain(dtype=dtype), scales=scales.scales)
        self._scales = scales
        self._latest: tuple[Csr, Float32, int] | None = None

    def written(self, csr: Csr) -> Csr:
        """Give the codes of rows that fit.

        Raises
        ------
        ValueError
            A row doesn't fit.
        """
        numbers, n_rows = self._count(csr)
        self._latest = None
        if n_rows < csr.n_rows:
            raise ValueError(f"row {n_rows} of {csr.n_rows} isn't of whole numbers of its scales")
        return Csr(csr.indptr, csr.indices, numbers, csr.n_columns)

    def n_fitting(self, csr: Csr) -> int:
        """Count the rows before the first value that isn't a whole multiple of its scale."""
        return self._count(csr)[1]

    def stored(self) -> AnyValues:
        """Say what the numbers are."""
        return CodedValues(companding="linear", code_dtype=_code_dtype(self.chain))

    def _count(self, csr: Csr) -> tuple[Float32, int]:
        """Compute codes and the number of rows that fit; cached, as both are requested."""
        if self._latest is None or self._latest[0] is not csr:
            numbers, n_rows = quantize_linear(
                csr, self._scales.scales, largest=self._scales.largest
            )
            self._latest = csr, numbers, n_rows
        return self._latest[1:]


class SquareEncoder(ValueEncoder):
    """Codes from 1 to 255: a value is its scale times the square of its code.

    Parameters
    ----------
    scales
        float32 (C,): `square_scales` gives them.
    """

    def __init__(self, scales: Float32) -> None:
        super().__init__(chain=Chain(dtype=np.dtype(np.uint8)), scales=scales)

    def written(self, csr: Csr) -> Csr:
        """Give the roots of the nearest squares."""
        assert self.scales is not None
        numbers = quantize_squared(csr, self.scales, largest=LARGEST_CODE)
        return Csr(csr.indptr, csr.indices, numbers, csr.n_columns)

    def note(self, csr: Csr, written: Csr) -> None:
        """Sum up the errors."""
        assert self.scales is not None
        values = written.data.copy()
        dequantize(values, csr.indices, self.scales, squared=True)
        self.loss += Loss.of(csr, values)

    def stored(self) -> AnyValues:
        """Say what the numbers are."""
        return CodedValues(companding="square", code_dtype="uint8", loss=self.loss)


class Reencoder(ValueEncoder):
    """Wraps an encoder for values that it has encoded before: their loss stays as it was.

    Parameters
    ----------
    encoder
        The wrapped encoder.
    loss
        The loss of the values before.
    """

    def __init__(self, encoder: ValueEncoder, loss: Loss | None) -> None:
        super().__init__(chain=encoder.chain, scales=encoder.scales)
        self._encoder, self._loss = encoder, loss

    def written(self, csr: Csr) -> Csr:
        """Give the numbers that the values come from."""
        return self._encoder.written(csr)

    def n_fitting(self, csr: Csr) -> int:
        """Count the leading rows that the wrapped encoder can write."""
        return self._encoder.n_fitting(csr)

    def stored(self) -> AnyValues | None:
        """Say how the values are stored, and what they had lost."""
        values = self._encoder.stored()
        return None if values is None else msgspec.structs.replace(values, loss=self._loss)


def _code_dtype(chain: Chain) -> Literal["uint8", "uint16"]:
    return "uint8" if chain.dtype == np.uint8 else "uint16"


def square_scales(maxima: Float32) -> Float32:
    """Give the scales with which code 255 stands for the largest value of each channel."""
    largest = LARGEST_CODE**2
    exact = np.where(maxima > 0, maxima, 1).astype(np.float64) / largest
    scales = exact.astype(np.float32)
    # Upwards, so that none is larger; but no scale whose product would be infinite.
    scales = np.where(scales < exact, np.nextafter(scales, np.float32(np.inf)), scales)
    with np.errstate(over="ignore"):
        beyond = ~np.isfinite(scales * np.float32(largest))
    return np.where(beyond, np.nextafter(scales, np.float32(0)), scales)
