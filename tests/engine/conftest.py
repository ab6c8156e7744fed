"""An object store for the tests of several packages."""

from collections.abc import Iterator

import pytest

from .buckets import Proxy, environment, new_url, proxying, serving


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server on loopback."""
    with serving(tmp_path_factory.mktemp("weed")) as made:
        yield made


@pytest.fixture
def url(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL where nothing lies, and the environment by which it is reached."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    return new_url()


@pytest.fixture
def proxy(url: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What lies between here and the server."""
    with proxying(endpoint) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
        yield made
