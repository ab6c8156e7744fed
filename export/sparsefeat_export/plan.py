"""What VGG16 looks like: the names and shapes of its layers, without Keras."""

from dataclasses import dataclass

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # (convolutions, channels)
DENSE_UNITS = 4096
IMAGENET_CLASSES = 1000
DEFAULT_SIZE = 224  # height and width, in pixels
STRIDE: int = 2 ** len(BLOCKS)  # of the last pool, in pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One layer with weights: its name and kernel shape, (3, 3, in, out) or (in, out)."""

    name: str
    kernel: tuple[int, ...]

    @property
    def bias(self) -> tuple[int]:
        """Shape of the bias, (out,)."""
        return (self.kernel[-1],)


def convolutions(channels_divisor: int = 1) -> list[Plan]:
    """List the 13 convolutions in network order, each narrowed by `channels_divisor`."""
    plans = []
    channels_in = 3
    for block, (count, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            kernel = (3, 3, channels_in, channels // channels_divisor)
            plans.append(Plan(name=f"block{block}_conv{index}", kernel=kernel))
            channels_in = kernel[-1]
    return plans


def dense(
    channels_divisor: int = 1, *, size: int = DEFAULT_SIZE, classes: int = IMAGENET_CLASSES
) -> list[Plan]:
    """List the three dense layers of a VGG16 for pictures of (size, size) pixels."""
    features = (size // STRIDE) ** 2 * (BLOCKS[-1][1] // channels_divisor)
    units = DENSE_UNITS // channels_divisor
    return [
        Plan(name="fc1", kernel=(features, units)),
        Plan(name="fc2", kernel=(units, units)),
        Plan(name="predictions", kernel=(units, classes)),
    ]
