"""Import packages where they are needed, with a helpful error if that fails."""

import itertools
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

from sparsefeat.errors import DependencyError, MissingDependencyError
from sparsefeat.system.text import one_line

REINSTALL = (
    "install sparsefeat again, with its dependencies: pip install --force-reinstall sparsefeat"
)
# An attribute that each package must have. A package without it is broken, or hidden by a file of
# the user that has the same name.
MARKS = {
    "anndata": "AnnData",
    "h5py": "File",
    "jinja2": "Environment",
    "onnxruntime": "InferenceSession",
    "onnxruntime_ep_openvino": "get_library_path",
    "pandas": "DataFrame",
    "torch": "Tensor",
}
OURS = ("__main__", "sparsefeat", "sparsefeat_export", "sparsefeat_kernels")


@contextmanager
def importing(package: str, install: str = "", *, purpose: str = "") -> Iterator[None]:
    """Translate the exceptions of an import inside this context.

    Parameters
    ----------
    package
        The package's top module.
    install
        The command that installs it; by default a pip command that installs it again.
    purpose
        What it is needed for, as the end of a sentence: "pages are made with it".

    Raises
    ------
    MissingDependencyError
        The package is not installed.
    DependencyError
        The package is installed but does not load.
    KeyboardInterrupt
        Ctrl-C was pressed during the import, even if the package turned it into another exception.
    """
    needed = f", and {purpose}" if purpose else ""
    install = install or f"pip install --force-reinstall {package}"
    try:
        yield
    except (Exception, SystemExit) as exc:
        if interrupted(exc):
            raise KeyboardInterrupt from exc
        if isinstance(exc, ModuleNotFoundError) and exc.name == package:
            raise MissingDependencyError(
                f"{package} is not installed{needed}; install it with: {install}"
            ) from exc
        raise DependencyError(
            f"{package} is installed{_where(package)} but does not load ({describe_exception(exc)})"
            f"{needed}; repair it, or install it again with: {install}"
        ) from exc
    module = sys.modules.get(package)
    if module is not None and getattr(module, "__file__", None) is None:
        folder = next(iter(getattr(module, "__path__", ())), "")
        raise DependencyError(
            f"{package} does not load: {folder or 'its folder'} has no __init__.py{needed}; "
            f"remove the folder, and install {package} with: {install}"
        )
    mark = MARKS.get(package)
    if module is not None and mark is not None and not hasattr(module, mark):
        raise DependencyError(
            f"{package} does not load: {one_line(str(module.__file__))} has no {mark}{needed}; "
            f"remove the file if it is not part of {package}, and install {package} with: {install}"
        )


def failed_import(exc: BaseException) -> DependencyError | None:
    """Translate an exception of an import of a required package; return None for other exceptions.

    Required packages are imported in many places; optional packages are imported with `importing`.
    """
    if isinstance(exc, ModuleNotFoundError) and exc.name and _raised_by(exc) is None:
        package = exc.name.partition(".")[0]
        return MissingDependencyError(f"{package} is not installed; {REINSTALL}")
    package = _raised_by(exc) or (isinstance(exc, ImportError) and exc.name) or _unparsed(exc)
    if not package:
        return None
    return DependencyError(
        f"{package} is installed{_where(package)} but does not load "
        f"({describe_exception(exc)}); {REINSTALL}"
    )


def _raised_by(exc: BaseException) -> str | None:
    """Find the package that was being imported, from the module bodies in the traceback."""
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and name not in OURS:
            return name
    return None


def _unparsed(exc: BaseException) -> str:
    """Return the package with a syntax error in a file; "" for our files and other exceptions."""
    if not isinstance(exc, SyntaxError) or not exc.filename:
        return ""
    file = Path(exc.filename)
    folders = itertools.takewhile(lambda each: (each / "__init__.py").exists(), file.parents)
    name = [file.stem, *(folder.name for folder in folders)][-1]
    return "" if name in OURS else name


def interrupted(exc: BaseException) -> bool:
    """Return whether a KeyboardInterrupt is among an exception's causes and contexts.

    Extension modules turn a KeyboardInterrupt into other exceptions.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [exc]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, KeyboardInterrupt):
            return True
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
    return False


def describe_exception(exc: BaseException) -> str:
    """Return an exception's type and message in one line."""
    said = " ".join(str(exc).split())
    return one_line(f"{type(exc).__name__}: {said}" if said else type(exc).__name__)


def _where(package: str) -> str:
    """Return where the package is installed, since a user's folder may have the same name."""
    try:
        spec = PathFinder.find_spec(package)
    except Exception:  # for a broken package, a finder can raise anything
        return ""
    return "" if spec is None or spec.origin is None else f" at {one_line(spec.origin)}"
