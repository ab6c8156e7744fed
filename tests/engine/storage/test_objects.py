"""Behaviour that files in a folder and objects in a bucket share, and that of objects alone."""

import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from sparsefeat.errors import (
    InputError,
    MissingDependencyError,
    StoreError,
    StoreReadError,
    StoreWriteError,
)
from sparsefeat.storage import LocalStorage, ObjectStorage, Storage, is_url, open_storage

from ..buckets import (
    BUCKET,
    OPEN_BUCKET,
    Fault,
    Proxy,
    environment,
    new_url,
    on_each_server,
    put_any_key,
)

RACERS = 16


@pytest.fixture(params=["folder", "seaweedfs", "moto"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    if request.param == "folder":
        made = open_storage(tmp_path / "store")
    else:
        for name, value in environment(request.getfixturevalue(request.param)).items():
            monkeypatch.setenv(name, value)
        made = open_storage(new_url())
    made.claim("snapshots")
    made.claim("parts")
    return made


def write(storage: Storage, part: str, files: dict[str, bytes]) -> None:
    storage.make_new(part)
    for name, content in files.items():
        storage.write(f"{part}/{name}", [content[:1], content[1:]])
    storage.sync(part)


PART = "parts/a.zarr"
FILES = {"obs/c.0": b"0123456789", "zarr.json": b"{}", "obs/x/y.z/c.0.0": bytes(range(256))}


# --- both ---


def test_one_of_several_racing_threads_creates_a_name(storage: Storage) -> None:
    barrier = Barrier(RACERS)

    def race(number: int) -> list[bool]:
        won = []
        for turn in range(2):
            barrier.wait()
            won.append(storage.create(f"snapshots/{turn}", str(number).encode() * 100))
        return won

    with ThreadPoolExecutor(RACERS) as pool:
        won = [*pool.map(race, range(RACERS))]
    for turn, winners in enumerate(zip(*won, strict=True)):
        assert sum(winners) == 1
        content = str(winners.index(True)).encode() * 100
        assert storage.read(f"snapshots/{turn}", 1000) == content
    assert storage.names("snapshots") == ["0", "1"]


def test_a_name_that_is_not_allowed_is_not_created(storage: Storage) -> None:
    assert not storage.create("snapshots/1", b"1", allowed=lambda: False)
    assert storage.names("snapshots") == []


def test_names_sizes_and_contents_are_returned(storage: Storage) -> None:
    write(storage, PART, FILES)
    assert storage.names("parts") == ["a.zarr"]
    assert storage.names(PART) == ["obs", "zarr.json"]
    assert dict(storage.list_files(PART)) == {name: len(content) for name, content in FILES.items()}
    for name, content in FILES.items():
        key = f"{PART}/{name}"
        assert storage.size(key) == len(content)
        assert storage.read(key, len(content)) == content
        with pytest.raises(ValueError, match=f"has {len(content)} bytes, expected at most"):
            storage.read(key, len(content) - 1)
    assert storage.usage(PART)[0] == 268
    assert storage.is_folder()
    assert storage.is_folder(PART)
    assert not storage.is_folder(f"{PART}/zarr.json")
    assert not storage.is_file()
    assert not storage.is_file(PART)
    assert storage.is_file(f"{PART}/zarr.json")
    assert storage.exists(PART)
    assert storage.exists(f"{PART}/zarr.json")


def test_ranges_are_read(storage: Storage) -> None:
    write(storage, PART, FILES)
    with storage.open(f"{PART}/obs/c.0") as file:
        read = [file.read(2, 3), file.read(8, 9), file.read(99, 1), file.read(0, 0)]
    assert (file.size, read) == (10, [b"234", b"89", b"", b""])


def test_an_empty_file_is_read(storage: Storage) -> None:
    write(storage, PART, {"obs/c.0": b""})
    assert storage.size(f"{PART}/obs/c.0") == 0
    assert storage.read(f"{PART}/obs/c.0", 5) == b""


def test_missing_names_are_file_not_found_errors(storage: Storage) -> None:
    refused: list[Callable[[], object]] = [
        lambda: storage.read("parts/b.zarr/zarr.json", 9),
        lambda: storage.size("parts/b.zarr/zarr.json"),
        lambda: storage.age("parts/b.zarr"),
    ]
    for call in refused:
        with pytest.raises(FileNotFoundError):
            call()
    assert not storage.exists("parts/b.zarr")
    assert not storage.is_folder("parts/b.zarr")
    assert storage.usage("parts/b.zarr") == (0, 0)
    assert [*storage.list_files("parts/b.zarr")] == []


def test_deleting_removes_only_the_named_folder(storage: Storage) -> None:
    write(storage, PART, FILES)
    write(storage, "parts/ab.zarr", FILES)
    assert storage.create("snapshots/1", b"1")
    storage.delete(PART)
    storage.delete("snapshots/1")
    assert storage.names("snapshots") == []
    assert not storage.exists(PART)
    with pytest.raises(FileNotFoundError):
        storage.read(f"{PART}/zarr.json", 9)
    assert len([*storage.list_files("parts")]) == 3  # the other one's


def test_ages_are_measured_by_the_clock_of_the_server(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    write(storage, PART, FILES)
    time.sleep(1.1)  # object stores record times in seconds
    assert 0 < storage.age(PART) < 60
    assert storage.create("snapshots/1", b"1")
    assert storage.age("snapshots/1") < storage.age(PART) + 1
    assert storage.names("snapshots") == ["1"]


def test_storage_can_be_pickled(storage: Storage) -> None:
    write(storage, PART, FILES)
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.read(f"{PART}/obs/c.0", 10) == b"0123456789"
    assert (str(copy), copy.name("parts")) == (str(storage), storage.name("parts"))


# --- objects ---


@pytest.fixture
def objects(proxy: Proxy, url: str) -> Storage:
    """A bucket behind the proxy."""
    made = open_storage(url)
    made.claim("parts")
    return made


def once(proxy: Proxy, fault: Fault, method: str, *, times: int = 1) -> list[str]:
    """Disturb the next requests of a method; return the list of their paths."""
    befallen: list[str] = []

    def choose(got: str, path: str) -> Fault:
        if got != method or len(befallen) == times:
            return None
        befallen.append(path)
        return fault

    proxy.fault = choose
    return befallen


@on_each_server
@pytest.mark.parametrize("fault", ["lose", "drop", "truncate", 409, 500, 503, 0.3])
def test_a_name_is_created_once_whatever_happens_to_the_request(
    proxy: Proxy, objects: Storage, fault: Fault
) -> None:
    """The answer to a successful request may be lost."""
    befallen = once(proxy, fault, "PUT", times=2)
    assert objects.create("snapshots/1", b"ours")
    assert befallen
    assert not objects.create("snapshots/1", b"theirs")
    assert objects.read("snapshots/1", 9) == b"ours"


@on_each_server
def test_a_created_name_whose_answer_was_lost_is_recognized(proxy: Proxy, objects: Storage) -> None:
    """Even if creating is no longer allowed by then, since others see what was created."""
    faults: dict[str, list[Fault]] = {"PUT": ["lose", 400], "GET": [404]}

    def choose(method: str, path: str) -> Fault:
        return faults[method].pop(0) if faults.get(method) else None

    proxy.fault = choose
    answers = iter([True, False])
    assert objects.create("snapshots/1", b"ours", allowed=lambda: next(answers))


@on_each_server
@pytest.mark.parametrize("fault", ["drop", "truncate", 500, 503])
def test_interrupted_reads_are_completed(proxy: Proxy, objects: Storage, fault: Fault) -> None:
    write(objects, PART, FILES)
    calls: list[Callable[[], object]] = [
        lambda: objects.read(f"{PART}/obs/x/y.z/c.0.0", 999),
        lambda: sorted(objects.list_files(PART)),
        lambda: objects.names(PART),
    ]
    for read in calls:
        expected = read()
        befallen = once(proxy, fault, "GET", times=2)
        assert read() == expected
        assert len(befallen) == 2


def test_a_listing_that_breaks_off_goes_on(proxy: Proxy, objects: ObjectStorage) -> None:
    names = sorted(["a-1", "a.jpg", "a/1", *(f"b/{number:04d}" for number in range(1100))])
    for name in names:
        objects.write(name, [b"1"])
    for part in {"/".join(name.split("/")[:2]) for name in names}:
        objects.sync(part)
    faults = iter(["truncate", None] * 2)  # each of two pages is cut, and requested again
    proxy.fault = lambda method, path: next(faults)
    proxy.requests.clear()
    assert sorted(name for name, _, _ in objects.objects("")) == names
    assert len(proxy.requests) == 4


def test_a_failed_upload_is_reported(proxy: Proxy, objects: Storage) -> None:
    proxy.fault = lambda method, path: 403 if path.endswith("c.1") else None
    for number in range(20):
        objects.write(f"{PART}/obs/c.{number + 2}", [b"1"])
    objects.write(f"{PART}/obs/c.1", [b"1"])
    with pytest.raises(PermissionError, match="403 Forbidden"):
        objects.sync(PART)
    objects.write(f"{PART}/obs/c.1", [b"1"])
    time.sleep(0.5)
    with pytest.raises(PermissionError, match="403 Forbidden"):
        objects.write(f"{PART}/obs/c.2", [b"1"])
    objects.delete(PART)
    assert [*objects.list_files(PART)] == []
    objects.write("parts/b.zarr/zarr.json", [b"1"])
    objects.sync("parts/b.zarr")


def test_a_limited_number_of_bytes_is_uploaded_at_a_time(proxy: Proxy, objects: Storage) -> None:
    """This bounds the memory, whatever the network does."""
    proxy.fault = lambda method, path: 0.3 if method == "PUT" else None
    proxy.requests.clear()
    content = bytes(24 << 20)
    started = time.monotonic()
    for number in range(5):
        objects.write(f"{PART}/c.{number}", [content])
    assert (
        time.monotonic() - started > 0.25
    )  # two are in progress, and the third waits for one of them
    assert len(proxy.requests) >= 3
    objects.delete(PART)  # uploads that haven't begun release their reserved bytes
    for number in range(3):
        objects.write(f"parts/b.zarr/c.{number}", [content])
    objects.sync("parts/b.zarr")
    assert len([*objects.list_files("parts")]) == 3


def test_a_server_that_ignores_the_condition_is_refused(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No object is left there."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")  # the proxy would disturb this request
    url = new_url(OPEN_BUCKET)
    proxy.fault = lambda method, path: "strip"
    storage = open_storage(url)
    with pytest.raises(StoreWriteError, match="on a server that ignores If-None-Match"):
        storage.claim("parts")
    assert [*storage.list_files("")] == []
    proxy.fault = lambda method, path: None
    storage.claim("parts")
    assert [*storage.list_files("")] == []


def test_claiming_a_bucket_needs_no_request_after_the_first(proxy: Proxy, objects: Storage) -> None:
    proxy.requests.clear()
    objects.claim("snapshots")
    assert proxy.requests == []


# --- connecting ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials were found in the environment: set AWS_ACCESS_KEY_ID",
        ),
        ({"AWS_SECRET_ACCESS_KEY": None}, "no credentials were found in the environment"),
        ({"AWS_ACCESS_KEY_ID": "other"}, r"the server refuses \(InvalidAccessKeyId: .*\): see to"),
        ({"AWS_SECRET_ACCESS_KEY": "other"}, r"the server refuses \(SignatureDoesNotMatch: "),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            r"http://127.0.0.1:9: no answer \(Connection refused\): see to the network",
        ),
        ({"AWS_ENDPOINT_URL": "http://nowhere.invalid"}, r"no answer \(.+\): see to the network"),
        ({"AWS_ENDPOINT_URL": "nowhere"}, "AWS_ENDPOINT_URL is 'nowhere', expected a URL"),
        ({"AWS_ENDPOINT_URL": ""}, "AWS_ENDPOINT_URL is '', expected a URL: .* or unset it"),
    ],
)
def test_an_unreachable_service_is_reported(
    url: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], message: str
) -> None:
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    # On a cloud's machine, keys could come from the machine's role; here they must not.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://169.254.169.254:1")
    started = time.monotonic()
    with pytest.raises(StoreReadError, match=message) as caught:
        open_storage(url)
    assert time.monotonic() - started < 30
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_come_back_is_given_up(proxy: Proxy, url: str) -> None:
    proxy.fault = lambda method, path: 503
    with pytest.raises(StoreReadError, match=r"can't be reached: http://.*: 503 Service Unavail"):
        open_storage(url)
    assert len(proxy.requests) == 6


