"""Checking one part: its metadata, its tables and its layers."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sparsefeat.errors import StoreCorruptError, StoreError, StoreReadError
from sparsefeat.records import Reject, Row
from sparsefeat.store.check_layer import check_layer
from sparsefeat.store.group import consolidated, encoding
from sparsefeat.store.json_file import read_json
from sparsefeat.store.part import Part
from sparsefeat.store.regular_file import read_refusal
from sparsefeat.store.report import Finding
from sparsefeat.store.tables import COLUMNS, INDEX, REJECTED, ROWS, row_id


class PartCheck:
    """Looks at everything in one part; `rows` is its table of pictures, if that is sound.

    Parameters
    ----------
    path
        The part's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[Path] = []
        self.n_bytes = 0
        self.rows: dict[str, Any] = {}

    def run(self) -> Iterator[Finding]:
        """Yield what is wrong.

        Raises
        ------
        StoreReadError
            The system refused to read something, so that nothing can be said of it.
        """
        try:
            self.files = sorted(self._list_files())
            self.n_bytes = sum(file.stat().st_size for file in self.files)
            yield from self._check(Part(self.path, confirm=False))
        except StoreReadError:
            raise
        except StoreError as exc:
            yield self._finding(str(exc))
        except Exception as exc:
            self._raise_refusal(exc)
            # Whatever damage nobody thought of is still damage, and other parts may be sound.
            yield self._finding(f"can't be checked any further: {type(exc).__name__}: {exc}")

    def _list_files(self) -> Iterator[Path]:
        # Not `rglob`, which passes over the folders that it may not list.
        for folder, _, names in os.walk(self.path, onerror=self._raise_refusal):
            yield from (file for name in names if (file := Path(folder, name)).is_file())

    def _raise_refusal(self, exc: Exception) -> None:
        """Raise StoreReadError if `exc` says nothing of the part."""
        if refused := read_refusal(self.path, exc):
            raise refused from exc

    def _check(self, part: Part) -> Iterator[Finding]:
        yield from self._metadata(part)
        yield from self._tables(part)
        for stored in part.layers.values():
            yield from check_layer(part, stored)
        yield from self._strangers(part)

    def _finding(self, what: str, *, harmless: bool = False) -> Finding:
        return Finding(what=what, part=self.path.name, harmless=harmless)

    def _metadata(self, part: Part) -> Iterator[Finding]:
        """Compare the metadata with their copies, and with the header."""
        try:
            root = read_json(self.path / "zarr.json")
            expected = consolidated(self.path)
            if root != expected:
                kept = root["consolidated_metadata"]["metadata"]
                own = expected["consolidated_metadata"]["metadata"]
                names = [
                    name for name in sorted(kept.keys() | own) if kept.get(name) != own.get(name)
                ]
                what = "the consolidated metadata are not those of the nodes"
                yield self._finding(f"{what}: {', '.join(names)}")
            if (root["zarr_format"], root["node_type"]) != (3, "group") or not (
                encoding("anndata").items() <= root["attributes"].items()
            ):
                yield self._finding("the root is not marked as an AnnData group in Zarr v3")
            if not part.header_is_its_copy():
                yield self._finding("the header in uns is not that of the root")
        except StoreReadError:
            raise
        except Exception as exc:  # JSON of any shape, and no shape at all
            self._raise_refusal(exc)
            yield self._finding(f"metadata can't be read: {exc}")

    def _tables(self, part: Part) -> Iterator[Finding]:
        for name, record, expected in (
            (ROWS, Row, part.header.rows),
            (REJECTED, Reject, part.header.rejected),
        ):
            try:
                table = {column: values.tolist() for column, values in part.table(name).items()}
            except StoreCorruptError as exc:
                yield self._finding(str(exc))
                continue
            if {len(values) for values in table.values()} != {expected}:
                yield self._finding(f"{name} has not the header's {expected} rows")
                continue
            if record is Row:
                self.rows = table
            columns = [table[column] for column in COLUMNS[name]]
            for number, fields in enumerate(zip(*columns, strict=True)):
                picture = record(**dict(zip(COLUMNS[name], fields, strict=True)))
                if row_id(picture) != table[INDEX][number]:
                    yield self._finding(f"{name} row {number} has not the id of its picture")
        try:
            part.text(f"var/{INDEX}", (0,))
        except StoreCorruptError as exc:
            yield self._finding(str(exc))

    def _strangers(self, part: Part) -> Iterator[Finding]:
        """Find files that no array knows of, and links, pipes and devices, which lead elsewhere."""
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            if file.is_symlink():
                yield self._finding(f"{name} is a link")
            elif not (file.is_file() or file.is_dir()):
                yield self._finding(f"{name} is neither a file nor a folder")
        expected = set()
        for node in self.path.rglob("zarr.json"):
            expected.add(node)
            name = node.parent.relative_to(self.path).as_posix()
            try:
                if read_json(node)["node_type"] == "array":
                    # One more than there are shows that some are missing, which others report;
                    # an array that claims to be huge is not worth listing.
                    files = islice(part.array(name).files(), len(self.files) + 1)
                    expected |= {node.parent / file for file in files}
            except StoreReadError:
                raise
            except (StoreCorruptError, ValueError, KeyError, TypeError):
                return  # found by others above, and nothing can be said of its files
        for stranger in sorted(set(self.files) - expected):
            what = f"{stranger.relative_to(self.path).as_posix()} belongs to nothing"
            yield self._finding(what, harmless=True)
