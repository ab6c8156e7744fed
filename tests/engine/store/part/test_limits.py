import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import InputError, StoreMemoryError
from sparsefeat.store import Store, open_store
from sparsefeat.store.dataset import batches
from sparsefeat.store.dataset.batches import csr_bytes, fitting, require_memory

from ..data import make_batch, write_store

ROWS = 12
Read = Callable[[Store], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits") / "features"
    write_store(folder, [make_batch(range(ROWS))], rows_per_part=5)
    return folder


def size(matrix: Any) -> int:
    return sum(array.nbytes for array in (matrix.data, matrix.indices, matrix.indptr))


READS: dict[str, tuple[Read, Read]] = {
    "csr": (lambda store: store["block5_pool"][:], lambda store: store["block5_pool"][::2]),
    "dense": (lambda store: store["fc"].to_numpy(), lambda store: store["fc"].to_numpy([3])),
}


@pytest.mark.parametrize("form", READS)
def test_a_matrix_may_take_exactly_the_limit(folder: Path, form: str) -> None:
    read, read_less = READS[form]
    whole = read(Store(folder))
    needed = whole.nbytes if isinstance(whole, np.ndarray) else size(whole)
    read(Store(folder, memory_limit=needed))
    tight = open_store(folder, memory_limit=needed - 1)
    with pytest.raises(StoreMemoryError) as raised:
        read(tight)
    message = str(raised.value)
    assert message.count("\n") == 0
    assert message.startswith("12 rows of ")
    assert re.search(r"fewer rows.*store\['\w+'\]\.batches\(\).*larger memory_limit", message)
    read_less(tight)


def test_nothing_is_read_of_what_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: object) -> None:
        raise AssertionError("reads")

    monkeypatch.setattr("sparsefeat.store.dataset.view.read_csr", read)
    with pytest.raises(MemoryError):
        _ = Store(folder, memory_limit=100)["fc"][:]


def test_by_default_three_quarters_of_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    described = {"layer": "x", "n_rows": 3, "form": "a CSR matrix"}
    monkeypatch.setattr(batches, "available_memory", lambda: 400 << 20)
    require_memory(300 << 20, None, **described)  # type: ignore[arg-type]
    with pytest.raises(StoreMemoryError, match="three quarters of what is available"):
        require_memory((300 << 20) + 1, None, **described)  # type: ignore[arg-type]
    require_memory((300 << 20) + 1, 1 << 40, **described)  # type: ignore[arg-type]
    monkeypatch.setattr(batches, "available_memory", lambda: None)
    require_memory(1 << 60, None, **described)  # type: ignore[arg-type]
    monkeypatch.setattr(batches, "available_memory", lambda: 0)
    require_memory(batches.HARMLESS, None, **described)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1 GB", True])
def test_a_limit_is_a_number_of_bytes(folder: Path, limit: Any) -> None:
    with pytest.raises(InputError, match="memory_limit="):
        Store(folder, memory_limit=limit)


def test_an_index_past_int32_takes_eight_bytes() -> None:
    assert csr_bytes(1, 2**31 - 1, 10) == (2**31 - 1) * 8 + 2 * 4
    assert csr_bytes(1, 2**31, 10) == 2**31 * 12 + 2 * 8


def test_batches_are_as_long_as_they_can_be() -> None:
    sizes = np.array([5, 5, 1, 20, 5, 5, 5], np.int64)
    assert fitting(sizes, 11, overhead=0) == [(0, 3), (3, 4), (4, 6), (6, 7)]
    assert fitting(sizes, 11, overhead=1) == [(0, 2), (2, 3), (3, 4), (4, 6), (6, 7)]
    assert fitting(sizes, 11, overhead=0, most_rows=2)[0] == (0, 2)
    assert fitting(sizes[:0], 11, overhead=0) == []
