"""Values in fewer bits and as codes are written to a store and read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefeat.errors import InputError, StoreCorruptError, StoreError, StoreMismatchError
from sparsefeat.storage import LocalStorage
from sparsefeat.store import Store, StoreWriter, info, verify
from sparsefeat.store.dataset.log import Log, claim
from sparsefeat.store.dataset.snapshot import Change
from sparsefeat.store.format.arrays import ArrayMetadata, Chain
from sparsefeat.store.format.chunks import encode_chunk
from sparsefeat.store.format.values import CodedValues, Loss, Values
from sparsefeat.store.maintenance.compact import common_encoder
from sparsefeat.store.part.encoders import SquareEncoder, square_scales
from sparsefeat.store.part.layers import encoding
from sparsefeat.store.part.read import Part
from sparsefeat.store.part.write import PartLimits, PartWriter
from sparsefeat.types import Batch, ChannelScales, Layer
from sparsefeat_kernels import encode, round_half, round_mantissa, to_dense, update_maxima

from ..data import (
    assert_same_floats,
    edit_root,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_store,
)
from .test_anndata import nodes_of, read_with_anndata

Float32 = npt.NDArray[np.float32]

SPARSE = Layer(name="sparse", shape=(12, 12, 16))
DENSE = Layer(name="dense", shape=(3, 3, 5))
LAYERS = (SPARSE, DENSE)
SCALES = ChannelScales(scales=(1.5 * 2.0 ** np.arange(-8, 8)).astype(np.float32))


def activations(layer: Layer, numbers: Sequence[int]) -> Float32:
    """Make rows from their numbers, some with larger values than all before."""
    out = np.empty((len(numbers), layer.n_features), np.float32)
    for index, number in enumerate(numbers):
        rng = np.random.default_rng((number, layer.n_features))
        values = rng.normal(size=layer.n_features)
        values = np.abs(values) + 0.1 if layer is DENSE else np.maximum(values - 1.8, 0)
        out[index] = 30 * (1 + number) * values
    return out


def whole_multiples(layer: Layer, numbers: Sequence[int]) -> Float32:
    """Make whole multiples of SCALES in the sparse layer."""
    if layer is DENSE:
        return activations(layer, numbers)
    whole = np.random.default_rng(numbers[0]).integers(0, 256, (len(numbers), 144, 16))
    whole[whole < 245] = 0
    return (whole.astype(np.float32) * SCALES.scales).reshape(len(numbers), -1)


def write(folder: Path, values: str, make: Any = activations, **options: Any) -> Store:
    batches = [make_batch(rows, LAYERS, make=make) for rows in ([0], range(1, 20), range(20, 33))]
    write_store(folder, batches, LAYERS, values=values, rows_per_part=12, **options)
    report = verify(folder)
    assert report.findings == ()
    return Store(folder)


def layer_facts(folder: Path, layer: str) -> Any:
    facts: Any = info(folder)
    return facts["layers"][layer]


def relative(got: Float32, expected: Float32) -> npt.NDArray[np.float64]:
    wide = expected.astype(np.float64)
    errors: npt.NDArray[np.float64] = np.linalg.norm(got - wide, axis=1) / np.linalg.norm(
        wide, axis=1
    )
    return errors


@pytest.mark.parametrize(
    ("values", "worst"),
    [("float16", 5e-4), ("bfloat16", 4e-3), ("bits:1", 0.25), ("bits:16", 1e-5), ("uint8", 2e-2)],
)
def test_values_and_their_loss_are_stored(tmp_path: Path, values: str, worst: float) -> None:
    store = write(tmp_path, values)
    assert len(store.parts) == 3
    assert info(tmp_path)["values"] == str(Values.parse(values))
    for layer in LAYERS:
        expected = activations(layer, range(33))
        got = store[layer.name].to_scipy().toarray()
        np.testing.assert_array_equal(got != 0, expected != 0)
        assert_same_floats(store[layer.name].to_numpy().reshape(33, -1), got)
        for rows in (5, [31, 2, 2], slice(7, 29, 3)):
            some = np.atleast_2d(got[rows])
            assert_same_floats(store[layer.name][rows].toarray(), some)
            assert_same_floats(store[layer.name].to_numpy(rows).reshape(len(some), -1), some)
        np.testing.assert_array_equal(
            store[layer.name].zeros().per_row, (expected == 0).sum(axis=1)
        )
        errors = relative(got, expected)
        loss = layer_facts(tmp_path, layer.name)["loss"]
        assert loss["rows"] == 33
        assert loss["relative_l2"] == pytest.approx(errors.max(), rel=1e-6)
        assert 0 < errors.max() < worst
        wide = expected.astype(np.float64)
        norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(got.astype(np.float64), axis=1)
        cosines = (got * wide).sum(axis=1) / norms
        assert loss["cosine_min"] == pytest.approx(cosines.min(), abs=1e-9)
        assert loss["cosine_mean"] == pytest.approx(cosines.mean(), abs=1e-9)


@pytest.mark.parametrize("values", ["float16", "bits:9", "uint8"])
def test_anndata_reads_rounded_values_and_codes(tmp_path: Path, values: str) -> None:
    """Rounded values are read directly; a line of NumPy computes values from codes."""
    store = write(tmp_path / "store", values)
    part = part_folders(tmp_path / "store")[0]
    _, arrays = read_with_anndata(part, tmp_path)
    stored = store.parts[0].layers
    for layer in LAYERS:
        got = arrays[layer.name]
        if isinstance(stored[layer.name].values, CodedValues):
            assert got.dtype == np.uint8
            scales = store.parts[0].scales(layer.name)
            got = np.tile(scales, layer.n_features // len(scales)) * got.astype(np.float32) ** 2
        assert_same_floats(got, store[layer.name][:12].toarray())


def test_float16_is_stored_in_two_bytes(tmp_path: Path) -> None:
    store = write(tmp_path, "float16")
    assert [stored.encoding for stored in store.parts[0].header.layers] == ["csr", "dense"]
    for array in ("obsm/sparse/data", "obsm/dense"):
        node = nodes_of(part_folders(tmp_path)[0])[array]
        assert node["data_type"] == "float32"
        astype, _, blosc, _ = node["codecs"]
        assert astype["name"] == "numcodecs.astype"
        assert astype["configuration"] == {"encode_dtype": "<f2", "decode_dtype": "<f4"}
        assert blosc["configuration"]["typesize"] == 2
    expected = round_half(activations(DENSE, range(33)).reshape(-1)).reshape(33, -1)
    assert_same_floats(store["dense"].to_scipy().toarray(), expected)


def test_rounded_values_are_float32_for_every_reader(tmp_path: Path) -> None:
    store = write(tmp_path, "bits:5")
    expected = round_mantissa(activations(SPARSE, range(33)).reshape(-1), 5).reshape(33, -1)
    assert_same_floats(store["sparse"].to_scipy().toarray(), expected)


def test_linear_codes_are_lossless(tmp_path: Path) -> None:
    store = write(tmp_path, "float32", whole_multiples, scales={"sparse": SCALES, "dense": SCALES})
    stored = store.parts[1].layers["sparse"]
    assert stored.values == CodedValues(companding="linear", code_dtype="uint8")
    assert store.parts[1].layers["dense"].values is None
    for part in store.parts:
        assert part.array("obsm/sparse/data").metadata.dtype == np.uint8
        assert_same_floats(part.scales("sparse"), SCALES.scales)
    expected = np.concatenate(
        [whole_multiples(SPARSE, r) for r in ([0], range(1, 20), range(20, 33))]
    )
    assert_same_floats(store["sparse"].to_scipy().toarray(), expected)
    assert_same_floats(store["sparse"].to_numpy().reshape(33, -1), expected)
    facts = layer_facts(tmp_path, "sparse")
    assert (facts["values"], facts["loss"]) == ("uint8 linear codes", None)


def test_codes_beyond_a_byte_take_two(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(40,))
    scales = ChannelScales(scales=np.full(40, 0.125, np.float32), largest=8415)
    for number, density in enumerate((0.3, 1.0)):
        x = np.arange(8320, 8400, dtype=np.float32).reshape(2, 40) / np.float32(8)
        x[np.random.default_rng(0).random(x.shape) >= density] = 0
        folder = tmp_path / str(number)
        batch = make_batch(range(2), [layer], make=lambda *_, x=x: x)
        write_store(folder, [batch], [layer], scales={"x": scales})
        (part,) = Store(folder).parts
        assert part.layers["x"].dtype == np.uint16
        assert_same_floats(Store(folder)["x"].to_scipy().toarray(), x)
        assert_same_floats(Store(folder)["x"].to_numpy(), x)
        assert verify(folder).findings == ()


def test_a_row_without_linear_codes_starts_a_new_part(tmp_path: Path) -> None:
    def make(layer: Layer, numbers: Sequence[int]) -> Float32:
        rows = whole_multiples(layer, numbers)
        for index, number in enumerate(numbers):
            if number == 25 and layer is SPARSE:
                rows[index, 3] = np.float32(1 / 3)
        return rows

    batches = [make_batch(range(start, start + 10), LAYERS, make=make) for start in (0, 10, 20, 30)]
    write_store(tmp_path, batches, LAYERS, scales={"sparse": SCALES})
    store = Store(tmp_path)
    kinds = [part.layers["sparse"].values is not None for part in store.parts]
    assert kinds == [True, False]
    assert [part.header.rows for part in store.parts] == [25, 15]
    expected = np.concatenate([batch.layers["sparse"].data for batch in batches])
    assert_same_floats(store["sparse"].to_scipy().data, expected)
    assert verify(tmp_path).findings == ()


def test_after_a_row_that_does_not_fit_the_layer_stays_float32(tmp_path: Path) -> None:
    """Otherwise rows that don't fit, now and then, would end one small part after another."""

    def make(layer: Layer, numbers: Sequence[int]) -> Float32:
        rows = whole_multiples(SPARSE, numbers)
        for index, number in enumerate(numbers):
            if number % 20 == (9 if layer is layers[0] else 18):
                rows[index, 3] = np.float32(1 / 3)
        return rows

    layers = [Layer(name=name, shape=(12, 12, 16)) for name in ("one", "other")]
    batches = [make_batch([number], layers, make=make) for number in range(40)]
    scales = {layer.name: SCALES for layer in layers}
    write_store(tmp_path, batches, layers, rows_per_part=10, scales=scales)
    parts = Store(tmp_path).parts
    kinds = [[stored.values is not None for stored in part.header.layers] for part in parts]
    assert kinds == [[True, True], [False, True], *[[False, False]] * 3]
    assert [part.header.rows for part in parts] == [9, 9, 10, 10, 2]


