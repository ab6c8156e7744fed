"""The decorator that compiles kernels. Importing this module imports numba.

Kernels import numba and llvmlite only through this module: if two threads imported numba through
different modules at the same time, each could see a half-imported package.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import event, types
from numba.extending import intrinsic

__all__ = ["event", "intrinsic", "ir", "kernel", "types"]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function when it is first called, with a disk cache and without the GIL.

    numba's cache is in ``NUMBA_CACHE_DIR`` if that is set, otherwise beside the module, or in the
    user's cache folder if the module's folder is not writeable. numba invalidates it only when the
    kernel's own file changes, so a kernel must call compiled code of its own module only.

    Warns
    -----
    RuntimeWarning
        At the first call, if the compiled kernel can't be saved: the disk is full, for example.
    """
    compiled: Any
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder is writeable: compile in every process
        compiled = numba.njit(nogil=True)(function)
    else:
        _warn_of_failed_saves(compiled)
    return cast(Function, compiled)


@cache
def _warn_once(folder: str, reason: str) -> None:
    warnings.warn(
        f"compiled kernels can't be saved in {folder} ({reason}), so every process compiles them "
        "again: free space, or set NUMBA_CACHE_DIR to another folder",
        RuntimeWarning,
        stacklevel=3,
    )


def _warn_of_failed_saves(compiled: Any) -> None:
    """Let a kernel warn, once per process, if numba can't save what it compiled.

    Otherwise the call that compiles a kernel would raise an OSError without a file name, which
    callers take for a failure to read or write their own files.
    """
    saved = getattr(compiled, "_cache", None)
    if saved is None:  # numba is disabled
        return
    save = saved.save_overload

    def save_overload(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except OSError as exc:
            _warn_once(saved.cache_path, exc.strerror or str(exc))

    saved.save_overload = save_overload
