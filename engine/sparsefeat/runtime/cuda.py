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
        Number of the GPU, from 0, among those visible to this process.
    memory_limit
        Limit of the arena of device memory in bytes; None for no limit.
    conv_search
        How the cuDNN algorithm of each convolution is chosen, once for each input shape:
        ``exhaustive`` times all, ``heuristic`` asks cuDNN, ``default`` uses a fixed one.

    Raises
    ------
    InputError
        An option has an invalid value.

    Examples
    --------
    >>> CudaOptions(device_id=1).for_onnxruntime()["use_tf32"]
    '0'
    """

    device_id: int = 0
    memory_limit: int | None = None
    conv_search: ConvSearch = "exhaustive"

    def __post_init__(self) -> None:
        """Check the values, because ONNX Runtime would ignore or misread invalid ones."""
        if not _whole(self.device_id, at_least=0):
            raise InputError(f"device_id is {self.device_id!r}, expected a whole number from 0")
        if self.memory_limit is not None and not _whole(self.memory_limit, at_least=1):
            raise InputError(
                f"memory_limit is {self.memory_limit!r}, expected a whole number of bytes"
            )
        check_choice(self.conv_search, get_args(ConvSearch), "conv_search")

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "CudaOptions":
        """Make options from names and values; numbers may be text.

        Raises
        ------
        InputError
            An option is unknown or has an invalid value.

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
        """Return the options in the form that ONNX Runtime takes."""
        options = {
            "device_id": str(self.device_id),
            # The default, TF32, rounds factors to 10 bits of mantissa, which is not float32.
            "use_tf32": "0",
            # By default the arena grows by doubling, and half of it may never be used.
            "arena_extend_strategy": "kSameAsRequested",
            # ONNX Runtime caches the result for each shape; the batches of a run have one or two.
            "cudnn_conv_algo_search": self.conv_search.upper(),
        }
        if self.memory_limit is not None:
            options["gpu_mem_limit"] = str(self.memory_limit)
        return options


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 20


def _whole(value: object, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least