def test_first_rows_that_are_not_whole_multiples_are_stored_as_float32(tmp_path: Path) -> None:
    other = ChannelScales(scales=SCALES.scales * np.float32(1.0000001))
    store = write(tmp_path, "float32", whole_multiples, scales={"sparse": other})
    for part in part_folders(tmp_path):
        assert not (part / "uns" / "sparsefeat" / "scales").exists()
    assert_same_floats(store["sparse"][1:20].toarray(), whole_multiples(SPARSE, range(1, 20)))


def test_scales_are_ignored_if_bits_are_dropped(tmp_path: Path) -> None:
    store = write(tmp_path, "bits:3", whole_multiples, scales={"sparse": SCALES})
    assert str(store.parts[0].layers["sparse"].values) == "bits:3"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 16]), st.floats(-36, 37), st.floats(0, 12))
def test_the_error_of_square_codes_is_bounded(
    seed: int, n_channels: int, scale: float, spread: float
) -> None:
    """The error is at most the scale times (code + 1/2), and no code is 0."""
    rng = np.random.default_rng(seed)
    exponents = np.clip(scale + spread * rng.normal(size=(5, 4 * n_channels)), -44.5, 38)
    x = (10**exponents).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = 0
    csr = encode(x)
    maxima = np.zeros(n_channels, np.float32)
    update_maxima(csr, maxima)
    form = SquareEncoder(square_scales(maxima))
    assert form.scales is not None
    assert (np.isfinite(form.scales) & (form.scales > 0)).all()
    codes = form.written(csr).data
    assert set(np.unique(codes)) <= set(range(1, 256))
    channel_scales = form.scales[csr.indices % n_channels]
    values = channel_scales * codes**2
    assert np.isfinite(values).all()
    assert (values > 0).all()
    bound = channel_scales.astype(np.float64) * (codes + 0.5)
    assert (np.abs(values.astype(np.float64) - csr.data) <= bound * (1 + 1e-6)).all()


