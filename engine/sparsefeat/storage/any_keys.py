"""Listing a bucket of S3 in which there are keys that obstore refuses: ``a//b``, ``a/../b``.

If there is one such key, obstore (0.12) fails to list its page, a thousand keys. This module makes
the same request itself; obstore signs it, with the credentials that it has.
"""

import errno
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote_plus, urlencode, urlsplit, urlunsplit
from xml.etree import ElementTree

_VALID: Final = timedelta(minutes=5)
_TIMEOUT_SECONDS: Final = 60
_MAX_BYTES: Final = 16 << 20  # of a page, which has a thousand keys
_TRIES: Final = 5  # 0.5 s to 4 s apart


def is_fetchable(key: str) -> bool:
    """Tell whether obstore can ask for a key.

    Examples
    --------
    >>> is_fetchable("a/b.jpg"), is_fetchable("a//b.jpg"), is_fetchable("a/../b.jpg")
    (True, False, False)
    """
    return not {"", ".", ".."}.intersection(key.split("/"))


def list_any_keys(bucket: str, prefix: str, after: str) -> Iterator[tuple[str, int, int]]:
    """List the objects whose keys begin with `prefix` and come after the key `after`.

    Returns
    -------
    Key, size in bytes, and when it changed, in nanoseconds since 1970; by the bytes of the keys.
    A slash at a key's end is left out, as obstore does.

    Raises
    ------
    OSError
        The server doesn't answer, refuses, or answers something else.
    """
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "start-after": after}
    while True:
        try:
            page = ElementTree.fromstring(_get(_signed(bucket, query)))
            keys = [*map(_described, page.iterfind("{*}Contents"))]
        except (ElementTree.ParseError, KeyError, ValueError) as exc:
            raise OSError(errno.EIO, f"the server's listing can't be read: {exc}", bucket) from exc
        yield from keys
        if page.findtext("{*}IsTruncated") != "true":
            return
        token = page.findtext("{*}NextContinuationToken", "")
        if token in ("", query.get("continuation-token")):
            raise OSError(errno.EIO, "the server's listing goes on without an end", bucket)
        query["continuation-token"] = token


def _described(entry: ElementTree.Element) -> tuple[str, int, int]:
    fields = {each.tag.rpartition("}")[2]: each.text or "" for each in entry}
    changed = datetime.fromisoformat(fields["LastModified"]).timestamp()
    key = unquote_plus(fields["Key"]).removesuffix("/")
    return key, int(fields["Size"]), int(changed) * 1_000_000_000


def _signed(bucket: str, query: dict[str, str]) -> str:
    """Give the URL of a request, signed unless the environment says that it need not be."""
    import obstore
    from obstore.store import S3Store

    def sign(**options: Any) -> str:
        store = S3Store(bucket, client_options={"allow_http": True}, **options)
        return obstore.sign(store, "GET", "", _VALID)

    # Which host has the bucket: the keys that are asked for don't change it.
    anonymous: Any = {"access_key_id": "none", "secret_access_key": "none"}
    base = urlunsplit(urlsplit(sign(**anonymous))._replace(query="")).rstrip("/")
    asked = f"{base}?{urlencode(query, quote_via=quote, safe='')}"
    if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        return asked
    # Parameters of an endpoint are signed with the others. The slash that obstore appends becomes
    # the value of one that servers ignore.
    return sign(endpoint=f"{asked}&x-id=", virtual_hosted_style_request=True)


def _get(url: str) -> bytes:
    pause = 0.5
    for number in range(_TRIES):
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
                content: bytes = answer.read(_MAX_BYTES + 1)
                if answer.length:  # the header announces more bytes
                    raise OSError(errno.EIO, "the answer breaks off")
                if len(content) > _MAX_BYTES:
                    raise OSError(errno.EIO, f"a page of more than {_MAX_BYTES:,} bytes")
                return content
        except urllib.error.HTTPError as exc:
            if exc.code < 500 or number == _TRIES - 1:
                denied = exc.code in (401, 403)
                kind = PermissionError if denied else OSError
                said = f"{exc.code} {exc.reason}"
                raise kind(errno.EACCES if denied else errno.EIO, said) from exc
        except (OSError, http.client.HTTPException) as exc:
            if number == _TRIES - 1:
                raise OSError(errno.EIO, f"no answer ({getattr(exc, 'reason', exc)})") from exc
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")
