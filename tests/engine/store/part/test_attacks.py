"""Hostile stores are refused in one line, before memory or time is spent, by every reader."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..attacks import ATTACKS, SNAPSHOTS, crowd, edit_header, reseal, write_target
from ..conftest import ROOT

REFUSALS = ("StoreCorruptError", "StoreMismatchError", "StoreError")

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """Ask a confined process how it reads a store: see confined.py."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.store.confined"],
        cwd=ROOT,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None

    def ask(**request: str) -> dict[str, Any]:
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        answer: dict[str, Any] = json.loads(answers.readline())
        assert "died" not in answer, f"ended by signal {answer['died']}"
        return answer

    with process:
        yield ask


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target") / "store"
    write_target(folder)
    return folder


@pytest.fixture
def store(target: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(target, tmp_path / "store")
    return folder


def test_the_store_without_an_attack_is_undamaged(ask: Ask, store: Path) -> None:
    assert set(ask(folder=str(store)).values()) == {""}
    for name in ("info", "verify", "sparsity", "report"):
        answer = ask(folder=str(store), command=name)
        assert answer["code"] == 0, answer


# One function parses the metadata of nodes, so a sample of the attacks on them is enough here.
CONFINED = [
    name
    for number, name in enumerate(ATTACKS)
    if not name.startswith(("node: obs", "node: uns")) or number % 5 == 0
]


def attack(store: Path, name: str) -> None:
    (part,) = (store / "parts").iterdir()
    ATTACKS[name](part)
    reseal(store)


@pytest.mark.parametrize("name", CONFINED)
def test_an_attack_is_refused_in_one_line(ask: Ask, store: Path, name: str) -> None:
    attack(store, name)
    outcomes = ask(folder=str(store))
    assert outcomes["verify"].startswith(("DamageError: ", "StoreCorruptError: ")), outcomes
    refused = {look: error for look, error in outcomes.items() if error and look != "verify"}
    assert refused, outcomes
    for error in refused.values():
        assert error.split(": ")[0] in REFUSALS, outcomes
    for error in outcomes.values():
        assert error.isprintable(), outcomes
        assert len(error) < 1000, outcomes
    assert not (store / "harmed").exists()


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_hostile_snapshot_is_refused_in_one_line(ask: Ask, store: Path, name: str) -> None:
    SNAPSHOTS[name](store)
    for look, error in ask(folder=str(store)).items():
        assert error.split(": ")[0] in REFUSALS, (look, error)
        assert error.isprintable()
        assert len(error) < 1000


def test_declared_rows_take_no_memory(ask: Ask, store: Path) -> None:
    crowd(store)
    outcomes = ask(folder=str(store))
    for name in ("matrix", "dense"):
        assert outcomes.pop(name).startswith("StoreMemoryError: 68,719,4"), outcomes
    assert outcomes.pop("row") == ""
    for look, error in outcomes.items():
        assert error.split(": ")[0] in (*REFUSALS, "StoreChangedError", "DamageError"), (
            look,
            error,
        )


# One of each kind, because commands read as the readers above do.
SHOWN = [
    "header: rows beyond the tables",
    "header: settings nested deep",
    "root: deep nesting",
    "root: a long text",
    "node: obsm/wide/indices: inner chunks [1]",
    "node: obs/path: codecs pickles",
    "chunk: a Blosc bomb in counts",
    "shard: wide/indices, a chunk twice",
    "indptr: past int64",
    "indices: far past the columns",
]
NOT_READ = {  # by a command that prints no data
    "info": (
        "header: ",
        "root: ",
        "node: obsm",
        "node: obs/path",
        "chunk: ",
        "link: obsm",
        "shard: ",
        "ind",
    ),
}


@pytest.mark.parametrize("command", ["info", "verify", "sparsity", "report"])
def test_commands_report_attacks_in_one_line(
    ask: Ask, store: Path, target: Path, command: str
) -> None:
    for name in SHOWN:
        shutil.rmtree(store)
        shutil.copytree(target, store)
        attack(store, name)
        answer = ask(folder=str(store), command=command)
        said = {**answer, "attack": name}
        assert "Traceback" not in answer["err"] + answer["out"], said
        if command == "verify":
            assert answer["code"] == 1, said
            assert answer["out"].count("\n") < 60, said
            assert "DAMAGED" in answer["out"], said
        elif answer["code"] == 0:
            assert name.startswith(NOT_READ.get(command, ())), said
        else:
            assert answer["code"] == 2, said
            (line,) = answer["err"].splitlines()
            assert line.startswith("Error: "), said
            assert len(line) < 1000, said


@pytest.mark.parametrize("command", ["info", "verify", "sparsity", "report"])
def test_commands_advise_to_upgrade_for_newer_formats(ask: Ask, store: Path, command: str) -> None:
    (part,) = (store / "parts").iterdir()

    def edit(header: dict[str, Any]) -> None:
        header.clear()
        header.update({"format": 99, "rows": {"of": "tomorrow"}})

    edit_header(part, edit)
    reseal(store)
    answer = ask(folder=str(store), command=command)
    said = (answer["out"] if command == "verify" else answer["err"]).splitlines()
    assert answer["code"] == (1 if command == "verify" else 2), answer
    assert any("format 99" in line and "upgrade sparsefeat" in line for line in said), answer
    if command != "verify":
        assert len(said) == 1, answer