@on_each_server
def test_a_missing_bucket_is_reported(url: str) -> None:
    with pytest.raises(StoreReadError, match="there is no bucket 'nowhere'"):
        open_storage("s3://nowhere/features")


@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)
def test_a_store_with_an_invalid_key_is_an_error(endpoint: str, url: str) -> None:
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    put_any_key(endpoint, f"{prefix}/parts//x.zarr/zarr.json", b"{}")
    storage = open_storage(url)
    calls: list[Callable[[], object]] = [
        lambda: storage.names("parts"),
        lambda: storage.usage("parts"),
    ]
    for call in calls:
        with pytest.raises(StoreReadError, match=r"can't be listed: in the key '.*parts//") as said:
            call()
        assert str(said.value).startswith(f"{url}/parts ")
        assert "\n" not in str(said.value)


def test_wrong_urls_are_refused() -> None:
    assert is_url("ftp://x/y")
    assert not is_url("features")
    with pytest.raises(InputError, match="unknown scheme of a store's URL 'ftp', expected one of"):
        open_storage("ftp://x/y")
    with pytest.raises(InputError, match="expected a bucket in it"):
        open_storage("s3://")


def test_missing_obstore_is_an_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    real = __import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "obstore":
            raise ModuleNotFoundError("No module named 'obstore'", name="obstore")
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "obstore", raising=False)
    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sparsefeat\[cloud\]'"):
        open_storage(url)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_refused(url: str) -> None:
    """It would wait forever for obstore's threads, which the fork doesn't copy."""
    storage = open_storage(url)
    assert isinstance(storage, ObjectStorage)
    read, written = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = ""
        for call in (lambda: storage.names("parts"), lambda: open_storage(url)):
            try:
                call()
            except StoreError as exc:
                said += str(exc)
        os.write(written, said.encode())
        os._exit(0)
    os.close(written)
    os.waitpid(pid, 0)
    said = os.read(read, 9999).decode()
    os.close(read)
    assert said.count('start processes by "spawn" or "forkserver"') == 2


def test_a_path_opens_local_storage(tmp_path: Path) -> None:
    assert isinstance(open_storage(tmp_path), LocalStorage)
