"""How the kernels are compiled. Importing this module imports numba: do it when one is needed.

All of numba and llvmlite that kernels use comes from here. Two threads that began to import numba
by different modules would each find the other's half imported.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import event, types
from numba.extending import intrinsic

__all__ = ["event", "intrinsic", "ir", "kernel", "types"]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile when first called, cache on disk where that can be, and release the GIL.

    numba's cache lies beside the module, or in the user's cache folder where that isn't writeable,
    or in ``NUMBA_CACHE_DIR``. It is stale only when the kernel's own file changes: a kernel may
    therefore only call compiled code of its own module.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writeable folder at all: the same numbers, half a second later
        compiled = numba.njit(nogil=True)(function)
    return cast(Function, compiled)
