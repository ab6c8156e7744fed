"""A room imports only what another room's `__init__` exports, never a module inside it."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import sparsefeat
import sparsefeat_export
from sparsefeat.errors import MissingDependencyError


def modules(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield each module's name, the name of its room, and its file."""
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        yield name.removesuffix(".__init__"), name.rpartition(".")[0], path


@pytest.mark.parametrize("package", [sparsefeat, sparsefeat_export], ids=lambda each: each.__name__)
def test_rooms_import_only_exported_names_of_other_rooms(package: ModuleType) -> None:
    root = Path(str(package.__file__)).parent
    room_of = {name: room for name, room, _ in modules(root)}
    rooms = set(room_of.values())
    entered = 0
    for name, room, path in modules(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module not in room_of:
                continue
            target = node.module
            if target not in rooms:
                assert room_of[target] in (room, root.name), f"{name} imports from inside {target}"
            elif target not in (room, root.name):
                try:
                    offered = set(importlib.import_module(target).__all__)
                except MissingDependencyError:  # PyTorch isn't installed
                    continue
                assert offered.issuperset(alias.name for alias in node.names), name
                entered += 1
    assert entered
