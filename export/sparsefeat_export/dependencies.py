"""Import optional packages with a helpful error if that fails, and keep TensorFlow quiet."""

import importlib
import os
import sys
from typing import Any

from sparsefeat_export.errors import DependencyError, MissingDependencyError

INSTALL = "pip install 'sparsefeat[cpu,export]'"
# An attribute that each package must have. A package without it is broken, or hidden by a file of
# the user that has the same name.
MARKS = {
    "h5py": "File",
    "keras": "Model",
    "onnxruntime": "InferenceSession",
    "tensorflow": "Variable",
    "tf2onnx": "convert",
}
# Keras imports these packages if they are installed, for plots, tables and wrappers that no export
# uses. That takes a third of the time that Keras needs to start.
NOT_NEEDED = ("matplotlib", "pandas", "sklearn")


def load(*modules: str) -> Any:
    """Import modules; return the last one.

    Raises
    ------
    MissingDependencyError
        A package is not installed.
    DependencyError
        A package is installed but does not load.
    KeyboardInterrupt
        Ctrl-C was pressed during the import. Extension modules turn it into other exceptions,
        which are recognised here.
    """
    module = None
    for name in modules:
        package = name.partition(".")[0]
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as exc:
            if _interrupted(exc):
                raise KeyboardInterrupt from exc
            if isinstance(exc, ModuleNotFoundError) and exc.name == package:
                raise MissingDependencyError(
                    f"{package} is not installed; install it with: {INSTALL}"
                ) from exc
            said = " ".join(f"{type(exc).__name__}: {exc}".split())
            raise DependencyError(
                f"{package} is installed but does not load ({said[:300]}); repair it, or install "
                f"it again with: {INSTALL}"
            ) from exc
        if getattr(module, "__file__", None) is None:
            raise DependencyError(
                f"{package} does not load: {next(iter(module.__path__), name)} has no __init__.py; "
                f"remove the folder, and install {package} with: {INSTALL}"
            )
        mark = MARKS.get(name)
        if mark is not None and not hasattr(module, mark):
            raise DependencyError(
                f"{package} does not load: {module.__file__} has no {mark}; remove the file if it "
                f"is not part of {package}, and install {package} with: {INSTALL}"
            )
    return module


def _interrupted(exc: BaseException) -> bool:
    """Return whether a KeyboardInterrupt is among an exception's causes and contexts."""
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


def hide_unneeded() -> None:
    """Make `NOT_NEEDED` seem not installed, before Keras is imported."""
    for name in NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def quiet_tensorflow() -> None:
    """Set the environment variables that TensorFlow reads when it is imported.

    They hide GPUs: with TensorFloat-32 on a GPU, Keras' reference would be less exact than the
    graph that is compared with it.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
