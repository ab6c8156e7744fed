"""The decorator that compiles kernels. Importing this module imports numba.

Kernels import numba and llvmlite only through this module: if two threads imported numba through
different modules at the same time, each could see a half-imported package.
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
    """Compile a function when it is first called, with a disk cache and without the GIL.

    numba's cache is beside the module, in the user's cache folder if that is not writeable, or in
    ``NUMBA_CACHE_DIR``. numba invalidates it only when the kernel's own file changes, so a kernel
    must call compiled code of its own module only.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder is writeable: compile in every process
        compiled = numba.njit(nogil=True)(function)
    return cast(Function, compiled)
