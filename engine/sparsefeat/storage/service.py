"""The service of a URL, reached through obstore, and what its errors mean."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from sparsefeat.errors import StoreError, StoreReadError
from sparsefeat.system import importing, one_line

T = TypeVar("T")

_BROKEN_ANSWERS: Final = 4
_DETAILS: Final = "\n\nDebug source"  # obstore's own structures
_PREFIXES: Final = ("AWS_", "GOOGLE_", "AZURE_")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINT_NAMES: Final = (*_ENDPOINTS, "AZURE_STORAGE_ENDPOINT")

# For one request, with all tries that fail sooner. The uploads that wait at any time, 64 MiB, need
# 4.5 Mbit/s to finish within this time.
_PATIENCE: Final = timedelta(seconds=120)
_MANY: Final = {"max_retries": 1000, "retry_timeout": _PATIENCE}
# At first, a wrong address is more likely than a server that is about to come back.
_FIRST: Final = {"timeout": timedelta(seconds=15), "connect_timeout": timedelta(seconds=3)}
_FEW: Final = {"max_retries": 5, "retry_timeout": timedelta(seconds=10)}

_CREDENTIALS: Final = {
    "s3": 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, such as by eval "$(aws configure '
    'export-credentials --format env)"; or AWS_SKIP_SIGNATURE=true for a public bucket',
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the path of a service account's key",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
# Answers that deny access to valid keys.
_DENIED: Final = re.compile(
    r"<Code>(AccessDenied|AuthorizationPermissionMismatch)</Code>| 403 (?!.*<Code>)"
)
# Hosts in the machine's own cloud that give credentials if the environment has none.
_METADATA: Final = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")

_process: int | None = None  # the one that has obstore's threads


def check_process() -> None:
    """Raise `StoreError` in a process that was forked from one that has reached a service.

    obstore's threads don't exist in it, and every request would wait for them.
    """
    if _process not in (None, os.getpid()):
        raise StoreError(
            "this process was forked from one that had reached a bucket, and can't reach any: "
            'start processes by "spawn" or "forkserver", as in '
            'DataLoader(..., multiprocessing_context="forkserver")'
        )


def connect(url: str) -> Any:
    """Connect to a service, and check that the bucket exists and may be listed.

    Credentials, region and endpoint come from the environment. The check is made once in a process.
    It also passes if the whole bucket may not be listed, since prefixes in it may be. It gives up
    after 10 to 25 seconds without an answer.

    Raises
    ------
    StoreReadError
        The URL or the environment is unusable; or the service doesn't answer, has no such bucket,
        or refuses.
    DependencyError
        obstore isn't installed, or doesn't load.
    """
    with importing("obstore", "pip install 'sparsefeat[cloud]'"):
        import obstore  # noqa: F401
    check_process()
    names = sorted(name for name in os.environ if name.startswith(_PREFIXES))
    return _connect(url, tuple((name, os.environ[name]) for name in names))


@lru_cache(16)
def _connect(url: str, environment: tuple[tuple[str, str], ...]) -> Any:
    global _process
    import obstore
    from obstore import store as stores

    scheme = urlsplit(url).scheme
    endpoints = [(name, value) for name, value in environment if name in _ENDPOINT_NAMES]
    for name, value in endpoints:
        if not re.fullmatch(r"https?://[^\s/]+.*", value):
            raise StoreReadError(f"{name} is {value!r}, expected a URL: https://host, or unset it")
    # An endpoint without TLS was named on purpose.
    plain = {"allow_http": True} if any(v.startswith("http:") for _, v in endpoints) else {}
    _process = os.getpid()
    open_url: Any = stores.from_url  # whose signature differs from service to service
    try:
        options = {"timeout": _PATIENCE, **plain}
        reached = open_url(url, client_options=options, retry_config=_MANY)
        first = open_url(url, client_options=_FIRST | plain, retry_config=_FEW)
        with suppress(obstore.exceptions.InvalidPathError):  # a key: the service has answered
            # A page of it: there may be millions of objects.
            repeated(lambda: next(iter(obstore.list(first, chunk_size=1)), None))
        return reached
    except Exception as exc:  # of obstore's own kinds, and ValueError for names of buckets
        # Keys may be valid for some prefixes only, and the images may lie below one of these.
        if not urlsplit(url).path.strip("/") and _DENIED.search(_message(exc)):
            return reached
        raise StoreReadError(f"{url} can't be reached: {_why(scheme, url, exc)}") from exc


def _why(scheme: str, url: str, exc: Exception) -> str:
    said, shown = _message(exc), brief(exc)
    if any(f"http://{host}" in said for host in _METADATA) or "error: Missing" in said:
        return f"no credentials were found in the environment: {_CREDENTIALS[scheme]}"
    if "Account must be specified" in said:
        return f"no account was found in the environment: {_CREDENTIALS[scheme]}"
    if "NoSuchBucket" in said or "ContainerNotFound" in said or " 404 " in said:
        return f"there is no bucket {urlsplit(url).netloc!r} ({shown}): make it first"
    if " 403 " in said or " 401 " in said:
        return f"the server refuses ({shown}): see to the keys, and that they may list the bucket"
    if "HTTP error" in said:
        where = " or ".join(_ENDPOINTS[:2]) if scheme == "s3" else "the endpoint"
        return f"{shown}: see to the network, and to {where} if it is set"
    return f"{shown}: see to the URL and the environment"


def repeated(ask: Callable[[], T]) -> T:
    """Make a request, and repeat it if the answer breaks off.

    obstore itself repeats requests that get no answer, but not those whose answer is cut short.
    """
    for _ in range(_BROKEN_ANSWERS):
        try:
            return ask()
        except Exception as exc:
            if "response body" not in _message(exc):
                raise
    return ask()


@contextmanager
def translating(name: str) -> Iterator[None]:
    """Translate obstore's exceptions about a key to `OSError`; `name` is for the message."""
    check_process()
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as exc:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from exc
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as exc:
        raise PermissionError(errno.EACCES, brief(exc), name) from exc
    except exceptions.InvalidPathError as exc:
        found = re.search(r'Path "(.*)" contained', _message(exc))
        key = one_line(found[1] if found else brief(exc))
        raise StoreReadError(
            f"{name} can't be listed: in the key {key!r} there is nothing, '.' or '..' between two "
            "slashes, expected keys like the paths of files: delete this object, or rename it"
        ) from exc
    except exceptions.BaseError as exc:
        denied = " 403 " in _message(exc) or " 401 " in _message(exc)
        kind = PermissionError if denied else OSError
        raise kind(errno.EACCES if denied else errno.EIO, brief(exc), name) from exc


