import math
from typing import Any

import msgspec
import numpy as np
import pytest

from sparsefeat.errors import InputError
from sparsefeat.store.format.values import Loss, Values
from sparsefeat.types import Batch, Layer
from sparsefeat_kernels import Csr, encode

from ..data import make_row


def batch(x: Any, name: str = "x") -> Batch[Csr]:
    rows = np.asarray(x, np.float32)
    return Batch(rows=tuple(map(make_row, range(len(rows)))), layers={name: encode(rows)})


def check(values: Values, given: Batch[Csr]) -> None:
    values.check(given.rows, given.layers)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("float32", "float32"),
        ("float16", "float16"),
        ("bfloat16", "bits:7"),
        ("bits:1", "bits:1"),
        ("bits:22", "bits:22"),
        ("bits:23", "float32"),
        ("uint8", "uint8"),
    ],
)
def test_choices_are_parsed_and_printed(text: str, same: str) -> None:
    values = Values.parse(text)
    assert str(values) == same
    assert Values.parse(same) == values
    assert values.lossless == (same == "float32")


@pytest.mark.parametrize(
    "text", ["", "f32", "bits:0", "bits:24", "bits:07", "bits:", "int8", "bits:-1"]
)
def test_invalid_choices_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected float32, float16, bfloat16, bits:1 to bits:23"):
        Values.parse(text)


@pytest.mark.parametrize(("kind", "bits"), [("bits", 0), ("bits", 23), ("uint8", 7), ("int4", 23)])
def test_invalid_combinations_are_refused(kind: Any, bits: int) -> None:
    with pytest.raises(InputError, match="bits of 1 to 22"):
        Values(kind=kind, bits=bits)


def test_values_beyond_float16_are_named() -> None:
    values = Values.parse("float16")
    check(values, batch([[1, 0], [65519, np.inf]]))
    with pytest.raises(InputError, match=r"bild-1-ä\.jpg' has the value 65520 in x, beyond 65,504"):
        check(values, batch([[1, 0], [-0.0, 65520]]))
    with pytest.raises(InputError, match="has the value -70000 in x"):
        check(values, batch([[-70000, 0]]))


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf])
def test_values_that_uint8_can_not_store_are_named(value: float) -> None:
    values = Values.parse("uint8")
    check(values, batch([[1, 0], [1e38, 1e-45]]))
    with pytest.raises(InputError, match="not a positive number, as uint8 holds them: choose"):
        check(values, batch([[1, 0], [0, value]]))
    for other in ("float32", "float16", "bits:3"):
        check(Values.parse(other), batch([[value]]))


def test_uint8_refuses_pre_activations() -> None:
    layers = [Layer(name="block5_conv3", shape=(1,)), Layer(name="block5_conv3/pre", shape=(1,))]
    Values.parse("uint8").check_layers(layers[:1])
    Values.parse("bits:7").check_layers(layers)
    with pytest.raises(InputError, match="layer block5_conv3/pre has negative values"):
        Values.parse("uint8").check_layers(layers)


def test_the_loss_of_rows_is_measured() -> None:
    csr = encode(np.array([[3, 0, 4], [0, 0, 0], [1, 0, 0]], np.float32))
    loss = Loss.of(csr, np.array([3, 5, 1], np.float32))
    assert loss.rows == 3
    assert loss.relative_l2 == 1 / 5
    cosine = 29 / (5 * math.sqrt(34))
    assert loss.cosine_min == pytest.approx(cosine, rel=1e-12)
    assert loss.cosine_mean == pytest.approx((cosine + 2) / 3, rel=1e-12)
    assert msgspec.convert(loss.to_json(), Loss) == loss


def test_losses_of_batches_are_combined() -> None:
    csr = encode(np.array([[3, 0, 4], [0, 0, 0], [1, 0, 2]], np.float32))
    stored = np.array([3, 5, 1, 2.5], np.float32)
    whole = Loss.of(csr, stored)
    first, rest = csr.rows(0, 1), csr.rows(1, 3)
    both = Loss.of(first, stored[:2]) + Loss.of(rest, stored[2:])
    assert both.rows == whole.rows
    assert both.relative_l2 == whole.relative_l2
    assert both.cosine_min == whole.cosine_min
    assert both.cosine_mean == pytest.approx(whole.cosine_mean, rel=1e-12)
    assert Loss() + whole == whole


def test_rows_that_are_not_finite_do_not_count_as_loss() -> None:
    csr = encode(np.array([[3, np.nan, 4, np.inf]], np.float32))
    assert Loss.of(csr, csr.data) == Loss(rows=1)


def test_no_rows_have_no_loss() -> None:
    empty = Csr(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 4)
    assert Loss.of(empty, empty.data) == Loss()


@pytest.mark.parametrize(
    "change", [{"rows": -1}, {"rows": True}, {"relative_l2": None}, {"cosine_min": "1"}]
)
def test_an_invalid_loss_is_refused(change: dict[str, Any]) -> None:
    fields: dict[str, object] = {**Loss(rows=1).to_json(), **change}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, Loss)
