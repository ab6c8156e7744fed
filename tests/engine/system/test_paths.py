"""What is no path is refused in one line, wherever a path is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sparsefeat
from sparsefeat.errors import InputError

TAKE: dict[str, Callable[[Any], object]] = {
    "Extractor": sparsefeat.Extractor,
    "verify_model": sparsefeat.verify_model,
    "open": sparsefeat.open,
    "info": sparsefeat.info,
    "verify": sparsefeat.verify,
    "verify, source": lambda path: sparsefeat.verify("store", source=path),
    "compact": sparsefeat.compact,
    "merge": lambda path: sparsefeat.merge([path], "new"),
    "merge, all": lambda path: sparsefeat.merge(path, "new"),
    "merge, output": lambda path: sparsefeat.merge(["store"], path),
    "convert": lambda path: sparsefeat.convert(path, "new.h5ad"),
    "convert, output": lambda path: sparsefeat.convert("store", path),
    "build_report": sparsefeat.build_report,
    "analyse": sparsefeat.analyse,
    "list_pictures": sparsefeat.list_pictures,
}


@pytest.mark.parametrize("take", TAKE)
@pytest.mark.parametrize("path", [None, 5, b"store"])
def test_what_is_no_path_is_refused(take: str, path: object) -> None:
    with pytest.raises(InputError, match=r"^got [^\n]+, expected [^\n]+$"):
        TAKE[take](path)


@pytest.mark.parametrize("take", ["Extractor", "open", "verify", "convert", "merge, output"])
def test_a_path_that_no_system_takes_is_refused(take: str) -> None:
    with pytest.raises(InputError, match="expected one without a NUL character"):
        TAKE[take]("a\0b")


def test_any_kind_of_path_is_taken(tmp_path: Path) -> None:
    class Kind:
        def __fspath__(self) -> str:
            return str(tmp_path)

    for path in (tmp_path, str(tmp_path), Kind()):
        with pytest.raises(sparsefeat.StoreNotFoundError, match="is an empty folder"):
            sparsefeat.open(path)
