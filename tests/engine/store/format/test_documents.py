"""The JSON schemas of the two documents describe what readers accept, as far as schemas can."""

import json
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from sparsefeat.errors import StoreError
from sparsefeat.store.format.documents import read_header, schemas

from ..attacks import HEADERS, write_target
from ..data import make_batch, part_folders, write_store


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("target")
    write_target(folder)
    (part,) = part_folders(folder)
    root = json.loads((part / "zarr.json").read_bytes())
    found: dict[str, Any] = root["attributes"]["sparsefeat"]
    return found


def faults(name: str, document: object) -> list[str]:
    validator: Any = Draft202012Validator(schemas()[name])
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def in_order(schema: Any) -> Any:
    """Sort the alternatives in a schema, whose order depends on the version of msgspec."""
    if isinstance(schema, dict):
        return {
            key: sorted(map(in_order, value), key=repr) if key == "anyOf" else in_order(value)
            for key, value in schema.items()
        }
    return [*map(in_order, schema)] if isinstance(schema, list | tuple) else schema


@pytest.mark.parametrize("name", schemas())
def test_the_shipped_schemas_are_those_of_the_classes(name: str) -> None:
    """After changing a document, write the result of `schemas` to the named file."""
    shipped = files("sparsefeat.store.format").joinpath(name).read_text(encoding="utf-8")
    assert in_order(json.loads(shipped)) == in_order(schemas()[name])
    Draft202012Validator.check_schema(schemas()[name])


def test_written_documents_are_valid(header: dict[str, Any], tmp_path: Path) -> None:
    assert faults("header.schema.json", header) == []
    for number in range(3):
        write_store(tmp_path, [make_batch([number])])
    found = [json.loads(file.read_bytes()) for file in sorted((tmp_path / "snapshots").iterdir())]
    assert [faults("snapshot.schema.json", document) for document in found] == [[], [], []]
    assert ["base" in document for document in found] == [False, True, True]


@pytest.mark.parametrize("name", HEADERS)
def test_invalid_documents_are_refused(header: dict[str, Any], name: str) -> None:
    document = deepcopy(header)
    HEADERS[name](document)
    if faults("header.schema.json", document):
        with pytest.raises(StoreError):
            read_header(msgspec.json.encode(document), where="")
