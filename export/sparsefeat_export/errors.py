"""Every error that a user of the exporter can cause, and its warning.

::

    ExportError (ValueError)
    ├── WeightsError                    the weights are not VGG16's, or not usable
    │   └── WeightsNotFoundError (FileNotFoundError)
    ├── DownloadError                   weights that could not be fetched
    ├── ImagesError                too few readable images for the certificate
    ├── CertificateError                the exported graph's numbers are not Keras'
    ├── TaskError                       a child process died
    ├── OutputError                     the output path cannot be written
    └── DependencyError (ImportError)   a dependency is installed, but does not load
        └── MissingDependencyError      it is not installed

    AssumedScalingWarning (UserWarning) how pixels are scaled had to be assumed

Each message is one line: what was got, what was expected, what to do.
"""


class ExportError(ValueError):
    """The base of all errors below."""


class WeightsError(ExportError):
    """The weights are not those of a VGG16: a layer is missing, extra, misshapen or not finite."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """There is no weights file at the path."""


class DownloadError(ExportError):
    """Weights could not be fetched, or what was fetched is not what was pinned."""


class ImagesError(ExportError):
    """There are too few readable images to certify on."""


class CertificateError(ExportError):
    """The exported graph's numbers are further from Keras' than the limits allow."""


class TaskError(ExportError):
    """A child process ended without a result."""


class OutputError(ExportError):
    """The output path cannot be written."""


class DependencyError(ExportError, ImportError):
    """A dependency is installed but does not load; or, as the subclass below, not installed."""


class MissingDependencyError(DependencyError):
    """A dependency is not installed."""


class AssumedScalingWarning(UserWarning):
    """Nothing says how the weights' pixels are scaled, so that it was assumed."""


BY_NAME: dict[str, type[ExportError]] = {
    error.__name__: error
    for error in (
        ExportError,
        WeightsError,
        WeightsNotFoundError,
        DownloadError,
        ImagesError,
        CertificateError,
        TaskError,
        OutputError,
        DependencyError,
        MissingDependencyError,
    )
}
