"""Which precision to compute in, and whether the processor has it."""

from pathlib import Path

from sparsefeat.errors import PrecisionError
from sparsefeat.model import ModelFile
from sparsefeat.runtime.registry import PRECISIONS, Precision
from sparsefeat.system import CPUINFO, check_choice, first_processor

# What multiplies bfloat16 in hardware: tiles or vectors on x86.
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


def choose_precision(
    file: ModelFile, asked: Precision | None, *, cpuinfo: Path | None = None
) -> Precision:
    """Say which precision to compute in: the one asked for, by default the model file's own.

    Parameters
    ----------
    cpuinfo
        Where Linux says what the processor can do.

    Raises
    ------
    InputError
        There is no such precision.
    PrecisionError
        Another model file is needed for it, or the processor doesn't have it.
    """
    own = file.metadata.precision
    if asked is None or asked == own:
        return own
    check_choice(asked, PRECISIONS, "precision")
    if own == "int8":
        raise PrecisionError(
            f"precision {asked} was asked for, but {file.path.name} is an int8 model; "
            "take the one it was made of, or make one with: sparsefeat export -o vgg16.onnx"
        )
    if asked == "int8":
        stem = file.path.stem
        raise PrecisionError(
            f"precision int8 was asked for, but {file.path.name} is a float32 model; make one "
            f"with: sparsefeat quantize {file.path.name} --calibration IMAGES -o {stem}-int8.onnx"
        )
    flags = _flags(CPUINFO if cpuinfo is None else cpuinfo)
    if flags and not flags & BF16_FLAGS:
        raise PrecisionError(
            "precision bf16 was asked for, but this processor has no bfloat16 arithmetic "
            f"(none of {', '.join(sorted(BF16_FLAGS))}); use --precision fp32, or an int8 model"
        )
    return asked


def bf16_only_in_vectors(cpuinfo: Path | None = None) -> bool:
    """Whether this processor multiplies bfloat16 in vectors alone, without AMX' tiles.

    OpenVINO then computes in bf16, as was asked for, but about half as fast as in float32
    (docs/providers.md).
    """
    return _flags(CPUINFO if cpuinfo is None else cpuinfo) & BF16_FLAGS == {"avx512_bf16"}


def _flags(cpuinfo: Path) -> frozenset[str]:
    """Read the first processor's flags; none where the system doesn't say.

    The probe speaks then: OpenVINO lists bfloat16 among its capabilities even on processors
    where it can't run it, so asking it settles nothing.
    """
    return frozenset(first_processor(cpuinfo).get("flags", "").split())
