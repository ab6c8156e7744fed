"""A change of any bit in either file is reported."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.engine.command import assert_one_line, run

import sparsefeat
import sparsefeat_export
from sparsefeat.errors import ModelCorruptError, ModelError
from sparsefeat.model import ModelFile


@pytest.fixture(params=["fp32", "int8"])
def model(
    request: pytest.FixtureRequest,
    small_vgg16: Path,
    small_int8: sparsefeat_export.QuantizeResult,
    tmp_path: Path,
) -> Path:
    source = small_vgg16 if request.param == "fp32" else small_int8.path
    for name in (source.name, f"{source.name}.data"):
        shutil.copy(source.with_name(name), tmp_path / name)
    return tmp_path / source.name


def data_of(model: Path) -> Path:
    return model.with_name(f"{model.name}.data")


@contextmanager
def flipped(path: Path, offset: int, mask: int) -> Iterator[None]:
    """Change bits of one byte for the duration of a block."""

    def flip() -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ mask]))

    flip()
    yield
    flip()


def tensors(model: Path) -> dict[str, tuple[int, int]]:
    """Find where each tensor in the data file begins and ends."""
    graph = onnx.load(model, load_external_data=False).graph
    found = {}
    for tensor in graph.initializer:
        where = {entry.key: entry.value for entry in tensor.external_data}
        if where:
            begin = int(where["offset"])
            found[tensor.name] = (begin, begin + int(where["length"]))
    return found


def test_an_exported_model_is_undamaged(model: Path) -> None:
    report = sparsefeat.verify_model(model)
    assert report.ok
    assert report.findings == ()
    assert report.tensors == len(onnx.load(model, load_external_data=False).graph.initializer)
    assert report.n_bytes == model.stat().st_size + data_of(model).stat().st_size
    assert sorted(ModelFile.open(model).metadata.crc32c) == sorted(tensors(model))


def test_a_flipped_bit_in_any_tensor_is_found(model: Path) -> None:
    """The tensor is refused when it is loaded, and named by `verify_model`."""
    found = tensors(model)
    assert len(found) > 20
    for name, (begin, end) in found.items():
        for last in (min(begin + 3, end - 1), end - 1):
            with flipped(data_of(model), last, 0x40):
                with pytest.raises(ModelCorruptError) as caught:
                    sparsefeat.Extractor(model, "all,*/pre")
                assert f"the weights {name} are not those" in str(caught.value)
                assert str(data_of(model)) in str(caught.value)
                (finding,) = sparsefeat.verify_model(model).findings
                assert finding == str(caught.value)
    assert sparsefeat.verify_model(model).ok


def test_only_tensors_that_are_loaded_are_checked(model: Path) -> None:
    found = tensors(model)
    name = next(one for one in found if one.startswith("block5_conv3/kernel"))
    with flipped(data_of(model), found[name][0], 1):
        sparsefeat.Extractor(model, "block4_pool")
        with pytest.raises(ModelCorruptError, match="block5_conv3/kernel"):
            sparsefeat.Extractor(model, "block5_pool")


def test_a_flipped_bit_anywhere_in_the_data_file_is_found(model: Path) -> None:
    """Also between the tensors, where nothing is loaded."""
    rng = np.random.default_rng(0)
    inside = tensors(model).values()
    n_between = 0
    for offset in rng.integers(0, data_of(model).stat().st_size, 150).tolist():
        with flipped(data_of(model), offset, 1 << int(rng.integers(8))):
            assert len(sparsefeat.verify_model(model).findings) == 1
            n_between += not any(begin <= offset < end for begin, end in inside)
    assert 0 < n_between < 150


def test_a_flipped_bit_anywhere_in_the_graph_is_found(model: Path) -> None:
    """In attributes, names, internal weights, metadata, and the digest itself."""
    size = model.stat().st_size
    rng = np.random.default_rng(0)
    offsets = [*rng.integers(0, size, 150).tolist(), *range(size - 40, size)]
    for offset in offsets:
        for bit in rng.choice(8, 2, replace=False).tolist():
            with flipped(model, offset, 1 << bit):
                with pytest.raises(ModelCorruptError, match="is damaged"):
                    ModelFile.open(model)
                assert not sparsefeat.verify_model(model).ok


def test_files_of_another_length_are_damaged(model: Path) -> None:
    for path in (model, data_of(model)):
        whole = path.read_bytes()
        for content in (whole[:-1], whole[: len(whole) // 2], whole + b"\0", whole * 2):
            path.write_bytes(content)
            assert len(sparsefeat.verify_model(model).findings) == 1
        path.write_bytes(whole)
    assert sparsefeat.verify_model(model).ok


def test_weights_of_another_model_are_damage(model: Path) -> None:
    size = data_of(model).stat().st_size
    data_of(model).write_bytes(np.random.default_rng(0).bytes(size))
    with pytest.raises(ModelCorruptError, match="belongs to another model"):
        sparsefeat.Extractor(model)


def test_the_command_reports_damage(model: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "verify", model.name)
    assert done.exit_code == 0
    assert re.fullmatch(rf"{model.name}: undamaged; \d+ tensors, [\d.]+ .B checked\n", done.stdout)
    assert json.loads(run(tmp_path, "verify", model.name, "--json").stdout)["ok"]
    (begin, _) = tensors(model)[name := next(iter(tensors(model)))]
    with flipped(data_of(model), begin, 1):
        done = run(tmp_path, "verify", model.name)
        assert done.exit_code == 1
        assert f"the weights {name} are not those" in done.stdout
        assert f"{model.name}: DAMAGED; " in done.stdout
        printed = run(tmp_path, "verify", model.name, "--json")
        assert printed.exit_code == 1
        assert len(json.loads(printed.stdout)["findings"]) == 1
        assert_one_line(run(tmp_path, "extract", ".", "-o", "f", "-m", model.name, "-l", "all"))
    assert_one_line(run(tmp_path, "verify", model.name, "--source", "."))
    data_of(model).unlink()
    assert_one_line(run(tmp_path, "verify", model.name))


def test_a_model_without_digests_can_not_be_verified(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([], "g", [value], [value])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="not exported by sparsefeat"):
        sparsefeat.verify_model(tmp_path / "other.onnx")
