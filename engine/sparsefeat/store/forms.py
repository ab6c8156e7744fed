"""The forms in which a part can hold a layer's values: all bits, fewer bits, or whole numbers."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsefeat.store.codecs import Chain
from sparsefeat.store.json_fields import JSON, count, mapping
from sparsefeat.store.values import Loss, Values
from sparsefeat.types import ChannelSteps
from sparsefeat_kernels import (
    Csr,
    count_roots,
    count_steps,
    round_half,
    round_mantissa,
    scale_numbers,
)

Float32: TypeAlias = npt.NDArray[np.float32]
Law: TypeAlias = Literal["linear", "square"]

LARGEST_ROOT: Final = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredValues:
    """How a layer's values are stored in a part, where that is not as float32 to the last bit.

    Attributes
    ----------
    kind
        ``bits`` (float32 of few bits of mantissa), ``float16``, or ``codes`` (whole numbers, with
        a step for each channel).
    bits
        Of mantissa, where the kind is ``bits``.
    law
        Of codes: a value is step * code (``linear``), or step * code**2 (``square``).
    dtype
        Of the stored elements.
    loss
        What it cost; None where nothing is lost.
    """

    kind: Literal["bits", "float16", "codes"]
    dtype: np.dtype[Any]
    bits: int | None = None
    law: Law | None = None
    loss: Loss | None = None

    @property
    def version(self) -> int:
        """The oldest version of the format whose readers understand it."""
        return 1 if self.kind == "bits" else 2

    def __str__(self) -> str:
        if self.kind == "bits":
            return f"bits:{self.bits}"
        if self.kind == "float16":
            return "float16"
        return f"{self.dtype} {'steps' if self.law == 'linear' else 'roots'}"

    def to_json(self) -> dict[str, JSON]:
        """Give the entry in the header."""
        entry: dict[str, JSON] = {"kind": self.kind}
        if self.bits is not None:
            entry["bits"] = self.bits
        if self.law is not None:
            entry |= {"law": self.law, "dtype": self.dtype.name}
        if self.loss is not None:
            entry["loss"] = {**self.loss.to_json()}
        return entry

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read it; `Header.from_json` translates what this raises."""
        entry = mapping(value)
        loss = Loss.from_json(mapping(entry["loss"])) if "loss" in entry else None
        match entry["kind"], entry.get("law"), entry.get("dtype"):
            case "bits", None, None:
                bits = count(entry["bits"])
                return cls(kind="bits", dtype=np.dtype(np.float32), bits=bits, loss=loss)
            case "float16", None, None:
                return cls(kind="float16", dtype=np.dtype(np.float32), loss=loss)
            case "codes", ("linear" | "square") as law, ("uint8" | "uint16") as name:
                return cls(kind="codes", dtype=np.dtype(name), law=law, loss=loss)
        raise ValueError(f"values {value!r}")


@dataclass(kw_only=True)
class Form:
    """Makes what is written of a layer's values, and sums up what that costs.

    Attributes
    ----------
    chain
        Of the written elements.
    loss
        So far.
    steps
        float32 (C,) of codes, else None.
    """

    chain: Chain = field(default_factory=lambda: Chain(dtype=np.dtype(np.float32)))
    loss: Loss = field(default_factory=Loss)
    steps: Float32 | None = None

    def written(self, csr: Csr) -> Csr:
        """Give the same rows with the numbers that are written, as float32."""
        return csr

    def note(self, csr: Csr, written: Csr) -> None:
        """Take account of what `written` has lost of `csr`."""

    def n_fitting(self, csr: Csr) -> int:
        """Count the rows, from the first on, that can be written so."""
        return csr.n_rows

    def stored(self) -> StoredValues | None:
        """Say in what form the values are; None where it is float32 to the last bit."""
        return None


class Rounded(Form):
    """Float32 of fewer bits of mantissa, or float16."""

    def __init__(self, values: Values) -> None:
        super().__init__(chain=Chain(dtype=np.dtype(np.float32), half=values.kind == "float16"))
        self._bits = None if values.kind == "float16" else values.bits

    def written(self, csr: Csr) -> Csr:
        """Round."""
        values = (
            round_half(csr.values) if self._bits is None else round_mantissa(csr.values, self._bits)
        )
        return Csr(csr.indptr, csr.indices, values, csr.n_columns)

    def note(self, csr: Csr, written: Csr) -> None:
        """Sum up the errors."""
        self.loss += Loss.of(csr, written.values)

    def stored(self) -> StoredValues:
        """Say how many bits."""
        return StoredValues(
            kind="float16" if self._bits is None else "bits",
            dtype=np.dtype(np.float32),
            bits=self._bits,
            loss=self.loss,
        )


class Steps(Form):
    """Whole numbers of steps, which are the values to the last bit."""

    def __init__(self, steps: ChannelSteps) -> None:
        dtype = np.dtype(np.uint8 if steps.largest <= np.iinfo(np.uint8).max else np.uint16)
        super().__init__(chain=Chain(dtype=dtype), steps=steps.steps)
        self._steps = steps

    def written(self, csr: Csr) -> Csr:
        """Count steps, of rows that fit.

        Raises
        ------
        ValueError
            They don't.
        """
        numbers, n_rows = count_steps(csr, self._steps.steps, largest=self._steps.largest)
        if n_rows < csr.n_rows:
            raise ValueError(f"row {n_rows} of {csr.n_rows} isn't of whole numbers of steps")
        return Csr(csr.indptr, csr.indices, numbers, csr.n_columns)

    def n_fitting(self, csr: Csr) -> int:
        """Count rows until the first with a value that isn't just a whole number of steps."""
        return count_steps(csr, self._steps.steps, largest=self._steps.largest)[1]

    def stored(self) -> StoredValues:
        """Say what the numbers are."""
        return StoredValues(kind="codes", dtype=np.dtype(str(self.chain.dtype)), law="linear")


class Roots(Form):
    """Square roots of steps, from 1 to 255.

    Parameters
    ----------
    steps
        float32 (C,): `root_steps` gives them.
    """

    def __init__(self, steps: Float32) -> None:
        super().__init__(chain=Chain(dtype=np.dtype(np.uint8)), steps=steps)

    def written(self, csr: Csr) -> Csr:
        """Give the roots of the nearest squares."""
        assert self.steps is not None
        numbers = count_roots(csr, self.steps, largest=LARGEST_ROOT)
        return Csr(csr.indptr, csr.indices, numbers, csr.n_columns)

    def note(self, csr: Csr, written: Csr) -> None:
        """Sum up the errors."""
        assert self.steps is not None
        values = written.values.copy()
        scale_numbers(values, csr.indices, self.steps, squared=True)
        self.loss += Loss.of(csr, values)

    def stored(self) -> StoredValues:
        """Say what the numbers are."""
        dtype = np.dtype(np.uint8)
        return StoredValues(kind="codes", dtype=dtype, law="square", loss=self.loss)


def root_steps(maxima: Float32) -> Float32:
    """Give the steps of channels whose largest values are known: 255 squared is that of each."""
    largest = LARGEST_ROOT**2
    exact = np.where(maxima > 0, maxima, 1).astype(np.float64) / largest
    steps = exact.astype(np.float32)
    # Upwards, so that none is larger; but no step whose product would be infinite.
    steps = np.where(steps < exact, np.nextafter(steps, np.float32(np.inf)), steps)
    with np.errstate(over="ignore"):
        beyond = ~np.isfinite(steps * np.float32(largest))
    return np.where(beyond, np.nextafter(steps, np.float32(0)), steps)
