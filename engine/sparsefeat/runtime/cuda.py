"""Options of ONNX Runtime's CUDA provider."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from sparsefeat.errors import InputError
from sparsefeat.system import check_choice

ConvSearch = Literal["exhaustive", "heuristic", "default"]


@dataclass(frozen=True, kw_only=True)
class CudaOptions:
    """How the CUDA provider uses the GPU.

    Parameters
    ----------
    device_id
        Which GPU, counted from 0 among those that this process sees.
    memory_limit
        Bytes that its arena of device memory may take; None for all there are.
    conv_search
        How cuDNN's algorithm is chosen for each convolution, once for each shape of its input:
        ``exhaustive`` times them all, ``heuristic`` asks cuDNN, ``default`` takes a fixed one.

    Raises
    ------
    InputError
        A value is none of these.

    Examples
    --------
    >>> CudaOptions(device_id=1).for_onnxruntime()["use_tf32"]
    '0'
    """

    device_id: int = 0
    memory_limit: int | None = None
    conv_search: ConvSearch = "exhaustive"

    def __post_init__(self) -> None:
        """Refuse what ONNX Runtime would pass over or misread."""
        if not _whole(self.device_id, at_least=0):
            raise InputError(f"device_id is {self.device_id!r}, expected a whole number from 0")
        if self.memory_limit is not None and not _whole(self.memory_limit, at_least=1):
            raise InputError(
                f"memory_limit is {self.memory_limit!r}, expected a whole number of bytes"
            )
        check_choice(self.conv_search, get_args(ConvSearch), "conv_search")

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "CudaOptions":
        """Make options of names and values; numbers may be given as text.

        Raises
        ------
        InputError
            There is no such option, or it can't have the value.

        Examples
        --------
        >>> CudaOptions.of({"memory_limit": "4000000000"})
        CudaOptions(device_id=0, memory_limit=4000000000, conv_search='exhaustive')
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            check_choice(name, known, "cuda option")
        return cls(
            **{
                name: int(value) if isinstance(value, str) and _is_number(value) else value
                for name, value in values.items()
            }  # type: ignore[arg-type]  # checked when it is built
        )

    def for_onnxruntime(self) -> dict[str, str]:
        """Write them as ONNX Runtime wants them."""
        options = {
            "device_id": str(self.device_id),
            # By default products are rounded to 10 bits of mantissa, which isn't float32.
            "use_tf32": "0",
            # By default memory grows by doubling, and half of it is never used.
            "arena_extend_strategy": "kSameAsRequested",
            # ONNX Runtime keeps what was found for a shape: a run's batches have one, or two.
            "cudnn_conv_algo_search": self.conv_search.upper(),
        }
        if self.memory_limit is not None:
            options["gpu_mem_limit"] = str(self.memory_limit)
        return options


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 20


def _whole(value: object, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least
