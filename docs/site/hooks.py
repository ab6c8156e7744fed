"""Give the site the pages that lie elsewhere in the repository, and whatever pages link to there.

A page is written to be read in the repository: its links are relative to where it lies there. The
site has the pages of `docs/` at its root, so the links of pages from elsewhere, and links to them,
are rewritten here.
"""

import ast
import importlib
import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# Where pages from outside of docs/ lie on the site. Pages of these folders keep their paths.
OUTSIDE = ("examples/", "benchmarks/")
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "SECURITY.md": "security.md",
}
SOURCES = {site: source for source, site in PAGES.items()}
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
# In a page, `::: commands` is the reference of the commands, `::: names of PACKAGE` that of what
# a package has, and `::: names of PACKAGE from pipeline, types` that of what it has from there.
COMMANDS = re.compile(r"^::: commands$", re.MULTILINE)
NAMES = re.compile(r"^::: names of (\w+)(?: from (.+))?$", re.MULTILINE)
PACKAGES = {
    "sparsefeat": "engine/sparsefeat/__init__.pyi",
    "sparsefeat_export": "export/sparsefeat_export/__init__.py",
    "sparsefeat_kernels": "kernels/sparsefeat_kernels/__init__.py",
}
LIST = re.compile(r"^((?!- |\s).+\n)(?=- )", re.MULTILINE)  # right below a line of text
NOTEBOOK_LINK = re.compile(r'(?<=href=")(\.\./[^":#]+\.md)(?=["#])')
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)")


class TwoSpaces(markdown.Extension):  # type: ignore[misc]  # it ships no types
    """What belongs to an item of a list is indented by two spaces, as in the repository."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:  # noqa: N802  # Markdown's name
        """Make the parser anew; the extensions that come later add to this one."""
        md.tab_length = 2
        md.build_parser()


def on_config(config: MkDocsConfig) -> None:
    """Let `folder/*` in the navigation stand for the pages of a folder, its README first."""
    config.markdown_extensions.insert(0, TwoSpaces())

    def expand(entry: Any) -> Any:
        if isinstance(entry, list):
            return [expand(each) for each in entry]
        if isinstance(entry, dict):
            return {title: expand(inner) for title, inner in entry.items()}
        if not entry.endswith("/*"):
            return entry
        pages = sorted((ROOT / "docs").glob(f"{entry}.md"), key=lambda p: (p.stem != "README", p))
        return [page.relative_to(ROOT / "docs").as_posix() for page in pages]

    config.nav = expand(config.nav)


@event_priority(100)  # before the plug-in that renders notebooks looks at the files
def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add pages from outside of docs/, the notebooks, and all files that a page links to."""
    added = {source: site for source, site in PAGES.items() if (ROOT / source).exists()}
    added |= {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for path in (ROOT / "examples").glob("*.ipynb")
    }
    pages = {file.src_uri: file.content_string for file in files.documentation_pages()}
    pages |= {site: (ROOT / source).read_text("utf-8") for source, site in added.items()}
    while pages:
        site, text = pages.popitem()
        for source in linked(site, text):
            if source in added or site_path(source) != source or not (ROOT / source).is_file():
                continue
            added[source] = source
            if source.endswith(".md"):  # it may link to further files
                pages[source] = (ROOT / source).read_text("utf-8")
    for source, site in added.items():
        if site == source:  # the plug-in for notebooks finds only files with a folder
            file = File(source, str(ROOT), config.site_dir, config.use_directory_urls)
        else:
            file = File.generated(config, site, abs_src_path=str(ROOT / source))
        files.append(file)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the site's pages, set lists apart from text, and write the reference."""
    folder = posixpath.dirname(page.file.src_uri) or "."

    def moved(match: re.Match[str]) -> str:
        source = in_repository(page.file.src_uri, match[1])
        return posixpath.relpath(site_path(source), folder)

    pieces = FENCED.split(markdown)
    pieces[::2] = [LINK.sub(moved, LIST.sub(r"\1\n", text)) for text in pieces[::2]]
    text = COMMANDS.sub(lambda _: "\n\n".join(commands()), "".join(pieces))

    def documented(match: re.Match[str]) -> str:
        return "\n\n".join(names(match[1], (match[2] or "").split(", ")))

    return NAMES.sub(documented, text)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Lead a notebook's links to the site's pages: the plug-in that renders it leaves them."""
    if not page.file.src_uri.endswith(".ipynb"):
        return output
    folder = posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        found = site_path(in_repository(page.file.src_uri, match[1]))
        return posixpath.relpath(found, folder).removesuffix(".md") + ".html"

    return NOTEBOOK_LINK.sub(moved, output)


def names(package: str, rooms: list[str]) -> Iterator[str]:
    """Give the lines that make mkdocstrings document what a package has, or has from `rooms`."""
    import sparsefeat

    own = importlib.import_module(package)
    source = ROOT / PACKAGES[package]
    for node in ast.parse(source.read_text("utf-8")).body:
        if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith(tuple(rooms)):
            continue
        for name in (alias.name for alias in node.names):
            named = getattr(own, name)
            if own is not sparsefeat and named is getattr(sparsefeat, name, None):
                continue  # documented as sparsefeat's own
            defined_in = str(getattr(named, "__module__", ""))
            if defined_in.endswith(f".{name}"):  # a module of the same name would be documented
                yield f'<a id="{package}.{name}"></a>\n\n::: {defined_in}.{name}'
            else:
                yield f"::: {package}.{name}"


def commands() -> Iterator[str]:
    """Give what `--help` of each command says, as Markdown."""
    from sparsefeat.cli import main

    context = click.Context(main, info_name="sparsefeat", **main.context_settings)
    yield from command(main, context)
    for name in main.list_commands(context):
        found = main.get_command(context, name)
        assert found is not None
        yield from command(found, click.Context(found, info_name=name, parent=context))


def command(described: click.Command, context: click.Context) -> Iterator[str]:
    """Give the usage, the text and the options of one command."""
    yield f"## {context.command_path}"
    usage = " ".join([context.command_path, *described.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    yield from map(paragraph, inspect.cleandoc(described.help or "").split("\n\n"))
    yield "| option | |\n|---|---|\n" + "\n".join(
        f"| `{record[0].replace(', ', '` `')}` | {cell(record[1])} |"
        for parameter in described.get_params(context)
        if (record := parameter.get_help_record(context)) and record[1]
    )
    yield from map(paragraph, inspect.cleandoc(described.epilog or "").split("\n\n"))


def cell(text: str) -> str:
    """Give a text as it stands in a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*")


def paragraph(text: str) -> str:
    """Give a paragraph of a help text; what click doesn't wrap, after a backspace, is a block."""
    if text.startswith("\b"):
        return f"```text\n{text.removeprefix(chr(8)).strip(chr(10))}\n```"
    return text.replace("*", "\\*")


def linked(site: str, text: str) -> Iterator[str]:
    """Give the paths in the repository that a page links to."""
    for piece in FENCED.split(text)[::2]:
        for match in LINK.finditer(piece):
            yield in_repository(site, match[1])


def in_repository(site: str, link: str) -> str:
    """Give the path in the repository of what a page of the site links to."""
    source = SOURCES.get(site, site if site.startswith(OUTSIDE) else f"docs/{site}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def site_path(source: str) -> str:
    """Give the path on the site of a path in the repository; the same where it isn't a page."""
    if (ROOT / source / "README.md").exists():
        source = f"{source}/README.md"
    return PAGES.get(source, source.removeprefix("docs/"))
