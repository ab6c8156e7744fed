import re
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import InputError, StoreCorruptError, StoreMemoryError
from sparsefeat.store import Store, open_store
from sparsefeat.store.dataset import rows
from sparsefeat.store.dataset.rows import HARMLESS, csr_bytes, fitting, require_memory

from ...refusals import no_more_than
from ..data import make_batch, part_folders, write_store

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


def test_a_refused_matrix_is_not_read(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(ROWS))])
    for chunk in part_folders(tmp_path)[0].glob("obsm/fc/**/c.*"):
        chunk.write_bytes(b"damaged")
    with pytest.raises(StoreCorruptError):
        _ = Store(tmp_path)["fc"][:]
    with pytest.raises(MemoryError):
        _ = Store(tmp_path, memory_limit=100)["fc"][:]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_default_limit_is_three_quarters_of_available_memory() -> None:
    """Available memory is limited by a limit of this process."""
    require = partial(require_memory, layer="x", n_rows=3, form="a CSR matrix")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with no_more_than(resource.RLIMIT_AS, used + (400 << 20)):
        require(290 << 20, None)
        with pytest.raises(StoreMemoryError, match="three quarters of what is available"):
            require(301 << 20, None)
        require(301 << 20, 1 << 40)
    with no_more_than(resource.RLIMIT_AS, used + (40 << 20)):
        require(HARMLESS, None)
        with pytest.raises(StoreMemoryError, match="three quarters of what is available"):
            require(HARMLESS + 1, None)


def test_unknown_available_memory_means_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "available_memory", lambda: None)
    require_memory(1 << 60, None, layer="x", n_rows=3, form="a CSR matrix")


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1 GB", True])
def test_invalid_limits_are_refused(folder: Path, limit: Any) -> None:
    with pytest.raises(InputError, match="memory_limit="):
        Store(folder, memory_limit=limit)


def test_an_index_past_int32_takes_eight_bytes() -> None:
    assert csr_bytes(1, 2**31 - 1, 10) == (2**31 - 1) * 8 + 2 * 4
    assert csr_bytes(1, 2**31, 10) == 2**31 * 12 + 2 * 8


def test_batches_are_as_long_as_the_limit_allows() -> None:
    sizes = np.array([5, 5, 1, 20, 5, 5, 5], np.int64)
    assert fitting(sizes, 11, overhead=0) == [(0, 3), (3, 4), (4, 6), (6, 7)]
    assert fitting(sizes, 11, overhead=1) == [(0, 2), (2, 3), (3, 4), (4, 6), (6, 7)]
    assert fitting(sizes, 11, overhead=0, most_rows=2)[0] == (0, 2)
    assert fitting(sizes[:0], 11, overhead=0) == []