def test_a_largest_value_that_comes_last_is_not_clipped(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(8,))
    x = np.ones((30, 8), np.float32)
    x[-1] = 1000
    batches = [make_batch([n], [layer], make=lambda _, n: x[n]) for n in range(30)]
    write_store(tmp_path, batches, [layer], values="uint8")
    got = Store(tmp_path)["x"].to_numpy()
    np.testing.assert_allclose(got[-1], 1000, rtol=1e-6)
    assert (np.abs(got[:-1] - 1) <= 1000 / 255**2 * 8.5).all()


def test_a_refused_batch_changes_nothing(tmp_path: Path) -> None:
    layer = Layer(name="x", shape=(2,))
    options: dict[str, Any] = {"layers": [layer], "settings": {}, "provenance": {}}
    batches = [
        Batch(rows=(make_row(n),), layers={"x": encode(np.array([[value, 0]], np.float32))})
        for n, value in enumerate([5, 70_000, 7])
    ]
    with StoreWriter.open(tmp_path, **options, values="float16") as writer:
        assert writer.append(batches[0]) == 1
        with pytest.raises(InputError, match="has the value 70000 in x, beyond 65,504"):
            writer.append(batches[1])
        assert writer.append(batches[2]) == 1
    assert Store(tmp_path)["x"].to_scipy().toarray().tolist() == [[5, 0], [7, 0]]
    assert writer.losses == {"x": Loss(rows=2)}


