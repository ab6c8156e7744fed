"""The cost of listing images in archives, in a bucket, or in a table.

The data are synthetic: names and sizes of a million images, whose bytes are shared or missing. A
separate process lists them while nothing consumes the list, as if the network was slow. It reports
the time, and its peak memory minus the memory that it had before.
"""

import functools
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .claims import Claim
from .conftest import MakeClaim

BYTES_AN_IMAGE = 200
PER_SHARD = 10_000
PAGE = 1000  # keys in one answer of S3

LIST = """
import json, sys, time
import pyarrow.parquet, obstore
from sparsefeat.images import ImageStream, Search

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

options = json.loads(sys.argv[1])
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")
before, start = peak(), time.perf_counter()
stream = ImageStream(Search(**options))
while not stream.complete:
    stream.wait(0.01)  # raises what listing raised
    time.sleep(0.01)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "bytes": peak() - before,
    "images": stream.n_listed,
}))
"""


def key(number: int) -> str:
    return f"{number // PER_SHARD:05}{number % PER_SHARD:04}"


def write_tars(folder: Path, n_images: int) -> dict[str, object]:
    """Write tars like img2dataset: an image, a caption and a JSON file for each key."""
    image, text = b"0" * 600, b"a caption"
    note = json.dumps({"caption": "a caption", "url": "https://example.org/a.jpg"}).encode()
    for start in range(0, n_images, PER_SHARD):
        with tarfile.open(folder / f"{start // PER_SHARD:05}.tar", "w") as archive:
            for number in range(start, min(start + PER_SHARD, n_images)):
                for kind, content in (("jpg", image), ("json", note), ("txt", text)):
                    entry = tarfile.TarInfo(f"{key(number)}.{kind}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    return {"inputs": str(folder), "keep": "url,caption"}


def write_zips(folder: Path, n_images: int) -> dict[str, object]:
    for start in range(0, n_images, PER_SHARD):
        with zipfile.ZipFile(folder / f"{start // PER_SHARD:05}.zip", "w") as archive:
            for number in range(start, min(start + PER_SHARD, n_images)):
                archive.writestr(f"{number % 100:03}/{key(number)}.jpg", b"0" * 60)
    return {"inputs": str(folder)}


def write_parquet(folder: Path, n_images: int) -> dict[str, object]:
    for start in range(0, n_images, PER_SHARD):
        keys = [key(number) for number in range(start, min(start + PER_SHARD, n_images))]
        columns = {"key": keys, "jpg": [b"0" * 60] * len(keys), "label": [1] * len(keys)}
        pq.write_table(
            pa.table(columns), folder / f"{start // PER_SHARD:05}.parquet", row_group_size=1000
        )
    return {"inputs": str(folder)}


def write_table(folder: Path, n_images: int) -> dict[str, object]:
    """Write a table that lists a thousand files by a thousand links to their folder."""
    (folder / "0").mkdir()
    n_folders = -(-n_images // 1000)
    for number in range(min(1000, n_images)):
        (folder / "0" / f"{number:06}.jpg").touch()
    for number in range(1, n_folders):
        (folder / str(number)).symlink_to(folder / "0")
    paths = [f"{number // 1000}/{number % 1000:06}.jpg" for number in range(n_images)]
    columns = {"path": paths, "caption": ["a caption"] * n_images}
    pq.write_table(pa.table(columns), folder / "list.parquet")
    return {"files_from": str(folder / "list.parquet"), "keep": "caption"}


class Bucket(http.server.BaseHTTPRequestHandler):
    """Answers only ListObjectsV2, for a number of keys."""

    protocol_version = "HTTP/1.1"
    n_images = 0

    def do_GET(self) -> None:  # the name that http.server calls
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("continuation-token", ["0"])[0])
        stop = min(start + PAGE, self.n_images)
        contents = "".join(
            f"<Contents><Key>{escape(f'photos/{n // 1000:06}/{n:09}.jpg')}</Key>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{n:032x}&quot;</ETag>"
            f"<Size>{100_000 + n}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for n in range(start, stop)
        )
        more = stop < self.n_images
        token = f"<NextContinuationToken>{stop}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<Name>bucket</Name><Prefix>photos/</Prefix><KeyCount>{stop - start}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{contents}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # its name there
        pass


@contextmanager
def served(n_images: int) -> Iterator[dict[str, str]]:
    """Yield the environment variables with which the bucket is found."""
    handler = type("Keys", (Bucket,), {"n_images": n_images})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        server.shutdown()


WRITERS: dict[str, Callable[[Path, int], dict[str, object]]] = {
    "WebDataset tar, two columns kept": write_tars,
    "zip": write_zips,
    "Parquet with images": write_parquet,
    "table of paths, one column kept": write_table,
    "bucket": lambda folder, n_images: {"inputs": "s3://bucket/photos"},
}


@pytest.mark.parametrize("kind", WRITERS)
def test_listing(
    kind: str,
    benchmark: BenchmarkFixture,
    claim: MakeClaim,
    timing: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    n_images = request.config.getoption("scale_files") if timing else 2500
    options = WRITERS[kind](tmp_path, n_images)
    run = [sys.executable, "-c", LIST, json.dumps(options)]
    with served(n_images) as variables:
        environment = {**os.environ, **variables}
        done = benchmark.pedantic(
            functools.partial(
                subprocess.run, run, capture_output=True, text=True, check=True, env=environment
            ),
            rounds=1,
        )
    found: dict[str, float] = json.loads(done.stdout)
    assert found["images"] == n_images
    found["images_per_second"] = n_images / found["seconds"]
    benchmark.extra_info["listing"] = found
    if timing:
        claim(
            Claim(
                text=f"{kind}, {n_images:,} images: memory of one",
                measured=found["bytes"] / n_images,
                bar=BYTES_AN_IMAGE,
                most=True,
                unit=" B",
            )
        )
