import pytest

from sparsefeat.store import Store

from ...store.data import make_batch, write_store

ROWS = 23


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("torch") / "features"
    write_store(folder, [make_batch(range(ROWS))], rows_per_part=5)
    return Store(folder)
