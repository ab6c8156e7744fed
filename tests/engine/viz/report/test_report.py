import json
from pathlib import Path

import numpy as np
import pytest

import sparsefeat
from sparsefeat import build_report
from sparsefeat.errors import InputError, LayerError, StoreNotFoundError
from sparsefeat.types import Layer

from ...store.data import SMALL, dense_rows, make_batch, make_reject, write_store
from .conftest import Real


def test_counts_equal_numpy_s(real: Real) -> None:
    """Compared with the network's dense outputs, which were never stored."""
    assert list(real.report.zeros) == list(real.dense)
    for name, x in real.dense.items():
        zero, zeros = x == 0, real.report.zeros[name]
        shares = zero.reshape(len(x), -1).mean(axis=1)
        assert zeros.sparsity == np.mean(zero)
        assert zeros.row_sparsity.tolist() == shares.tolist()
        assert zeros.spread.median == np.median(shares)
        assert zeros.per_channel.tolist() == zero.sum(axis=(0, 1, 2)).tolist()
        assert zeros.position_sparsity is not None
        np.testing.assert_array_equal(zeros.position_sparsity, zero.mean(axis=(0, 3)))
        active = (~zero).any(axis=(1, 2))
        assert zeros.active_rows is not None
        assert zeros.active_rows.tolist() == active.sum(axis=0).tolist()
        assert zeros.dead.tolist() == np.flatnonzero(~active.any(axis=0)).tolist()
        assert zeros.always_on is not None
        assert zeros.always_on.tolist() == np.flatnonzero(active.all(axis=0)).tolist()


def test_images_are_ranked_by_the_deepest_layer_after_relu(real: Real) -> None:
    found = real.report
    shares = (real.dense["block5_pool"] == 0).mean(axis=(1, 2, 3))
    assert found.ranked_by == "block5_pool"
    order = np.argsort(shares)
    assert list(found.sparsest) == order[::-1][:3].tolist()
    assert list(found.densest) == order[:3].tolist()
    assert [found.images[row].path for row in range(6)] == real.names
    assert all(image.thumbnail.src for image in found.images.values())
    assert found.images[real.names.index("coffee.png")].width == 600


def test_rejects_and_provenance_are_reported(real: Real) -> None:
    found = real.report
    assert found.rejects.reasons == {"not an image": 1}
    assert found.rejects.first == (("zz-broken.jpg", "not an image"),)
    assert len(found.provenance) == found.n_parts == 2
    assert found.provenance[0]["provider"] == "CPUExecutionProvider"
    assert found.outliers == ()  # six images are too few for outliers


def test_the_json_has_the_same_numbers(real: Real) -> None:
    document = json.loads(json.dumps(real.report.to_json(), allow_nan=False))
    x = real.dense["block5_pool"]
    layer = document["layers"]["block5_pool"]
    assert layer["zeros"] == np.mean(x == 0)
    assert layer["zeros_per_channel"] == (x == 0).sum(axis=(0, 1, 2)).tolist()
    assert layer["zeros_per_position"] == (x == 0).sum(axis=(0, 3)).tolist()
    assert layer["active_images_per_channel"] == (x != 0).any(axis=(1, 2)).sum(axis=0).tolist()
    assert document["n_images"] == len(x)
    counted = sparsefeat.analyse(real.folder).to_json()["layers"]
    assert document["layers"] == json.loads(json.dumps(counted))
    assert layer["never_zero"] == np.flatnonzero((x != 0).all(axis=(0, 1, 2))).tolist()
    first = document["sparsest"][0]
    assert first["path"] == real.names[first["row"]]
    assert first["zeros"] == np.mean(x[first["row"]] == 0)
    assert document["sizes"]["layers"][0]["layer"] == "block1_pool"


def test_some_layers_of_many_parts_are_reported(tmp_path: Path) -> None:
    batches = [make_batch([number]) for number in range(23)]
    write_store(tmp_path / "s", batches, rows_per_part=2)
    seen: list[tuple[int, int, str]] = []
    found = build_report(
        tmp_path / "s",
        layers="block5_*,fc",
        progress=lambda done, total, name: seen.append((done, total, name)),
    )
    assert list(found.zeros) == ["block5_pool", "fc"]
    assert (found.n_rows, found.n_parts) == (23, 12)
    assert seen[-1] == (46, 46, "fc")
    assert found.ranked_by == "block5_pool"  # nothing is zero in fc
    x = dense_rows(SMALL[0], range(23))
    assert found.zeros["block5_pool"].per_row.tolist() == (x == 0).sum(axis=1).tolist()
    assert found.sparsest[0] == int((x == 0).sum(axis=1).argmax())
    assert {image.thumbnail.missing for image in found.images.values()} == {"no such file"}
    with pytest.raises(LayerError, match="block5_pool"):
        build_report(tmp_path / "s", layers="block6_pool")


def test_an_unusual_image_is_found(tmp_path: Path) -> None:
    def make(layer: Layer, numbers: object) -> object:
        rows = dense_rows(layer, range(30))
        rows[17] = 1
        return rows

    layer = SMALL[0]
    write_store(tmp_path / "s", [make_batch(range(30), [layer], make=make)], [layer])  # type: ignore[arg-type]
    found = build_report(tmp_path / "s")
    assert [outlier.row for outlier in found.outliers] == [17]
    assert found.outliers[0].zeros == 0
    assert found.outliers[0].path == found.images[17].path == "folder 2/bild-17-ä.jpg"


def test_a_store_of_rejects_alone_has_a_report(tmp_path: Path) -> None:
    rejects = [make_reject(number, reason=f"reason {number % 2}") for number in range(31)]
    write_store(tmp_path / "s", [make_batch([], rejects=rejects)])
    found = build_report(tmp_path / "s")
    assert found.n_rows == 0
    assert found.rejects.count == 31
    assert found.rejects.reasons == {"reason 0": 16, "reason 1": 15}
    assert len(found.rejects.first) == 20
    assert found.images == {}
    assert json.dumps(found.to_json(), allow_nan=False)


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a whole number of at least 0"):
        build_report(tmp_path, seed=-1)


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        build_report(tmp_path)
