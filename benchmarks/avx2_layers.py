"""Times VGG16's 3x3 convolutions as on a processor with AVX2 only; run as a script.

``python avx2_layers.py ROUNDS`` prints JSON: for each layer the seconds of one image with ours and
with PyTorch's (oneDNN, direct), on one thread, in turn. Both are told by environment variables
what to use, so this has a process of its own.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as untyped_torch

from sparsefeat_kernels import WinogradConvolution, choose_variant, reference

torch: Any = untyped_torch  # some of its functions have no types

LAYERS = {
    "block1_conv2": (64, 64, 224),
    "block2_conv1": (64, 128, 112),
    "block2_conv2": (128, 128, 112),
    "block3_conv1": (128, 256, 56),
    "block3_conv2": (256, 256, 56),
    "block4_conv1": (256, 512, 28),
    "block4_conv2": (512, 512, 28),
    "block5_conv1": (512, 512, 14),
}
ERROR = 3e-6


def time_layer(n_in: int, n_out: int, extent: int, rounds: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    kernel = (rng.standard_normal((n_out, n_in, 3, 3)) / np.sqrt(9 * n_in)).astype(np.float32)
    bias = rng.standard_normal(n_out).astype(np.float32)
    images = np.maximum(rng.standard_normal((1, extent, extent, n_in)), 0).astype(np.float32)
    ours = WinogradConvolution(kernel, bias)
    # Channels last, as ours.
    last = torch.channels_last
    theirs_in = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=last)
    layer: Any = torch.nn.Conv2d(n_in, n_out, 3, padding=1).to(memory_format=last)
    layer.weight.data.copy_(torch.from_numpy(kernel))
    layer.bias.data.copy_(torch.from_numpy(bias))
    ways: dict[str, Callable[[], Any]] = {
        "winograd": lambda: ours(images),
        "direct": lambda: layer(theirs_in),
    }
    with torch.inference_mode():
        got = ways["direct"]().permute(0, 2, 3, 1).numpy()
        expected = reference.convolve(images, kernel, bias)
        for answer in (ways["winograd"](), got):
            error = np.linalg.norm(answer - expected) / np.linalg.norm(expected)
            assert error < ERROR, error
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name in sorted(ways, reverse=number % 2 == 1):
                start = time.perf_counter()
                ways[name]()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    assert choose_variant() == "avx2", choose_variant()
    torch.set_num_threads(1)
    rounds = int(sys.argv[1])
    print(json.dumps({name: time_layer(*sizes, rounds) for name, sizes in LAYERS.items()}))  # noqa: T201


if __name__ == "__main__":
    main()
