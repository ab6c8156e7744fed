"""The certificate: how far an exported graph's activations are from Keras', layer by layer."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat_export.errors import CertificateError

OPTIMIZATION_LEVEL = "all"  # ORT_ENABLE_ALL, as in production
RELATIVE_L2_LIMIT = 1e-5
AGREEMENT_LIMIT = 0.9999
MIN_IMAGES = 8
SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


@dataclass(kw_only=True, slots=True)
class Errors:
    """Running sums over images from which a layer's error figures are computed."""

    max_abs: float = 0.0
    squared_error: float = 0.0
    squared_norm: float = 0.0
    agreeing: int = 0
    elements: int = 0

    def add(self, expected: npt.NDArray[np.float32], got: npt.NDArray[np.float32]) -> None:
        """Add one image's activation; both arrays have the same shape."""
        difference = got.astype(np.float64) - expected
        # np.maximum propagates NaN, and NaN fails every limit.
        self.max_abs = float(np.maximum(self.max_abs, np.abs(difference).max()))
        self.squared_error += float(np.vdot(difference, difference))
        self.squared_norm += float(np.square(expected, dtype=np.float64).sum())
        zeros = (np.abs(expected) < SMALLEST_NORMAL, np.abs(got) < SMALLEST_NORMAL)
        self.agreeing += int(np.count_nonzero(zeros[0] == zeros[1]))
        self.elements += expected.size

    def merge(self, other: "Errors") -> None:
        """Add the images of `other`."""
        self.max_abs = float(np.maximum(self.max_abs, other.max_abs))
        self.squared_error += other.squared_error
        self.squared_norm += other.squared_norm
        self.agreeing += other.agreeing
        self.elements += other.elements

    @property
    def relative_l2(self) -> float:
        """L2 norm of the error divided by the L2 norm of Keras' activations."""
        if self.squared_norm == 0:
            return 0.0 if self.squared_error == 0 else float("inf")
        return float(np.sqrt(self.squared_error / self.squared_norm))

    @property
    def agreement(self) -> float:
        """Share of elements, 0 to 1, that are zero in both or non-zero in both.

        Subnormal numbers count as zeros: for a very improbable class, softmax returns a subnormal
        number in one program and 0 in another.
        """
        return self.agreeing / self.elements


@dataclass(frozen=True, kw_only=True)
class LayerErrors:
    """The errors of one layer over all images: one line of the certificate."""

    layer: str
    max_abs: float
    relative_l2: float
    agreement: float


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The measured errors of every layer, and the images they were measured on.

    Attributes
    ----------
    layers
        In network order.
    images
        (file name, SHA-256 of the file) of each image.
    """

    layers: tuple[LayerErrors, ...]
    images: tuple[tuple[str, str], ...] = field(repr=False)

    def check(self) -> None:
        """Raise CertificateError, naming the first layer whose error exceeds a limit."""
        for one in self.layers:
            if not (one.relative_l2 <= RELATIVE_L2_LIMIT and one.agreement >= AGREEMENT_LIMIT):
                raise CertificateError(
                    f"layer {one.layer!r} of the exported graph differs from Keras: relative L2 "
                    f"error {one.relative_l2:.3g} (limit {RELATIVE_L2_LIMIT:g}), zero/non-zero "
                    f"agreement {one.agreement:.6f} (limit {AGREEMENT_LIMIT:g}), largest error "
                    f"{one.max_abs:.3g}, on {len(self.images)} images; "
                    "nothing was written"
                )

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as the model file's metadata has it."""
        return {
            "optimization_level": OPTIMIZATION_LEVEL,
            "limits": {"relative_l2": RELATIVE_L2_LIMIT, "agreement": AGREEMENT_LIMIT},
            "images": [{"name": name, "sha256": sha} for name, sha in self.images],
            "layers": {
                one.layer: {
                    "max_abs": one.max_abs,
                    "relative_l2": one.relative_l2,
                    "agreement": one.agreement,
                }
                for one in self.layers
            },
        }
