"""Choose the precision to compute in, and check that the processor supports it."""

from pathlib import Path

from sparsefeat.errors import PrecisionError
from sparsefeat.model import ModelFile
from sparsefeat.runtime.registry import PRECISIONS, Precision
from sparsefeat.system import check_choice, first_processor

# The x86 features that multiply bfloat16 in hardware, in tiles or in vectors.
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


def choose_precision(
    file: ModelFile, asked: Precision | None, *, cpuinfo: Path | None = None
) -> Precision:
    """Return the precision to compute in: the one asked for, or that of the model file.

    Parameters
    ----------
    cpuinfo
        The file in which Linux lists the processor's features.

    Raises
    ------
    InputError
        The precision is unknown.
    PrecisionError
        The precision needs another model file, or the processor does not support it.
    """
    own = file.metadata.precision
    if asked is None or asked == own:
        return own
    check_choice(asked, PRECISIONS, "precision")
    if own == "int8":
        raise PrecisionError(
            f"precision {asked} was asked for, but {file.path.name} is an int8 model; use the "
            "float32 model it was made from, or make one with: sparsefeat export -o vgg16.onnx"
        )
    if asked == "int8":
        stem = file.path.stem
        raise PrecisionError(
            f"precision int8 was asked for, but {file.path.name} is a float32 model; make one "
            f"with: sparsefeat quantize {file.path.name} --calibration IMAGES -o {stem}-int8.onnx"
        )
    flags = _flags(cpuinfo)
    if flags and not flags & BF16_FLAGS:
        raise PrecisionError(
            "precision bf16 was asked for, but this processor has no bfloat16 arithmetic "
            f"(none of {', '.join(sorted(BF16_FLAGS))}); use --precision fp32, or an int8 model"
        )
    return asked


def bf16_only_in_vectors(cpuinfo: Path | None = None) -> bool:
    """Return whether this processor multiplies bfloat16 only in vectors, without AMX tiles.

    OpenVINO then computes bf16 about half as fast as float32 (docs/providers.md).
    """
    return _flags(cpuinfo) & BF16_FLAGS == {"avx512_bf16"}


def _flags(cpuinfo: Path | None) -> frozenset[str]:
    """Return the first processor's feature flags; none if the system does not list them.

    In that case only the probe decides. OpenVINO can't be asked: it claims to support bfloat16
    even on processors where it can't run it.
    """
    return frozenset(first_processor(cpuinfo).get("flags", "").split())
