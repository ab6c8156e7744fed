"""The errors that a user of the exporter can cause, and its warning.

::

    ExportError (ValueError)
    ├── WeightsError                    the weights are not those of a VGG16, or not usable
    │   └── WeightsNotFoundError (FileNotFoundError)
    ├── DownloadError                   the weights could not be downloaded
    ├── ImagesError                     there are too few readable images
    ├── CertificateError                the exported graph differs from Keras
    ├── TaskError                       a child process died
    ├── OutputError                     the output path cannot be written
    └── DependencyError (ImportError)   a package is installed but does not load
        └── MissingDependencyError      a package is not installed

    AssumedScalingWarning (UserWarning) the scaling of pixels is not known and was assumed

Each message is one line that says what happened, what was expected, and what to do.
"""


class ExportError(ValueError):
    """Base class of all errors of the exporter."""


class WeightsError(ExportError):
    """The weights are not those of a VGG16: a layer is missing, extra, misshapen or not finite."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """There is no weights file at the path."""


class DownloadError(ExportError):
    """Weights could not be downloaded, or the downloaded file has the wrong digest."""


class ImagesError(ExportError):
    """There are too few readable images to certify, calibrate or validate with."""


class CertificateError(ExportError):
    """The activations of the exported graph differ from Keras' by more than the limits allow."""


class TaskError(ExportError):
    """A child process ended without a result."""


class OutputError(ExportError):
    """The output path cannot be written."""


class DependencyError(ExportError, ImportError):
    """A package is installed but does not load, or (in the subclass) is not installed."""


class MissingDependencyError(DependencyError):
    """A package is not installed."""


class AssumedScalingWarning(UserWarning):
    """Neither the user nor the weights say how pixels are scaled, so Keras' default was assumed."""


def first_line(exc: BaseException) -> str:
    """Return the first line of a foreign exception's message, or its type if it has none."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
