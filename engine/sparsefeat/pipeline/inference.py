"""Run groups of decoded images through the network, reusing memory."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import ProviderError
from sparsefeat.images import CAFFE, Scaling, normalize
from sparsefeat.model import Size
from sparsefeat.pipeline.batching import Group
from sparsefeat.types import Batch, Layer

Float32 = NDArray[np.float32]

BUFFERS = 2
"""Number of batches in memory: one is encoded while the next one is computed."""

# On a CPU, larger batches are hardly faster (docs/adr/007-pipeline.md); a GPU needs larger ones.
MAX_IMAGES = {"CUDAExecutionProvider": 32}
MAX_IMAGES_ELSEWHERE = 8
# The outputs of all 18 layers take 56 MiB for an image of 224x224.
MAX_OUTPUT_BYTES = 256 << 20
# Inside the network, the activations of the first convolutions are the largest.
MAX_TENSOR_BYTES = 512 << 20


class Inference:
    """Runs groups of decoded images, one at a time.

    A result stays valid until the call after the next one (see `BUFFERS`).

    Parameters
    ----------
    run
        Runs the network: takes float32 (N, H, W, 3) and, for each layer, the float32 array (N, ...)
        to write to.
    layers
        The outputs, with their shapes for one image.
    size
        (height, width) of the images.
    scaling
        How pixels are scaled to the network's input.
    """

    def __init__(
        self,
        run: Callable[[Float32, Mapping[str, Float32]], None],
        layers: Sequence[Layer],
        size: Size,
        scaling: Scaling = CAFFE,
    ) -> None:
        self._run, self._layers, self._size = run, tuple(layers), size
        self._scaling = scaling
        self._images = np.empty((0, *size, 3), np.float32)
        self._buffers = [empty_outputs(layers, 0, size)] * BUFFERS
        self._turn = 0

    def __call__(self, group: Group) -> Batch[Float32]:
        """Run one group."""
        n = len(group.decoded)
        outputs = self._take(n)
        if n:
            images = self._images[:n]
            for decoded, image in zip(group.decoded, images, strict=True):
                normalize(decoded.pixels, self._scaling, out=image)
            self._run(images, outputs)
        return Batch(
            rows=tuple(decoded.row for decoded in group.decoded),
            layers={
                layer.name: outputs[layer.name].reshape(n, layer.n_features)
                for layer in self._layers
            },
            rejects=group.rejects,
            skipped=group.skipped,
        )

    def _take(self, n: int) -> dict[str, Float32]:
        """Return output arrays for `n` images; they grow to the size of the largest group."""
        self._turn = (self._turn + 1) % BUFFERS
        if n > len(next(iter(self._buffers[self._turn].values()))):
            self._buffers[self._turn] = empty_outputs(self._layers, n, self._size)
        if n > len(self._images):
            images = Layer(name="images", shape=(*self._size, 3))
            self._images = empty_outputs([images], n, self._size)["images"]
        return {name: array[:n] for name, array in self._buffers[self._turn].items()}


def empty_outputs(layers: Sequence[Layer], n: int, size: Size) -> dict[str, Float32]:
    """Allocate arrays for the outputs of `n` images of `size`, or for the images themselves.

    Raises
    ------
    ProviderError
        There is not enough memory.
    """
    try:
        return {layer.name: np.empty((n, *layer.shape), np.float32) for layer in layers}
    except MemoryError as exc:
        raise ProviderError(
            f"not enough memory for {n} images of {size[0]}x{size[1]} and their outputs ({exc}); "
            "use a smaller batch or size, or fewer layers"
        ) from exc


def choose_batch_size(
    layers: Sequence[Layer], provider: str, *, largest: Layer | None = None
) -> int:
    """Choose a batch size by speed and memory.

    Parameters
    ----------
    layers
        The outputs, with their shapes for one image.
    provider
        ONNX Runtime's name of the provider.
    largest
        The layer with the most activations, whether it is an output or not.

    Examples
    --------
    >>> choose_batch_size([Layer(name="block5_pool", shape=(7, 7, 512))], "CPUExecutionProvider")
    8
    """
    most = MAX_IMAGES.get(provider, MAX_IMAGES_ELSEWHERE)
    most = min(most, MAX_OUTPUT_BYTES // (4 * sum(layer.n_features for layer in layers)))
    if largest is not None:
        most = min(most, MAX_TENSOR_BYTES // (4 * largest.n_features))
    return max(1, most)
