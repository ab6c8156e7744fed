"""Every error that a user of sparsefeat can cause.

::

    SparsefeatError
    ├── ModelError (ValueError)                 the file is no model that sparsefeat exported
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   └── ModelCorruptError                   what is on disk is not what was exported
    ├── LayerError (ValueError)                 no layer of that name
    ├── ProviderError (RuntimeError)            the provider asked for is not active
    │   └── PrecisionError                      its numbers are not those of the precision asked for
    ├── InputError (ValueError)                 an array or image of a wrong type or shape
    ├── SourceError (FileNotFoundError)         no images where they were said to be
    ├── DependencyError (ImportError)           a dependency is installed, but does not load
    │   └── MissingDependencyError              it is not installed
    ├── BenchmarkError (RuntimeError)           an engine died, or its answers are wrong
    └── StoreError (ValueError)
        ├── StoreNotFoundError (FileNotFoundError)
        ├── StoreMismatchError                  made with another model, layers or preprocessing
        ├── StoreChangedError                   a part was deleted since it was opened
        ├── StoreCorruptError                   what is on disk is not what was written
        ├── StoreMemoryError (MemoryError)      what was asked for takes more memory than it may
        ├── StoreReadError (OSError)            the system refused to read it
        └── StoreWriteError (OSError)           the disk refused

Each message is one line: what was got, what was expected, what to do.
"""


class SparsefeatError(Exception):
    """The base of all errors below."""


class ModelError(SparsefeatError, ValueError):
    """The file is not a model that sparsefeat exported, or a damaged one."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model file at the path."""


class ModelCorruptError(ModelError):
    """The graph or its weights are not what was exported."""


class LayerError(SparsefeatError, ValueError):
    """The model has no layer of that name."""


class ProviderError(SparsefeatError, RuntimeError):
    """The execution provider that was asked for is not installed or not active."""


class PrecisionError(ProviderError):
    """The session's numbers are not those of the precision that was asked for."""


class InputError(SparsefeatError, ValueError):
    """An array, image or option has a wrong type, shape or value."""


class SourceError(SparsefeatError, FileNotFoundError):
    """There are no images where they were said to be."""


class DependencyError(SparsefeatError, ImportError):
    """A dependency is installed but does not load; or, as the subclass below, not installed."""


class MissingDependencyError(DependencyError):
    """A dependency, required or optional, is not installed."""


class BenchmarkError(SparsefeatError, RuntimeError):
    """An engine can't be compared: its process died, or what it computes is wrong."""


class StoreError(SparsefeatError, ValueError):
    """The base of all errors about a store."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at the path."""


class StoreMismatchError(StoreError):
    """The store was made with another model, other layers or other preprocessing."""


class StoreChangedError(StoreError):
    """A part was deleted by `vacuum` since the store was opened."""


class StoreCorruptError(StoreError):
    """What is on disk is not what was written."""


class StoreMemoryError(StoreError, MemoryError):
    """What was asked for takes more memory than there may be used for it."""


class StoreReadError(StoreError, OSError):
    """The system refused to read a file of the store, which says nothing of what is in it."""


class StoreWriteError(StoreError, OSError):
    """The disk refused: full, read-only, or its permission lost."""
