"""Importing what only some exports need, TensorFlow without its chatter; or saying why not."""

import importlib
import os
from typing import Any

from sparsefeat_export.errors import DependencyError, MissingDependencyError

INSTALL = "pip install 'sparsefeat[cpu,export]'"
# What a package has, unless little is left of it or a file of the user's own has its name.
MARKS = {
    "h5py": "File",
    "keras": "Model",
    "onnxruntime": "InferenceSession",
    "tensorflow": "Variable",
    "tf2onnx": "convert",
}


def load(*modules: str) -> Any:
    """Import modules; return the last one.

    Raises
    ------
    MissingDependencyError
        One isn't installed.
    DependencyError
        One is installed, but doesn't load.
    KeyboardInterrupt
        Ctrl-C was pressed meanwhile; extension modules make another exception of it.
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
                f"remove the folder, and install it with: {INSTALL}"
            )
        mark = MARKS.get(name)
        if mark is not None and not hasattr(module, mark):
            raise DependencyError(
                f"{package} does not load: {module.__file__} has no {mark}; remove the file if it "
                f"is another package's, and install it with: {INSTALL}"
            )
    return module


def _interrupted(exc: BaseException) -> bool:
    """Tell whether Ctrl-C is behind an exception, as its cause or its context."""
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


def quiet_tensorflow() -> None:
    """Set what TensorFlow reads when it is first imported.

    On the processor even where there is a GPU: TensorFloat-32 there would make the reference
    less exact than what is compared with it.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
