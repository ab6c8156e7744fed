"""The schemas of a part's metadata say what readers take, as far as a schema can."""

import json
from collections.abc import Callable
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from sparsefeat.errors import StoreError
from sparsefeat.store.format.arrays import ArrayMetadata
from sparsefeat.store.format.documents import FORMAT, Header

from .attacks import HEADERS, NODES, PART, write_target
from .test_format import FIXTURES

SCHEMAS: dict[str, Any] = {
    name: json.loads(files("sparsefeat.store").joinpath(name).read_text(encoding="utf-8"))
    for name in ("header.schema.json", "part.schema.json")
}

# What takes another part of the document to know, or arithmetic.
BEYOND_HEADERS = {
    "a layer twice",
    "a narrower layer",
    "nnz past the matrix",
    "origins of more rows",
    "parts to replace backwards",
    "parts to replace that overlap",
    "settings nested deep",
    "a range backwards",
    "ranges that touch",
    "origins of other rows",
    "settings that aren't finite",
}
BEYOND_NODES = ("chunks", "obsm/full: shape [100000, 4]")


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    registry: Any = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()]
    )
    return {
        name: Draft202012Validator(schema, registry=registry) for name, schema in SCHEMAS.items()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("target")
    write_target(folder)
    document: dict[str, Any] = json.loads((folder / PART / "zarr.json").read_bytes())
    return document


def faults(validator: Any, document: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_the_schemas_are_schemas() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    formats = SCHEMAS["header.schema.json"]["properties"]["format"]
    assert (formats["minimum"], formats["maximum"]) == (1, FORMAT)


def test_what_is_written_is_valid(validators: dict[str, Any], root: dict[str, Any]) -> None:
    assert faults(validators["part.schema.json"], root) == []
    assert faults(validators["header.schema.json"], root["attributes"]["sparsefeat"]) == []


@pytest.mark.parametrize("part", sorted(FIXTURES.glob("*-*/part-*")), ids=str)
def test_what_was_written_once_is_valid(validators: dict[str, Any], part: Path) -> None:
    document = json.loads((part / "zarr.json").read_bytes())
    assert faults(validators["part.schema.json"], document) == []
    for name, copy in document["consolidated_metadata"]["metadata"].items():
        assert json.loads((part / name / "zarr.json").read_bytes()) == copy


def refuses(read: Callable[[], object]) -> bool:
    try:
        read()
    except (StoreError, TypeError, ValueError, KeyError):
        return True
    return False


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_refused_is_not_valid(
    validators: dict[str, Any], root: dict[str, Any], name: str
) -> None:
    header = deepcopy(root["attributes"]["sparsefeat"])
    HEADERS[name](header)
    refused = refuses(lambda: Header.from_json(header, where=""))
    found = faults(validators["header.schema.json"], header)
    assert bool(found) == (refused and name not in BEYOND_HEADERS), found


@pytest.mark.parametrize("name", NODES)
def test_a_node_that_is_refused_is_not_valid(
    validators: dict[str, Any], root: dict[str, Any], name: str
) -> None:
    array, edit = NODES[name]
    document = deepcopy(root)
    node = document["consolidated_metadata"]["metadata"][array]
    edit(node)
    # What isn't refused yet, comparing it with the header, or with the files, tells.
    refused = refuses(lambda: ArrayMetadata.from_json(node))
    found = faults(validators["part.schema.json"], document)
    assert found or not refused or any(each in name for each in BEYOND_NODES)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root.pop("consolidated_metadata"),
        lambda root: root["consolidated_metadata"]["metadata"].pop("obs/path"),
        lambda root: root["consolidated_metadata"]["metadata"].update({"../x": {}}),
        lambda root: root["consolidated_metadata"]["metadata"].update({"/x": {}}),
        lambda root: root["attributes"].update({"encoding-type": "dict"}),
        lambda root: root["attributes"].pop("sparsefeat"),
        lambda root: root.update(zarr_format=2),
    ],
)
def test_a_root_that_is_not_valid(
    validators: dict[str, Any], root: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    document = deepcopy(root)
    change(document)
    assert faults(validators["part.schema.json"], document)


def test_what_is_not_known_is_valid(validators: dict[str, Any], root: dict[str, Any]) -> None:
    document = deepcopy(root)
    document["attributes"]["sparsefeat"]["of-tomorrow"] = [1]
    document["attributes"]["sparsefeat"]["layers"][0]["more"] = {}
    document["consolidated_metadata"]["metadata"]["uns/mine"] = {"node_type": "group"}
    assert faults(validators["part.schema.json"], document) == []
