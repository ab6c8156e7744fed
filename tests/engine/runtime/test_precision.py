from pathlib import Path

import msgspec
import pytest

from sparsefeat.errors import InputError, PrecisionError
from sparsefeat.model import ModelFile
from sparsefeat.runtime import Precision, bf16_only_in_vectors, choose_precision
from sparsefeat.runtime.precision import BF16_FLAGS


def cpuinfo(tmp_path: Path, *flags: str) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: fpu sse2 {' '.join(flags)}\nbugs\t\t: none\n")
    return path


def int8(file: ModelFile) -> ModelFile:
    metadata = msgspec.structs.replace(file.metadata, precision="int8")
    return ModelFile(path=file.path, graph=file.graph, metadata=metadata, data=file.data)


def test_the_default_is_the_precision_of_the_file(small_vgg16: Path) -> None:
    file = ModelFile.open(small_vgg16)
    assert choose_precision(file, None) == choose_precision(file, "fp32") == "fp32"
    assert choose_precision(int8(file), None) == choose_precision(int8(file), "int8") == "int8"


@pytest.mark.parametrize("flag", sorted(BF16_FLAGS))
def test_bf16_is_accepted_if_the_processor_has_it(
    small_vgg16: Path, tmp_path: Path, flag: str
) -> None:
    info = cpuinfo(tmp_path, "avx512f", flag)
    assert choose_precision(ModelFile.open(small_vgg16), "bf16", cpuinfo=info) == "bf16"


@pytest.mark.parametrize(
    ("flags", "vectors_alone"),
    [(["avx512_bf16"], True), (["avx512_bf16", "amx_bf16"], False), (["avx2"], False), ([], False)],
)
def test_bf16_in_vector_instructions_alone_is_recognized(
    tmp_path: Path, flags: list[str], vectors_alone: bool
) -> None:
    assert bf16_only_in_vectors(cpuinfo(tmp_path, *flags)) == vectors_alone
    assert not bf16_only_in_vectors(tmp_path / "nothing")


def test_bf16_is_refused_on_a_processor_without_it(small_vgg16: Path, tmp_path: Path) -> None:
    info = cpuinfo(tmp_path, "avx2", "avx512f")
    with pytest.raises(PrecisionError, match="this processor has no bfloat16 arithmetic"):
        choose_precision(ModelFile.open(small_vgg16), "bf16", cpuinfo=info)


def test_bf16_is_accepted_if_the_system_does_not_describe_the_processor(
    small_vgg16: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "nothing"
    assert choose_precision(ModelFile.open(small_vgg16), "bf16", cpuinfo=missing) == "bf16"


def test_a_precision_of_another_model_file_is_refused(small_vgg16: Path) -> None:
    file = ModelFile.open(small_vgg16)
    with pytest.raises(PrecisionError, match=r"sparsefeat quantize vgg16\.onnx|quantize small"):
        choose_precision(file, "int8")
    others: tuple[Precision, ...] = ("fp32", "bf16")
    for asked in others:
        with pytest.raises(PrecisionError, match="sparsefeat export"):
            choose_precision(int8(file), asked)
    with pytest.raises(InputError, match="fp32, bf16, int8"):
        choose_precision(file, "fp16")  # type: ignore[arg-type]
