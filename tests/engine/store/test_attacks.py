"""Hostile stores: refused in one line, before memory or time is spent, whoever looks how."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .attacks import ATTACKS, PART, write_target
from .conftest import ROOT

REFUSALS = ("StoreCorruptError", "StoreMismatchError", "StoreError")

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """Ask a confined process what it sees: see confined.py."""
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


def test_the_target_is_sound(ask: Ask, store: Path) -> None:
    assert set(ask(folder=str(store)).values()) == {""}
    for name in ("info", "verify", "sparsity", "report"):
        answer = ask(folder=str(store), command=name)
        assert answer["code"] == 0, answer


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_one_line(ask: Ask, store: Path, name: str) -> None:
    ATTACKS[name](store / PART)
    outcomes = ask(folder=str(store))
    assert outcomes["verify"].startswith("DamageError: "), outcomes
    refused = {look: error for look, error in outcomes.items() if error and look != "verify"}
    assert refused, outcomes
    for error in refused.values():
        assert error.split(": ")[0] in REFUSALS, outcomes
    for error in outcomes.values():
        assert error.isprintable(), outcomes
        assert len(error) < 1000, outcomes
    assert not (store / "harmed").exists()
