"""Fixtures that tests of several packages share."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .engine.buckets import Proxy, environment, mocking, new_url, proxying, serving

# Pages must not need the network, and Chromium's own requests are not what is tested.
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
]

OpenPage = Callable[..., Any]


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server on loopback."""
    with serving(tmp_path_factory.mktemp("weed")) as made:
        yield made


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """A simulation of S3: a second program that speaks its protocol."""
    with mocking() as made:
        yield made


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> str:
    """The server that a test uses: SeaweedFS, or the one that `on_each_server` names."""
    return str(request.getfixturevalue(getattr(request, "param", "seaweedfs")))


@pytest.fixture
def url(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An unused URL; sets the environment that is needed to reach it."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    return new_url()


@pytest.fixture
def proxy(url: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy between the test and the server."""
    with proxying(endpoint) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
        yield made


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, without a window, driven by Playwright."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("there is no Chromium on this system")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Open HTML files; at the end, none may have had an error or asked for anything else."""
    errors: list[str] = []
    requests: list[str] = []
    opened: list[tuple[Any, str]] = []

    def open_file(path: Path, *, width: int = 1100) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(300_000)  # a busy machine is no failure
        page.on("console", lambda message: errors.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        opened.append((page, path.as_uri()))
        page.goto(path.as_uri())
        return page

    yield open_file
    for page, _ in opened:
        page.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [
        url for _, url in opened
    ]
