from pathlib import Path

import numpy as np
import scipy.sparse

from sparsefeat.store import Store
from sparsefeat.viz.report.sizes import measure_sizes

from ...store.data import SMALL, dense_rows, make_batch, write_store
from .conftest import Real


def on_disk(folder: Path, pattern: str = "**/*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def test_sizes_are_what_is_on_disk_and_in_memory(real: Real) -> None:
    sizes = real.report.sizes
    assert sizes.total == on_disk(real.folder, "parts/**/*")
    assert (sizes.others, sizes.others_stored) == (0, 0)
    for size in sizes.layers:
        x = real.dense[size.layer]
        rows = scipy.sparse.csr_array(x.reshape(len(x), -1))
        assert size.dense == x.nbytes
        pointers = 8 * (len(x) + 1)
        assert size.csr == rows.data.nbytes + 4 * len(rows.indices) + pointers
        key = size.layer.replace("/", ".")
        assert size.stored == on_disk(real.folder, f"parts/*/obsm/{key}/**/*")
    assert sizes.tables == sizes.total - sum(size.stored for size in sizes.layers)
    encodings = {size.layer: size.encoding for size in sizes.layers}
    assert encodings["block5_pool"] == "csr"
    assert encodings["block5_conv3/pre"] == "dense"


def test_layers_left_out_are_counted_as_others(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(9))], rows_per_part=4)
    sizes = measure_sizes(Store(tmp_path), ("block5_pool",))
    assert [size.layer for size in sizes.layers] == ["block5_pool"]
    assert sizes.others == 2
    assert sizes.others_stored == sum(
        on_disk(tmp_path, f"parts/*/obsm/{key}/**/*") for key in ("block5_conv3.pre", "fc")
    )
    assert sizes.layers[0].csr == 8 * np.count_nonzero(dense_rows(SMALL[0], range(9))) + 8 * 10
    assert sizes.total == on_disk(tmp_path, "parts/**/*")