def test_all_parts_have_the_same_choice_of_values(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0], LAYERS, make=activations)], LAYERS, values="bfloat16")
    again: dict[str, Any] = {"layers": LAYERS, "settings": {"pool": "none"}, "provenance": {}}
    with pytest.raises(StoreMismatchError, match="values: got 'float32', expected 'bits:7'"):
        StoreWriter.open(tmp_path, **again)
    with StoreWriter.open(tmp_path, **again, values="bits:7") as writer:
        writer.append(make_batch([1], LAYERS, make=activations))
    assert len(Store(tmp_path)) == 2


@pytest.mark.parametrize("values", ["float32", "float16", "bits:4", "uint8"])
def test_parts_without_rows_can_have_codes(tmp_path: Path, values: str) -> None:
    empty = make_batch([], LAYERS, [make_reject(1)], activations)
    write_store(tmp_path, [empty], LAYERS, values=values, scales={"sparse": SCALES})
    assert verify(tmp_path).findings == ()
    assert Store(tmp_path)["sparse"].shape == (0, SPARSE.n_features)


@pytest.mark.parametrize("scales", [np.zeros(16), np.full(16, np.nan), np.ones(15)])
def test_damaged_scales_are_found(tmp_path: Path, scales: Float32) -> None:
    write(tmp_path, "uint8")
    put_numbers(tmp_path, 1, "uns/sparsefeat/scales/sparse", scales.astype(np.float32))
    with pytest.raises(StoreCorruptError, match="scales/sparse is damaged"):
        Store(tmp_path)["sparse"][:]
    assert any("scales/sparse is damaged" in str(finding) for finding in verify(tmp_path).findings)


def test_a_code_of_zero_is_found(tmp_path: Path) -> None:
    store = write(tmp_path, "uint8")
    codes = store.parts[0].read("obsm/sparse/data").copy()
    codes[3] = 0
    put_numbers(tmp_path, 0, "obsm/sparse/data", codes)
    assert any("stored zeros" in str(finding) for finding in verify(tmp_path).findings)


