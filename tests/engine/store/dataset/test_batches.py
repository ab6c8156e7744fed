import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefeat.errors import InputError, LayerError, StoreMemoryError
from sparsefeat.store import Store
from sparsefeat.system.threads import available_threads
from sparsefeat.types import Layer

from ..data import bytes_read, make_batch, write_store

ROWS = 23
WIDE = Layer(name="wide", shape=(200_000,))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("batches") / "features"
    write_store(folder, [make_batch(range(ROWS))], rows_per_part=5)
    return Store(folder)


def size(matrix: Any) -> int:
    if isinstance(matrix, np.ndarray):
        return matrix.nbytes
    return sum(array.nbytes for array in (matrix.data, matrix.indices, matrix.indptr))


@settings(deadline=None, max_examples=40)
@given(
    rows=st.none() | st.lists(st.integers(-ROWS, ROWS - 1)),
    memory=st.none() | st.integers(600, 6000),
    batch_size=st.none() | st.integers(1, ROWS + 1),
)
def test_batches_together_are_the_layer(
    store: Store,
    rows: list[int] | None,
    memory: int | None,
    batch_size: int | None,
) -> None:
    ascending = sorted(number % ROWS for number in (range(ROWS) if rows is None else rows))
    wanted: Any = slice(None) if rows is None else rows
    caps: dict[str, Any] = {"memory": memory, "batch_size": batch_size}
    sparse = [*store["block5_pool"].batches(wanted, **caps)]
    dense = [*store["block5_pool"].dense_batches(wanted, **caps)]
    for found in (sparse, dense):
        assert [number for numbers, _ in found for number in numbers] == ascending
        for numbers, matrix in found:
            assert numbers.dtype == np.int64
            assert 0 < len(numbers) <= (batch_size or ROWS * 99)
            assert memory is None or size(matrix) <= memory
    for numbers, matrix in sparse:
        expected = store["block5_pool"][numbers]
        assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
        assert matrix.has_canonical_format
        assert matrix.shape == expected.shape
        np.testing.assert_array_equal(matrix.toarray(), expected.toarray())
    for numbers, array in dense:
        np.testing.assert_array_equal(array, store["block5_pool"].to_numpy(numbers))


def test_batches_are_as_large_as_memory_allows(store: Store) -> None:
    memory = 1000
    found = [*store["block5_pool"].batches(memory=memory)]
    assert len(found) > 2
    for (numbers, _), (following, _) in pairwise(found):
        assert size(store["block5_pool"][[*numbers, following[0]]]) > memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_small_batches_are_read_together(store: Store) -> None:
    layer, costs = store["block5_pool"], []
    layer[:]  # row starts are cached from here on
    for read in (lambda: [layer[:]], lambda: [*layer.batches(batch_size=2)]):
        before = bytes_read()
        found = read()
        costs.append(bytes_read() - before)
    assert len(found) == 12
    assert 0 < costs[1] <= 1.1 * costs[0]


@pytest.mark.parametrize("method", ["batches", "dense_batches"])
def test_a_row_that_does_not_fit_is_refused_at_once(store: Store, method: str) -> None:
    with pytest.raises(
        InputError, match=r"row \d+ of fc takes .* say memory=\d+ or more"
    ) as raised:
        getattr(store["fc"], method)([7, 9], memory=100)
    least = int(str(raised.value).split("memory=")[2].split()[0])
    assert len([*getattr(store["fc"], method)([7, 9], memory=least)]) == 2


@pytest.mark.parametrize("caps", [{"memory": 0}, {"memory": 1.5}, {"batch_size": 0}])
def test_wrong_limits_are_refused(store: Store, caps: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"got {next(iter(caps))}="):
        store["fc"].batches(**caps)


def test_a_wrong_layer_or_row_is_refused_at_once(store: Store) -> None:
    with pytest.raises(LayerError):
        store["nothing"].batches()
    with pytest.raises(InputError):
        store["fc"].dense_batches([ROWS])


def test_the_store_s_own_memory_limit_applies_too(store: Store) -> None:
    tight = Store(store.folder, memory_limit=700)
    assert len([*tight["fc"].batches()]) > 10
    assert len([*tight["fc"].dense_batches(batch_size=1)]) == ROWS
    assert all(size(matrix) <= 700 for _, matrix in tight["fc"].batches(batch_size=10))
    with pytest.raises(StoreMemoryError):
        next(Store(store.folder, memory_limit=300)["fc"].batches(batch_size=10))


def sparse_rows(layer: Layer, numbers: Any) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(0).random((len(numbers), layer.n_features), np.float32)
    return np.where(drawn < 0.2, drawn, np.float32(0))


@pytest.mark.parametrize("caps", [{"memory": 4 << 20}, {"memory": 4 << 20, "batch_size": 2}])
def test_memory_stays_below_the_limit(tmp_path: Path, caps: dict[str, Any]) -> None:
    n_rows = 96  # 31 MB as CSR
    for start in range(0, n_rows, 32):
        batch = make_batch(range(start, start + 32), [WIDE], make=sparse_rows)
        write_store(tmp_path, [batch], [WIDE])
    store = Store(tmp_path)
    seen = [numbers for numbers, _ in store["wide"].batches([0, 40, 95], **caps)]  # warmed up
    tracemalloc.start()
    for numbers, matrix in store["wide"].batches(**caps):
        seen.append(numbers)
        del matrix
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, seen)) == n_rows + 3
    assert size(store["wide"][:]) > 28 << 20
    # In addition, each thread decodes a chunk of 1 MiB at a time.
    assert peak < caps["memory"] + available_threads() * (3 << 20)
