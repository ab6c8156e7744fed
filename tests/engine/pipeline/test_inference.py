from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsefeat.errors import ProviderError
from sparsefeat.images import Decoded, decode, normalize, preset
from sparsefeat.pipeline.batching import Group
from sparsefeat.pipeline.inference import BUFFERS, Inference, choose_batch_size, empty_outputs
from sparsefeat.types import Layer

Float32 = NDArray[np.float32]
SIZE = (32, 48)
LAYERS = [Layer(name="sum", shape=(1, 2, 3)), Layer(name="first", shape=(4,))]


def image(value: int) -> Decoded:
    decoded = decode(np.full((*SIZE, 3), value, np.uint8), preset("keras"), SIZE)
    assert isinstance(decoded, Decoded)
    return decoded


def group(*values: int) -> Group:
    return Group(decoded=tuple(map(image, values)), rejects=())


def network(images: Float32, outputs: Mapping[str, Float32]) -> None:
    """Fill each image's outputs with its first sample."""
    assert images.shape[1:] == (*SIZE, 3)
    assert images.flags.c_contiguous
    for output in outputs.values():
        assert output.flags.c_contiguous
        output[...] = images[:, 0, 0, 0].reshape(-1, *[1] * (output.ndim - 1))


def first_sample(value: int) -> np.float32:
    sample: np.float32 = normalize(np.full((1, 1, 3), value, np.uint8))[0, 0, 0]
    return sample


def test_groups_of_any_size_give_a_row_for_each_image() -> None:
    inference = Inference(network, LAYERS, SIZE)
    for values in ([5], [1, 2, 3], [4], [], [9, 8]):
        activations = inference(group(*values))
        expected = np.array([first_sample(value) for value in values], np.float32)
        assert activations.layers["sum"].shape == (len(values), 6)
        assert activations.layers["first"].shape == (len(values), 4)
        for rows in activations.layers.values():
            assert (rows == expected[:, None]).all()
        assert len(activations.rows) == len(values)


def test_a_result_is_valid_until_the_call_after_next() -> None:
    inference = Inference(network, LAYERS, SIZE)
    first = inference(group(1, 2))
    kept = first.layers["sum"].copy()
    later = [inference(group(7, 8)) for _ in range(BUFFERS - 1)]
    assert (first.layers["sum"] == kept).all()
    last = inference(group(3, 4))
    assert np.shares_memory(last.layers["sum"], first.layers["sum"])
    assert all((one.layers["sum"][0] == first_sample(7)).all() for one in later)


def test_too_little_memory_is_reported_in_one_line() -> None:
    with pytest.raises(ProviderError, match="use a smaller batch") as caught:
        empty_outputs([Layer(name="huge", shape=(1 << 40, 1 << 20))], 1, SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "provider", "expected"),
    [
        ((7, 7, 512), "CPUExecutionProvider", 8),
        ((7, 7, 512), "CUDAExecutionProvider", 32),
        ((512, 1024, 64), "CPUExecutionProvider", 2),
        ((4096, 4096, 64), "CUDAExecutionProvider", 1),
    ],
)
def test_a_batch_s_outputs_stay_within_a_quarter_of_a_gigabyte(
    shape: tuple[int, ...], provider: str, expected: int
) -> None:
    assert choose_batch_size([Layer(name="layer", shape=shape)], provider) == expected


def test_a_batch_s_inner_tensors_stay_within_half_a_gigabyte() -> None:
    outputs = [Layer(name="block5_pool", shape=(32, 32, 512))]
    for extent, expected in ((224, 8), (1024, 2), (4096, 1)):
        largest = Layer(name="block1_conv1", shape=(extent, extent, 64))
        assert choose_batch_size(outputs, "CPUExecutionProvider", largest=largest) == expected
