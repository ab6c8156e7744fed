import base64
import tracemalloc
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefeat.errors import InputError
from sparsefeat.viz.maps.codes import PER_DECADE, encode, pack

from .made import noise

SMALL = np.float32(2) ** -149


def rounded(values: npt.NDArray[np.float32]) -> list[float]:
    """Round to three significant digits as Python does, from the exact value."""
    return [float(f"{float(value):.2e}") for value in values.ravel()]


def decode(codes: npt.NDArray[np.int16], lowest: int) -> npt.NDArray[np.float64]:
    """Return the values of codes, as the page does."""
    steps = np.abs(codes.astype(np.int64)) - 1
    decades, digits = np.divmod(steps, PER_DECADE)
    numbers = [
        float(f"{digit}e{decade}")
        for digit, decade in zip(
            (digits + 100).ravel().tolist(), (decades + lowest - 2).ravel().tolist(), strict=True
        )
    ]
    decoded: npt.NDArray[np.float64] = np.where(
        codes == 0, 0, np.sign(codes) * np.reshape(numbers, codes.shape)
    )
    return decoded


@settings(deadline=None)
@given(st.lists(st.floats(-(2**40), 2**40, width=32).filter(lambda x: x == 0 or abs(x) > 1e-20)))
def test_decoded_values_are_rounded_to_three_digits(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    codes, lowest = encode(values)
    assert decode(codes, lowest).tolist() == rounded(values)
    assert ((codes == 0) == (values == 0)).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(codes[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("value", [9.994, 9.995, 9.996, 99.95, 999.5, 1000, 1.005, 0.1, 1e-3, 3e38])
def test_values_at_the_edges_of_decades_are_rounded(value: float) -> None:
    values = np.array([value, -value, np.nextafter(np.float32(value), np.float32(0))], np.float32)
    codes, lowest = encode(values)
    assert decode(codes, lowest).tolist() == rounded(values)


def test_tiny_values_do_not_become_zero() -> None:
    codes, _ = encode(np.array([1e30, SMALL, -SMALL, 0.0, -0.0], np.float32))
    assert codes[1:].tolist() == [1, -1, 0, 0]
    alone, lowest = encode(np.array([SMALL], np.float32))
    assert decode(alone, lowest).tolist() == [1.40e-45]
    assert encode(np.zeros((2, 3), np.float32))[0].tolist() == [[0] * 3] * 2


def test_packed_maps_are_compressed_byte_planes() -> None:
    values = noise(4, 5, 3)
    done = pack(values, most=1000)
    assert done is not None
    assert pack(values, most=len(done.text)) == done
    assert pack(values, most=len(done.text) - 1) is None
    planes = np.frombuffer(zlib.decompress(base64.b64decode(done.text)), np.uint8).reshape(2, 60)
    codes = (planes[0] | planes[1].astype(np.uint16) << 8).astype(np.int16).reshape(3, 4, 5)
    shown = np.moveaxis(decode(codes, done.lowest), 0, -1)
    assert shown.ravel().tolist() == rounded(values)


def test_all_channels_share_the_lowest_decade() -> None:
    values = np.array([[[1e-5, -1e5, 0.0]]], np.float32)
    done = pack(values, most=1000)
    assert done is not None
    planes = np.frombuffer(zlib.decompress(base64.b64decode(done.text)), np.uint8).reshape(2, 3)
    codes = (planes[0] | planes[1].astype(np.uint16) << 8).astype(np.int16)
    assert decode(codes, done.lowest).tolist() == rounded(values)


def test_packing_takes_little_memory() -> None:
    values = noise(112, 112, 64)
    tracemalloc.start()
    try:
        assert pack(values, most=10_000_000) is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * values.nbytes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="infinite or not a number"):
        encode(np.array([1.0, value], np.float32))
    with pytest.raises(InputError, match="infinite or not a number"):
        pack(np.array([[[1.0, value]]], np.float32), most=1000)