def _message(exc: BaseException) -> str:
    return str(exc).partition(_DETAILS)[0]


def brief(exc: Exception) -> str:
    """Shorten a message of obstore to one line.

    Examples
    --------
    >>> brief(ValueError("Generic S3 error: Error performing GET http://h:1/b/k in 1ms - Server "
    ...                  "returned non-2xx status code: 503 Service Unavailable: "))
    'http://h:1: 503 Service Unavailable'
    >>> brief(ValueError("... 403 Forbidden: <Error><Code>C</Code><Message>Says.</Message>"))
    'C: Says'
    """
    said, details = _message(exc), str(exc).partition(_DETAILS)[2]
    if code := re.search(r"<Code>([^<]+)</Code>", said):
        message = re.search(r"<Message>([^<]+)</Message>", said)
        return one_line(code[1] + (f": {message[1].rstrip('. ')}" if message else ""))
    line = next((line.strip() for line in said.splitlines() if line.strip()), type(exc).__name__)
    line = line.rpartition("status code: ")[2] if "status code: " in line else line
    reason = re.search(r'(?:message|error): "([^"]+)"', details)
    if "HTTP error" in line:
        timed_out = "it took too long" if "TimedOut" in details else ""
        line = timed_out or (reason[1] if reason else line.rpartition("HTTP error: ")[2])
        line = f"no answer ({line})"
    asked = re.search(r"Error performing [A-Z]+ (https?://[^/\s]+)", said)
    host = f"{asked[1]}: " if asked else ""
    return one_line(f"{host}{line.rstrip(': ')}")
