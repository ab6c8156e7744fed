"""CONTRIBUTING.md is true, and its checks of commits and releases work."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = ("engine", "export", "kernels")


def git(folder: Path, *words: str) -> None:
    settings = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True)


def test_make_has_all_targets_that_contributing_names() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", PAGE, re.MULTILINE))
    assert {"check", "test", "test-lowest", "results", "release"} <= named <= targets


def test_files_that_contributing_names_exist() -> None:
    named = set(re.findall(r"`([\w./]+(?:/|\.(?:py|pyi|toml|md|lock)))[`:]", PAGE))
    assert len(named) > 20
    for name in named - {"dist/", "engine/sparsefeat/cli/NAME.py"}:
        there = (ROOT / name).exists() or any(
            next((ROOT / top).rglob(name.rstrip("/")), None) for top in SOURCES
        )
        assert there, name


def test_the_pre_commit_hooks_are_those_of_make_check() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    expected = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == expected
    assert {hook["language"] for hook in local["hooks"]} == {"system"}


def test_the_citation_has_all_required_fields_and_no_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert citation["license"] == PROJECT["license"]
    assert "version" not in citation


@pytest.mark.parametrize("name", ["bug", "idea", "words"])
def test_issue_forms_have_distinct_questions(name: str) -> None:
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert form["name"]
    assert form["description"]
    questions = [part["attributes"]["label"] for part in form["body"] if part["type"] == "textarea"]
    assert questions
    assert len(set(questions)) == len(questions)


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    return subprocess.run(
        ["make", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_another_python_gets_its_own_environment(tmp_path: Path) -> None:
    done = make(tmp_path, "-n", "check", f"PYTHON={sys.executable}")
    own = f".venv-{sys.version_info.major}.{sys.version_info.minor}"
    assert f"-m venv --clear {own}\n" in done.stdout
    assert f"{own}/bin/mypy" in done.stdout
    assert ".venv/" not in done.stdout.replace(sys.executable, "")


def test_an_environment_that_make_did_not_create_is_not_replaced(tmp_path: Path) -> None:
    own = tmp_path / ".venv" / "bin" / "something"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    done = make(tmp_path, "check", f"PYTHON={sys.executable}", "VENV=.venv")
    assert done.returncode == 2
    assert ".venv was not made by make" in done.stderr
    assert own.read_text() == "mine"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository whose changelog has a section for the version of `pyproject.toml`."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {PROJECT['version']} - 2026-01-31\n")
    git(tmp_path, "init")
    return tmp_path


def release(clone: Path) -> str:
    """Run a release that is refused; return its message."""
    git(clone, "add", "--all")
    git(clone, "commit", "-m", "a commit")
    (clone / "later").touch()
    line = [str(clone / ".ci" / "release"), sys.executable]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not (clone / "dist").exists()
    return done.stderr


def test_a_release_needs_its_version_in_the_changelog(clone: Path) -> None:
    (clone / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.0.9 - 2025-01-31\n")
    assert f'no section "## {PROJECT["version"]}"' in release(clone)


def test_a_release_needs_all_changes_committed(clone: Path) -> None:
    assert "uncommitted changes" in release(clone)
