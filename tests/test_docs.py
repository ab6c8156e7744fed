"""Every command and every block of Python in the documentation runs unchanged."""

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from sparsefeat.cli import main
from sparsefeat.cli.bench import bench
from sparsefeat.cli.export import export
from sparsefeat.cli.quantize import quantize
from sparsefeat.errors import MissingDependencyError

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# These take minutes with a real model: here only their options are parsed; other tests run them.
MINUTES = {"export": export, "quantize": quantize, "bench": bench}
# On these pages, only options of `sparsefeat` are checked: the rest needs other machines.
FOR_OTHER_MACHINES = {"gpu.md", "cluster.md"}
SHELL = {"|", ">", "<"}
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos = tmp_path_factory.mktemp("docs") / "photos"
    photos.mkdir()
    for name, image in (("cat", data.chelsea()), ("dog", data.rocket()), ("c", data.coffee())):
        Image.fromarray(image).save(photos / f"{name}.jpg")
    (photos / "people").mkdir()
    for copy in range(8):
        Image.fromarray(data.astronaut()[copy:]).save(photos / "people" / f"{copy}.png")
    return photos


def sandbox_with(folder: Path, model: Path, photos: Path) -> Path:
    """Fill a folder with what the documentation assumes: a model and images."""
    for name in (model.name, f"{model.name}.data"):
        shutil.copyfile(model.with_name(name), folder / name)
    shutil.copytree(photos, folder / "photos")
    for name in ("cat", "dog"):
        (folder / f"{name}.jpg").symlink_to(folder / "photos" / f"{name}.jpg")
    return folder


@pytest.fixture
def sandbox(vgg16: Path, photos: Path, tmp_path: Path) -> Path:
    """For README, maps, and the examples in docstrings, which use the real model."""
    return sandbox_with(tmp_path, vgg16, photos)


@pytest.fixture
def small_sandbox(small_vgg16: Path, photos: Path, tmp_path: Path) -> Path:
    """For the other pages, whose commands would take minutes with the real model."""
    return sandbox_with(tmp_path, small_vgg16, photos)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


def console(page: Path) -> list[str]:
    return [
        line.removeprefix("$ ").split("  #")[0].strip()
        for kind, text in blocks(page)
        if kind == "console"
        for line in text.splitlines()
        if line.startswith("$ ")
    ]


def parse(words: list[str]) -> None:
    """Parse a command with its options; run nothing."""
    name, *rest = words[1:] if words[0] == "-v" else words
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    command.make_context(name, rest)


def run(command: str, folder: Path) -> None:
    """Run a command in a shell."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.filterwarnings("default")  # as in a process of its own
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_code_of_a_page_run(
    page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that needs neither a shell nor PyTorch runs in this process, which saves seconds."""
    real = page.name in ("README.md", "maps.md")
    sandbox: Path = request.getfixturevalue("sandbox" if real else "small_sandbox")
    if "s3://" in "".join(console(page)):
        request.getfixturevalue("url")  # sets the environment
    monkeypatch.chdir(sandbox)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in console(page):
        words = shlex.split(command)
        if page.name in FOR_OTHER_MACHINES:
            if words[0] == "sparsefeat":
                parse(words[1:])
        elif words[0] == "make":
            assert words[1] in targets
        elif words[0] == "sparsefeat" and words[1] in MINUTES:
            MINUTES[words[1]].make_context(words[1], words[2:])
        elif words[0] == "sparsefeat" and not SHELL.intersection(words):
            done = CliRunner().invoke(main, words[1:])
            assert done.exit_code == 0, f"{command}\n{done.stderr}"
        elif words[:2] != ["pip", "install"]:
            run(command, sandbox)
    names: dict[str, object] = {"__name__": "__main__"}  # a block may use names of an earlier one
    for kind, text in blocks(page):
        if kind == "python" and "torch" not in text:
            exec(compile(text, str(page), "exec"), names)
        elif kind == "python" and find_spec("torch"):
            run(f"{shlex.quote(sys.executable)} -c {shlex.quote(text)}", sandbox)


@pytest.mark.parametrize("package", ["sparsefeat", "sparsefeat_export", "sparsefeat_kernels"])
def test_examples_in_docstrings_give_the_shown_results(
    package: str, sandbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sandbox)
    found = importlib.import_module(package)
    names = [name for _, name, _ in pkgutil.walk_packages(found.__path__, f"{package}.")]
    attempted = 0
    for name in names:
        if not name.endswith("__main__"):
            try:
                module = importlib.import_module(name)
            except MissingDependencyError:  # PyTorch
                continue
            results = doctest.testmod(module)
            assert results.failed == 0, name
            attempted += results.attempted
    assert attempted > 0


def test_the_readme_shows_the_main_commands() -> None:
    shown = " ".join(console(ROOT / "README.md"))
    for command in ("make demo", "make test", "sparsefeat export", "sparsefeat extract"):
        assert command in shown


def test_links_between_pages_have_targets() -> None:
    for page in [*PAGES, *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
