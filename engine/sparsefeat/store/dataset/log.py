"""The log of a store's snapshots: reading one, and committing the next."""

import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sparsefeat.errors import (
    InputError,
    StoreCorruptError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.storage import Storage, is_url, open_storage
from sparsefeat.store.dataset.snapshot import (
    LONGEST_CHAIN,
    Change,
    Snapshot,
    choose_base,
    document_of,
    resolve,
)
from sparsefeat.store.format import (
    JSON,
    LAST_SNAPSHOT,
    PARTS,
    SNAPSHOT_BYTES,
    SNAPSHOTS,
    PartEntry,
    SnapshotDocument,
    damaged,
    differences,
    identity,
    part_key,
    plain_json,
    seal,
    seal_checksum,
    snapshot_key,
    snapshot_number,
    unseal,
)
from sparsefeat.store.part import read_refusal
from sparsefeat.system import counted
from sparsefeat.types import Layer

_logger = logging.getLogger(__name__)

_TRIES: Final = 10_000  # commits of others that one commit may lose against


class Log:
    """The snapshots of one store.

    Parameters
    ----------
    storage
        The store's.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def numbers(self) -> list[int]:
        """List the numbers of the existing snapshots, ascending.

        Raises
        ------
        StoreReadError
            The folder can't be listed.
        """
        try:
            names = self._storage.names(SNAPSHOTS)
        except OSError as exc:
            if refused := read_refusal(self._storage.name(SNAPSHOTS), exc):
                raise refused from exc
            return []  # there is no such folder, nor a store
        return sorted(n for name in names if (n := snapshot_number(name)) is not None)

    def newest(self) -> Snapshot | None:
        """Read the newest snapshot; None if there is none, and so no store."""
        numbers = self.numbers()
        while numbers:
            try:
                return self.read(numbers[-1])
            except StoreCorruptError:
                before, numbers = numbers[-1], self.numbers()
                if not numbers or numbers[-1] <= before:
                    raise
                # Otherwise others have committed, and deleted this one, since it was listed.
        return None

    def require(self, number: int | None = None) -> Snapshot:
        """Read the newest snapshot, or the one of that number.

        Raises
        ------
        StoreNotFoundError
            There is no store.
        InputError
            There is no snapshot of that number.
        StoreCorruptError
            The snapshot is not what was written.
        StoreReadError
            The system refused to read it.
        """
        if number is None:
            if (newest := self.newest()) is None:
                raise self._no_store()
            return newest
        if not (numbers := self.numbers()):
            raise self._no_store()
        if isinstance(number, bool) or not isinstance(number, int) or number not in numbers:
            raise InputError(
                f"{self._storage.name('')} has no snapshot {number!r}, expected one of "
                f"{numbers[0]} to {numbers[-1]} that vacuum has not deleted: see sparsefeat history"
            )
        return self.read(number)

    def document(self, number: int) -> tuple[SnapshotDocument, str] | None:
        """Read one snapshot's file alone, and its checksum; None if `vacuum` has deleted it.

        Raises
        ------
        StoreCorruptError
            It is not what was written.
        StoreReadError
            The system refused.
        """
        try:
            return self._document(number)
        except StoreCorruptError:
            if self._storage.exists(snapshot_key(number)):
                raise
            return None

    def _document(self, number: int) -> tuple[SnapshotDocument, str]:
        key = snapshot_key(number)
        where = self._storage.name(key)
        try:
            content = self._storage.read(key, SNAPSHOT_BYTES)
        except (OSError, ValueError) as exc:
            if refused := read_refusal(where, exc):
                raise refused from exc
            raise damaged(where, str(exc)) from exc
        document = unseal(content, where=where)
        if document.number != number:
            raise damaged(where, f"it says that it is snapshot {document.number}")
        return document, seal_checksum(content)

    def _no_store(self) -> StoreNotFoundError:
        name = self._storage.name("")
        try:
            names = self._storage.names("") if self._storage.is_folder() else None
        except StoreError:
            raise
        except OSError as exc:
            if refused := read_refusal(name, exc):
                raise refused from exc
            names = None  # removed since, or no folder
        if names is None:
            if is_url(name):
                return StoreNotFoundError(
                    f"there is nothing at {name}, expected a store: check the URL, or extract "
                    "into it first"
                )
            what = (
                "is a link that points to itself" if _is_loop(self._storage) else "is not a folder"
            )
            return StoreNotFoundError(
                f"{name} {what}, expected a store: check the path, or extract into it first"
            )
        models = [each for each in names if each.endswith(".onnx")]
        has = f"has no {SNAPSHOTS}/*.json" if names else "is an empty folder"
        advice = f"name {self._storage.name(models[0])}, or " if models else ""
        return StoreNotFoundError(f"{name} {has}, expected a store: {advice}extract into it first")

    def read(
        self, number: int, expected: str | None = None, *, depth: int = LONGEST_CHAIN
    ) -> Snapshot:
        """Read one snapshot, and those that it refers to; raises as `document` does.

        `expected` is its checksum, if another snapshot contains it.
        """
        where = self._storage.name(snapshot_key(number))
        document, found = self._document(number)
        if expected not in (None, found):
            raise damaged(where, "it is not the snapshot that later ones refer to")
        if document.base is not None and depth == 1:
            raise damaged(where, f"it is in a chain of more than {LONGEST_CHAIN} snapshots")
        base = None if document.base is None else self.read(*document.base, depth=depth - 1)
        snapshot = resolve(document, base, found, where)
        if snapshot.n_rows != document.rows:
            raise damaged(where, f"it says {document.rows} rows and lists {snapshot.n_rows}")
        return snapshot

    def create(
        self,
        settings: dict[str, JSON],
        layers: Sequence[Layer],
        values: str,
        change: Change,
    ) -> Snapshot | None:
        """Commit the first snapshot; return None if another writer has done so."""
        if self.numbers():
            return None
        first = Snapshot(
            number=1,
            created="",
            operation="",
            settings=settings,
            layers=tuple(layers),
            values=values,
            parts=(),
        )
        made = self._put(first, change, number=1)
        return made if made is not None and self._stands(first, made) else None

    def commit(
        self,
        latest: Snapshot,
        change: Callable[[Snapshot], Change | None],
        *,
        parts: Sequence[str] = (),
    ) -> Snapshot:
        """Commit the next snapshot.

        Parameters
        ----------
        latest
            The newest one that is known here. If others have committed since, their newest snapshot
            is read, and the change is made to that one.
        change
            Called with the newest snapshot; returns the change to commit, or None for no change.
        parts
            The names of new parts, which are deleted if nothing is committed.

        Returns
        -------
        The snapshot that was committed; the newest one if nothing was.

        Raises
        ------
        StoreWriteError
            The disk refused; or other writers were always faster.
        """
        taken = latest.number
        for _ in range(_TRIES):
            latest = self._newest_from(latest, taken)
            wanted = change(latest)
            if wanted is None:
                for part in {*parts} - latest.by_name.keys():
                    with suppress(OSError):  # `vacuum` will
                        self._storage.delete(part_key(part))
                return latest
            taken = latest.number + 1
            if (made := self._put(latest, wanted, number=taken)) is not None:
                if self._stands(latest, made):
                    return made
                parts = ()  # a snapshot lists them, so that only `vacuum` may delete them
        raise StoreWriteError(
            f"other writers made {_TRIES} commits to {self._storage.name('')} before this one: "
            "run the same command again"
        )

    def _newest_from(self, known: Snapshot, number: int) -> Snapshot:
        """Give the newest snapshot, given one that is known, and a number that exists."""
        # Listed before every commit: the number after that of a snapshot which isn't the newest
        # any more may be free again, because `vacuum` has deleted the one that had it.
        numbers = self.numbers()
        if not numbers or numbers[-1] < known.number:
            raise StoreWriteError(
                f"{self._storage.name(snapshot_key(known.number))} is missing: the "
                "store was deleted or replaced meanwhile; run the same command again"
            )
        if max(numbers[-1], number) == known.number:
            return known
        # The listing of a network folder may be some seconds old.
        return self.read(number) if numbers[-1] < number else self.require()

    def _put(self, before: Snapshot, change: Change, *, number: int) -> Snapshot | None:
        after = Snapshot(
            number=number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            operation=change.operation,
            settings=before.settings,
            layers=before.layers,
            values=before.values,
            parts=tuple(change.parts),
        )
        if number > LAST_SNAPSHOT:
            raise StoreError(
                f"{self._storage.name(snapshot_key(number - 1))} has the largest number that there "
                f"is, expected one for each commit: move it out of {SNAPSHOTS}/ while nobody writes"
            )
        base = choose_base(after, before) if before.number < number else None
        content = seal(document_of(after, base))
        if len(content) > SNAPSHOT_BYTES:
            raise StoreWriteError(
                f"{self._storage.name('')} has {len(after.parts):,} parts, too many for a list of "
                f"{SNAPSHOT_BYTES:,} bytes: see sparsefeat compact"
            )

        def is_next() -> bool:
            # The file is written before this: if the writer sleeps between this and the link for so
            # long that `vacuum` makes the number free again, `vacuum` deletes that file first.
            if max(self.numbers(), default=0) >= number:
                return False
            self._check_there(each for each in after.parts if each.name not in before.by_name)
            return True

        with writing(self._storage):
            made = self._storage.create(snapshot_key(number), content, allowed=is_next)
        if not made:
            _logger.info("%s: another writer made snapshot %d first", self._storage, number)
            return None
        held = f"{counted(after.n_rows, 'row')} in {counted(len(after.parts), 'part')}"
        _logger.info(
            "%s: snapshot %d committed (%s), %s", self._storage, number, after.operation, held
        )
        return replace(after, base=base, checksum=seal_checksum(content))

    def _stands(self, before: Snapshot, made: Snapshot) -> bool:
        """Tell whether a snapshot that was just created is valid.

        In a bucket, a writer may sleep between its last check and its request. Meanwhile `vacuum`
        may have freed the number, so that the snapshot lies below the newest one, which was made
        without it. Or `vacuum` may have deleted the new parts; then the commit is reverted.

        Raises
        ------
        StoreWriteError
            A new part was deleted.
        """
        added = [each for each in made.parts if each.name not in before.by_name]
        with writing(self._storage):
            try:
                self._check_there(added)
            except StoreWriteError:
                self._take_back(before, made)
                self._drop_unless_newest(made)
                raise
        if max(self.numbers(), default=0) <= made.number:
            return True
        newest = self.require()
        if added:
            stands = all(each.name in newest.by_name for each in added)
        else:
            known = (newest.by_name, before.by_name)
            stands = all(
                any(parts.get(each.name) == each for parts in known) for each in made.parts
            )
        stands = stands or self._has_successor(made, {each.name for each in added})
        if not stands:
            self._drop_unless_newest(made)
        return stands

    def _has_successor(self, made: Snapshot, added: Set[str] = frozenset()) -> bool:
        """Tell whether a later snapshot refers to one of ours, or lists a part that it added."""
        later = [number for number in self.numbers() if number > made.number]
        documents = [found[0] for each in later if (found := self.document(each)) is not None]
        return any(
            each.base == (made.number, made.checksum)
            or not added.isdisjoint(part.name for part in each.parts)
            for each in documents
        )

    def _drop_unless_newest(self, made: Snapshot) -> None:
        """Delete a snapshot of ours that lies below others which were made without it."""
        with suppress(StoreError, OSError):
            if max(self.numbers()) > made.number and not self._has_successor(made):
                self._storage.delete(snapshot_key(made.number))

    def _take_back(self, before: Snapshot, made: Snapshot) -> None:
        """Revert a snapshot: commit the parts before it, and those that others have added since."""
        added = {each.name for each in made.parts} - {*before.by_name}
        left_out = [each for each in before.parts if each.name not in made.by_name]

        def undone(latest: Snapshot) -> Change | None:
            missing = [each for each in left_out if each.name not in latest.by_name]
            parts: list[PartEntry] = []
            for each in latest.parts:
                if each.name not in added:
                    same = made.by_name.get(each.name) == each
                    parts.append(before.by_name[each.name] if same else each)
                else:  # in place of the first of them
                    parts += missing
                    missing = []
            parts += missing
            return (
                Change(operation=made.operation, parts=parts) if parts != [*latest.parts] else None
            )

        self.commit(made, undone)

    def _check_there(self, entries: Iterable[PartEntry]) -> None:
        for entry in entries:
            key = part_key(entry.name)
            # In a bucket, somebody may have deleted some objects of it while the rest was uploaded.
            if self._storage.usage(key)[0] != entry.n_bytes:
                raise StoreWriteError(
                    f"{self._storage.name(key)} was deleted before it was committed: run "
                    "the same command again, and vacuum with a longer grace period"
                )


def claim(storage: Storage) -> list[Path]:
    """Make the folders of a store, unless they exist.

    Returns
    -------
    The folders that were made, for `Storage.unmake`.

    Raises
    ------
    StoreError
        The folder is a file, or holds something else.
    StoreWriteError
        It can't be made.
    """
    with writing(storage):
        _refuse_others(storage)
        made = storage.claim(SNAPSHOTS)
        # Parts first: `unmake` stops there if another writer has begun one.
        return [*storage.claim(PARTS), *made]


def _refuse_others(storage: Storage) -> None:
    """Check that there is nothing yet, an empty folder, or a store."""
    # Others make and remove folders and objects meanwhile, so that two answers may not agree.
    name = storage.name("")
    if storage.is_file():
        raise StoreError(f"{name} is a file, expected a folder: choose another path")
    try:
        names = storage.names("") if storage.is_folder() else []
    except FileNotFoundError:  # removed since
        return
    foreign = [
        each for each in names if each not in (PARTS, SNAPSHOTS) and not each.startswith(".")
    ]
    if foreign and SNAPSHOTS not in names:
        raise StoreError(
            f"{name} holds {foreign[0]} and no {SNAPSHOTS}/, expected a store or an empty "
            "folder: choose another one"
        )


def check_output(
    folder: str | os.PathLike[str],
    alike: Callable[[], tuple[Sequence[Layer], Mapping[str, JSON], str]] | None = None,
) -> None:
    """Check that a store can be made in a folder, or continued.

    Parameters
    ----------
    folder
        The store's.
    alike
        Gives the layers, settings and values of the rows to come. It is called only if there is a
        store, which must have the same ones.

    Raises
    ------
    StoreError, StoreMismatchError, StoreCorruptError, StoreReadError, StoreWriteError
        As `StoreWriter.open` does.
    """
    storage = open_storage(folder)
    with writing(storage):
        _refuse_others(storage)
        newest = Log(storage).newest()
        storage.check_writable(PARTS)
    if newest is not None and alike is not None:
        layers, settings, values = alike()
        check_alike(storage, newest, layers, plain_json(settings, what="settings"), values)


def check_alike(
    storage: Storage,
    snapshot: Snapshot,
    layers: Sequence[Layer],
    settings: dict[str, JSON],
    values: str,
) -> None:
    """Raise `StoreMismatchError` unless a store has these layers, settings and values."""
    if different := differences(identity(layers, settings, values), snapshot.identity()):
        raise StoreMismatchError(
            f"{storage.name('')} was made with other settings: {'; '.join(different)}: "
            "use the same ones, or choose another folder"
        )


@contextmanager
def writing(storage: Storage) -> Iterator[None]:
    """Raise `StoreWriteError` for a disk that refuses, or was disconnected."""
    try:
        yield
    except StoreError:
        raise
    except OSError as exc:
        raise _write_error(storage, exc) from exc


def _write_error(storage: Storage, exc: OSError) -> StoreWriteError:
    name = storage.name("")
    if is_url(name):
        return StoreWriteError(
            f"{name} can't be written ({exc.strerror or exc}): check the service and your "
            "permission, and run the same command again; committed parts are safe"
        )
    if isinstance(exc, FileNotFoundError) and exc.errno == errno.ENOENT:
        with suppress(OSError):
            if storage.is_folder(PARTS):
                return StoreWriteError(
                    f"{name}: a part was deleted while it was written, as by sparsefeat vacuum "
                    "with a short grace period: run the same command again; committed parts are "
                    "safe"
                )
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return StoreWriteError(
            f"{name} can't be written ({exc.strerror or exc}): restore the store's "
            "folder and run the same command again; committed parts are safe"
        )
    return StoreWriteError(
        f"{name} can't be written ({exc.strerror or exc}): free some space or get "
        "permission, and run the same command again; committed parts are safe"
    )


def _is_loop(storage: Storage) -> bool:
    try:
        Path(storage.location).stat()
    except OSError as exc:
        return exc.errno == errno.ELOOP
    return False


def is_store(source: object) -> bool:
    """Tell whether there is a store at a path or URL: something with ``snapshots/*.json``."""
    if not isinstance(source, str | os.PathLike) or isinstance(source, bytes):
        return False
    storage = open_storage(source)
    return storage.is_folder() and bool(Log(storage).numbers())
