"""Listings of hostile servers, and listings that break off."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from sparsefeat.storage.any_keys import list_any_keys

ENTRY = (
    "<Contents><Key>a//b</Key><Size>1</Size>"
    "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
)


TOKEN = "<NextContinuationToken>x</NextContinuationToken>"


@contextmanager
def answering(page: str, *, length: int | None = None) -> Iterator[str]:
    """Serve one page, with a declared length that may be wrong."""
    content = page.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(length or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("page", "length", "says"),
    [
        (f"<R>{ENTRY}<IsTruncated>true</IsTruncated></R>", None, "without an end"),
        (
            f"<R>{ENTRY}<IsTruncated>true</IsTruncated>{TOKEN}</R>",
            None,
            "without an end",
        ),
        (f"<R>{ENTRY}</R>", 1000, "no answer"),
        ("<R>", None, "can't be read"),
    ],
)
def test_a_listing_of_a_hostile_server_ends(
    page: str, length: int | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    with answering(page, length=length) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        with pytest.raises(OSError, match=says):
            list(list_any_keys("bucket", "", ""))
