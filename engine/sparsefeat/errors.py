"""The errors that a user of sparsefeat can cause.

::

    SparsefeatError
    ├── ModelError (ValueError)                 the file is not a model that sparsefeat exported
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   └── ModelCorruptError                   a checksum of the model does not match
    ├── LayerError (ValueError)                 the model or store does not have the layer
    ├── ProviderError (RuntimeError)            the provider is not available or not active
    │   └── PrecisionError                      the precision is not available or not active
    ├── InputError (ValueError)                 an array, image or option has a wrong type or value
    ├── SourceError (FileNotFoundError)         there are no images at the given path
    ├── DependencyError (ImportError)           a package is installed but does not load
    │   └── MissingDependencyError              a package is not installed
    ├── ClusterError (RuntimeError)             a cluster can't be joined, or its workers die
    ├── BenchmarkError (RuntimeError)           an engine died, or computes wrong activations
    └── StoreError (ValueError)
        ├── StoreNotFoundError (FileNotFoundError)
        ├── StoreMismatchError                  the store has another model, layers or preprocessing
        ├── StoreChangedError                   a part was deleted after the store was opened
        ├── StoreCorruptError                   a checksum does not match, or data are invalid
        ├── StoreMemoryError (MemoryError)      the request needs more memory than is allowed
        ├── StoreReadError (OSError)            the operating system or bucket refused a read
        └── StoreWriteError (OSError)           the operating system or bucket refused a write

Each message is one line that says what happened, what was expected, and what to do.
"""


class SparsefeatError(Exception):
    """Base class of all errors of sparsefeat."""


class ModelError(SparsefeatError, ValueError):
    """The file is not a model that sparsefeat exported, or it can't be read."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model file at the path."""


class ModelCorruptError(ModelError):
    """A checksum of the graph or of its weights does not match."""


class LayerError(SparsefeatError, ValueError):
    """The model or store has no layer of that name, or no name was given."""


class ProviderError(SparsefeatError, RuntimeError):
    """The requested execution provider is unknown, not installed or not active, or it failed."""


class PrecisionError(ProviderError):
    """The requested precision is not available, or the session does not compute in it."""


class InputError(SparsefeatError, ValueError):
    """An array, an image or an option has a wrong type, shape or value."""


class SourceError(SparsefeatError, FileNotFoundError):
    """There are no images at the given path, or their folder can't be read."""


class DependencyError(SparsefeatError, ImportError):
    """A package is installed but does not load, or (in the subclass) is not installed."""


class MissingDependencyError(DependencyError):
    """A required or optional package is not installed."""


class ClusterError(SparsefeatError, RuntimeError):
    """A cluster can't be joined, or its workers die whatever they work on."""


class BenchmarkError(SparsefeatError, RuntimeError):
    """An engine can't be compared: its process died, or it computes wrong activations."""


class StoreError(SparsefeatError, ValueError):
    """Base class of all errors about a store."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at the path."""


class StoreMismatchError(StoreError):
    """The store was made with another model, other layers or other preprocessing."""


class StoreChangedError(StoreError):
    """`vacuum` deleted a part after the store was opened: open the store again."""


class StoreCorruptError(StoreError):
    """A checksum of the store does not match, or its data are invalid."""


class StoreMemoryError(StoreError, MemoryError):
    """The request needs more memory than is available or allowed."""


class StoreReadError(StoreError, OSError):
    """The operating system or bucket refused to read a file, which may be intact."""


class StoreWriteError(StoreError, OSError):
    """The operating system or bucket refused a write: full, read-only or not permitted."""
