"""The site builds without warnings, has all pages and names, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest

import sparsefeat
import sparsefeat_export
import sparsefeat_kernels
from sparsefeat.cli import main

pytest.importorskip("mkdocs", reason="the tools that make the site are not installed")

ROOT = Path(__file__).parents[1]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site that `make docs` builds."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Page(HTMLParser):
    """Collects what a page loads, its anchors and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()  # to other pages and files of the site
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors.add(found.get("id") or "")
        link = found.get("href") or ""
        if tag == "a" and not re.match(r"[a-z]+:|//", link):
            self.links.add(link)
        if target := found.get(LOADED.get(tag, "")):
            self.loads.append(target)


def pages(site: Path) -> dict[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path.read_text("utf-8"))
        for path in site.rglob("*.html")
    }


def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    found = pages(site)
    assert len(found) > 40
    for name, page in found.items():
        assert page.loads, name
        for target in page.loads:
            assert not re.match(r"(https?:)?//", target), f"{name}: {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text("utf-8"))


def test_pages_from_outside_docs_are_included(site: Path) -> None:
    """Their links are checked when the site is built."""
    assert "Keras" in (site / "index.html").read_text("utf-8")
    assert "Unreleased" in (site / "changelog.html").read_text("utf-8")
    assert "Tests mirror the sources" in (site / "contributing.html").read_text("utf-8")
    schemas = ROOT / "engine/sparsefeat/store/format"
    for schema in ("header", "snapshot"):
        linked = site / schemas.relative_to(ROOT) / f"{schema}.schema.json"
        assert linked.read_bytes() == (schemas / linked.name).read_bytes()


def test_links_of_pages_have_targets_in_the_site(site: Path) -> None:
    found = pages(site)
    for name, page in found.items():
        if name == "404.html":  # its links are those of a server's root
            continue
        for link in page.links:
            path, _, anchor = link.partition("#")
            target = (site / name).parent / unquote(path) if path else site / name
            assert target.exists(), f"{name}: {link}"
            if anchor and target.suffix == ".html":
                other = found[target.resolve().relative_to(site.resolve()).as_posix()]
                assert unquote(anchor) in other.anchors, f"{name}: {link}"


def test_the_reference_has_every_public_name_and_command(site: Path) -> None:
    reference = {name: page for name, page in pages(site).items() if name.startswith("reference/")}
    anchors = set().union(*(page.anchors for page in reference.values()))
    for package in (sparsefeat, sparsefeat_kernels):
        assert {f"{package.__name__}.{name}" for name in package.__all__} <= anchors
    for name in sparsefeat_export.__all__:
        assert {f"sparsefeat_export.{name}", f"sparsefeat.{name}"} & anchors, name
    commands = {f"sparsefeat-{name}" for name in main.list_commands(click.Context(main))}
    assert commands <= reference["reference/cli.html"].anchors
    assert "--rows-per-part" in (site / "reference/cli.html").read_text("utf-8")
    # The signature lists the options that are passed on to `ExtractorOptions`.
    extraction = (site / "reference/extraction.html").read_text("utf-8")
    for name in ("Extractor", "extract"):
        signature = extraction.split(f'id="sparsefeat.{name}"')[1].split("</pre>")[0]
        assert "decode_threads" in signature
        assert "*" not in re.sub(r"<[^>]+>", "", signature).replace("*,", "").replace("*\n", "")


def test_lists_and_tables_are_rendered_as_such(site: Path) -> None:
    """GitHub needs no blank line before a list or a table, but the site's Markdown does."""
    for path in site.rglob("*.html"):
        text = re.sub(r"<pre.*?</pre>", "", path.read_text("utf-8"), flags=re.DOTALL)
        for paragraph in re.findall(r"<p>(.*?)</p>", text, re.DOTALL):
            assert not re.search(r"^(- |\d+\. |\|)", paragraph, re.MULTILINE), (
                f"{path.name}: {paragraph}"
            )


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """A server on loopback, as the search needs one."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(address: str, chromium: Any) -> Iterator[Any]:
    """A page that loads nothing from elsewhere."""
    opened, asked = chromium.new_page(viewport={"width": 1280, "height": 800}), []
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    opened.close()
    assert asked
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()


def test_pages_fit_large_and_small_screens(site: Path, address: str, page: Any) -> None:
    wider = "document.documentElement.scrollWidth - innerWidth"
    for path in sorted(site.rglob("*.html")):
        page.goto(f"{address}/{path.relative_to(site).as_posix()}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            for _ in range(50):  # its scripts adapt it to the new width
                if page.evaluate(f"innerWidth === {width} && {wider} <= 0"):
                    break
                page.wait_for_timeout(100)
            assert page.evaluate(wider) <= 0, f"{path.name} is wider than {width} pixels"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_search_finds_a_page(address: str, page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    if width == 390:
        page.locator("label.md-header__button[for=__search]").click()
    found = page.locator(".md-search-result__item").first
    # Text that is typed before the page's scripts are ready is not searched for.
    for _ in range(60):
        page.locator("input[name=query]").fill("")
        page.locator("input[name=query]").press_sequentially("winograd")
        page.wait_for_timeout(1000)
        if found.is_visible():
            break
    assert found.is_visible()
