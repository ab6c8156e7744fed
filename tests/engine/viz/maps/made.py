"""Feature maps without a network: noise with zeros and extremes at known positions."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.viz.maps import FeatureMaps, Stage

Float32 = npt.NDArray[np.float32]


def noise(height: int, width: int, channels: int) -> Float32:
    """Make values like pre-activations: of both signs, with a different scale for each channel."""
    rng = np.random.default_rng(5)
    scales = 10 ** rng.uniform(-1, 3, channels)
    return (rng.standard_normal((height, width, channels)) * scales).astype(np.float32)


def made(
    pre: Float32 | None = None,
    *,
    stage: Stage = "both",
    image: str = "cat.jpg",
    **fields: Any,
) -> FeatureMaps:
    """Make feature maps as `sparsefeat.maps` does."""
    if pre is None:
        pre = noise(6, 8, 5)
        pre[0, 0] = 0.0
        pre[1, 2] = 1e-20
        pre[1, 3] = -3e-20
        pre[5, 7] = 999.6
        pre[..., 3] = -np.abs(pre[..., 3])  # dead after ReLU
    n = pre.shape[-1]
    pixels = np.arange(64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    settings = {
        "model": {"architecture": "vgg16", "weights_sha256": "0" * 64, "precision": "fp32"},
        "preprocess": {"name": "keras"},
        "size": [64, 64],
    }
    known: dict[str, Any] = {
        "layer": "block1_conv1",
        "image": image,
        "pixels": pixels,
        "channels": np.arange(n) * 3 + 7,
        "n_channels": 3 * n + 7,
        "stage": stage,
        "rectified": True,
        "pre": None if stage == "post" else pre,
        "post": np.maximum(pre, 0),
        "best": None,
        "scores": None,
        "settings": settings,
    }
    return FeatureMaps(**{**known, **fields})