def put_numbers(folder: Path, index: int, name: str, numbers: npt.NDArray[Any]) -> None:
    """Replace the numbers of an array, and update all checksums."""
    metadata = ArrayMetadata(
        shape=numbers.shape,
        chunk=numbers.shape,
        file=numbers.shape,
        chain=Chain(dtype=numbers.dtype),
        attributes=encoding("array"),
    )
    file = part_folders(folder)[index] / name / metadata.file_name(0)
    file.write_bytes(encode_chunk(numbers, metadata.chain))
    edit_root(
        folder,
        lambda root: root["consolidated_metadata"]["metadata"].update({name: metadata.to_json()}),
        index,
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "codes", "companding": "cubic", "code_dtype": "uint8"},
        {"kind": "codes", "companding": "linear", "code_dtype": "int64"},
        {"kind": "codes", "code_dtype": "uint8"},
        {"kind": "bits"},
        {"kind": "bits", "bits": -1},
        {"kind": "float8"},
        {},
        [],
        {"kind": "float16", "loss": {"rows": "1"}},
    ],
)
def test_an_invalid_description_of_values_is_damage(tmp_path: Path, entry: object) -> None:
    write(tmp_path, "float16")

    def edit(root: Any) -> None:
        root["attributes"]["sparsefeat"]["layers"][0]["values"] = entry

    edit_root(tmp_path, edit)
    with pytest.raises(StoreError, match="is damaged"):
        Store(tmp_path)["sparse"][:]


def rewrite(store: Store, folder: Path, parts: list[Part]) -> Store:
    """Join several parts into one."""
    forms = {layer.name: common_encoder(parts, layer.name) for layer in LAYERS}
    values = Values.parse(parts[0].header.values)
    limits = PartLimits(rows=1000, n_bytes=1 << 30)
    storage = LocalStorage(folder)
    claim(storage)
    writer = PartWriter(storage, LAYERS, limits, values, encoders=forms)
    number = 0
    for part in parts:
        rows = part.header.rows
        layers = {layer.name: part.rows(layer.name, 0, rows) for layer in LAYERS}
        writer.append([make_row(number + n) for n in range(rows)], layers)
        number += rows
    entry, _ = writer.finish(store.settings, {})
    change = Change(operation="test", parts=[entry])
    Log(storage).create(store.settings, LAYERS, store.snapshot.values, change)
    assert verify(folder).findings == ()
    return Store(folder)


@pytest.mark.parametrize("values", ["float32", "float16", "bits:3", "bits:20"])
def test_rounded_values_are_copied(tmp_path: Path, values: str) -> None:
    store = write(tmp_path / "store", values)
    again = rewrite(store, tmp_path / "again", list(store.parts))
    for layer in LAYERS:
        assert_same_floats(
            again[layer.name].to_scipy().toarray(), store[layer.name].to_scipy().toarray()
        )
        stored = [part.layers[layer.name].values for part in store.parts]
        losses = [one.loss for one in stored if one is not None and one.loss is not None]
        kept = again.parts[0].layers[layer.name].values
        assert (kept.loss if kept else None) == (sum(losses, Loss()) if losses else None)
    assert again.parts[0].header.values == values


@pytest.mark.parametrize("number", range(3))
def test_codes_of_one_part_are_copied(tmp_path: Path, number: int) -> None:
    store = write(tmp_path / "store", "uint8")
    part = store.parts[number]
    again = rewrite(store, tmp_path / "again", [part]).parts[0]
    for layer in LAYERS:
        name = layer.name
        assert_same_floats(again.scales(name), part.scales(name))
        expected = to_dense(part.rows(name, 0, part.header.rows))
        assert_same_floats(to_dense(again.rows(name, 0, part.header.rows)), expected)
        assert again.layers[name].values == part.layers[name].values


def test_linear_codes_are_copied(tmp_path: Path) -> None:
    store = write(tmp_path / "store", "float32", whole_multiples, scales={"sparse": SCALES})
    again = rewrite(store, tmp_path / "again", list(store.parts))
    assert again.parts[0].layers["sparse"].values == store.parts[0].layers["sparse"].values
    assert again.parts[0].array("obsm/sparse/data").metadata.dtype == np.uint8
    for layer in LAYERS:
        assert_same_floats(
            again[layer.name].to_scipy().toarray(), store[layer.name].to_scipy().toarray()
        )
