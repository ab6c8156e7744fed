"""How exactly values are stored, and what that costs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from sparsefeat.errors import InputError
from sparsefeat.types import Layer, Row
from sparsefeat_kernels import Csr, sum_errors

Kind = Literal["float32", "float16", "bits", "uint8"]

Companding: TypeAlias = Literal["linear", "square"]

LARGEST_HALF: Final = 65504.0
_INFINITE_HALF: Final = 65520.0  # from here on, the nearest half is infinity
_MANTISSA: Final = 23
_BFLOAT16: Final = 7
_BITS: Final = re.compile(r"bits:([1-9][0-9]?)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """A choice of ``--values``.

    Attributes
    ----------
    kind
        ``float32`` (all bits), ``float16``, ``bits`` (float32 of fewer bits of mantissa) or
        ``uint8`` (squares of codes from 1 to 255, times the channel's scale).
    bits
        Bits of mantissa, 1 to 22, if the kind is ``bits``.
    """

    kind: Kind = "float32"
    bits: int = _MANTISSA

    def __post_init__(self) -> None:
        fits = 1 <= self.bits < _MANTISSA if self.kind == "bits" else self.bits == _MANTISSA
        if self.kind not in get_args(Kind) or not fits:
            raise InputError(
                f"got values {self.kind} of {self.bits} bits, expected float32, float16, uint8, or "
                "bits of 1 to 22: see docs/values.md"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``float32``, ``float16``, ``bfloat16``, ``bits:N`` or ``uint8``.

        ``bfloat16`` is ``bits:7``, and ``bits:23`` is ``float32``.

        Raises
        ------
        InputError
            It is none of these.

        Examples
        --------
        >>> str(Values.parse("bfloat16"))
        'bits:7'
        """
        if text in ("float32", f"bits:{_MANTISSA}"):
            return cls()
        if text == "bfloat16":
            return cls(kind="bits", bits=_BFLOAT16)
        if text == "float16":
            return cls(kind="float16")
        if text == "uint8":
            return cls(kind="uint8")
        match = _BITS.fullmatch(text)
        if match is None or int(match[1]) > _MANTISSA:
            raise InputError(
                f"got values {text!r}, expected float32, float16, bfloat16, bits:1 to bits:23 or "
                "uint8: choose one of them"
            )
        return cls(kind="bits", bits=int(match[1]))

    def __str__(self) -> str:
        return f"bits:{self.bits}" if self.kind == "bits" else self.kind

    @property
    def lossless(self) -> bool:
        """Whether every value is kept to the last bit."""
        return self.kind == "float32"

    def check_layers(self, layers: Iterable[Layer]) -> None:
        """Refuse layers whose values are known to be unsuitable for this choice.

        Raises
        ------
        InputError
            A layer has such values.
        """
        if self.kind == "uint8":
            for layer in layers:
                if layer.name.endswith("/pre"):
                    raise InputError(
                        f"layer {layer.name} has negative values, expected none for values uint8: "
                        "choose bits:N, or leave it out"
                    )

    def check(self, rows: Sequence[Row], layers: Mapping[str, Csr]) -> None:
        """Refuse rows with a value that can't be stored with this choice.

        Raises
        ------
        InputError
            There is such a value: for float16 beyond its range, for uint8 negative or not finite.
        """
        for name, csr in layers.items():
            if self.kind == "float16":
                beyond = np.isfinite(csr.data) & (np.abs(csr.data) >= _INFINITE_HALF)
                what = f"beyond {LARGEST_HALF:,.0f}, the largest that float16 holds"
            elif self.kind == "uint8":
                beyond = ~(np.isfinite(csr.data) & (csr.data > 0))
                what = "not a positive number, as uint8 holds them"
            else:
                return
            if not beyond.any():
                continue
            place = int(beyond.argmax())
            row = int(np.searchsorted(csr.indptr, place, side="right")) - 1
            raise InputError(
                f"{rows[row].path!r} has the value {csr.data[place]:g} in {name}, {what}: "
                "choose bfloat16 or bits:N"
            )


class Document(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A document in which missing, unknown or wrongly typed fields are errors."""


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far stored values are from the computed ones, over rows.

    Attributes
    ----------
    rows
        Number of rows.
    relative_l2
        Of the worst row: norm of the error over the norm of the computed values.
    cosine_mean, cosine_min
        Between the stored and the computed values of each row; 1 for a row of zeros.
    """

    rows: Annotated[int, Meta(ge=0)] = 0
    relative_l2: float = 0.0
    cosine_mean: float = 1.0
    cosine_min: float = 1.0

    @classmethod
    def of(cls, csr: Csr, stored: npt.NDArray[np.float32]) -> Self:
        """Compare rows with the values that are stored for them, in double precision."""
        if not csr.n_rows:
            return cls()
        error, power, other, product = sum_errors(csr, stored).T
        some = power > 0
        relative = np.sqrt(error / np.where(some, power, 1))
        norms = np.sqrt(np.where(some, power, 1)) * np.sqrt(np.where(some, other, 1))
        cosines = np.where(some, np.minimum(product / norms, 1), 1)
        return cls(
            rows=csr.n_rows,
            relative_l2=float(relative.max()),
            cosine_mean=float(cosines.mean()),
            cosine_min=float(cosines.min()),
        )

    def __add__(self, other: "Loss") -> "Loss":
        rows = self.rows + other.rows
        total = self.cosine_mean * self.rows + other.cosine_mean * other.rows
        return Loss(
            rows=rows,
            relative_l2=max(self.relative_l2, other.relative_l2),
            cosine_mean=total / rows if rows else 1.0,
            cosine_min=min(self.cosine_min, other.cosine_min),
        )

    def to_json(self) -> dict[str, int | float]:
        """Give the fields."""
        return msgspec.structs.asdict(self)


class StoredValues(Document, frozen=True, kw_only=True, tag_field="kind"):
    """How a layer's values are stored in a part, if not as float32 to the last bit."""

    loss: Loss | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored elements."""
        return np.dtype(np.float32)


class RoundedValues(StoredValues, frozen=True, kw_only=True, tag="bits"):
    """Float32 with `bits` bits of mantissa, all others zero."""

    bits: Annotated[int, Meta(ge=1, le=23)]

    def __str__(self) -> str:
        return f"bits:{self.bits}"


class HalfValues(StoredValues, frozen=True, kw_only=True, tag="float16"):
    """Float32 for readers, stored as float16 by a codec."""

    def __str__(self) -> str:
        return "float16"


class CodedValues(StoredValues, frozen=True, kw_only=True, tag="codes"):
    """Codes, with a scale for each channel: a value is scale * code, or scale * code**2."""

    companding: Companding
    code_dtype: Literal["uint8", "uint16"]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the codes."""
        return np.dtype(self.code_dtype)

    def __str__(self) -> str:
        return f"{self.code_dtype} {self.companding} codes"


AnyValues: TypeAlias = RoundedValues | HalfValues | CodedValues
