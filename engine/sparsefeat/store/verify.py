"""Checking every byte of a store."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sparsefeat.errors import SourceError, StoreChangedError, StoreError, StoreReadError
from sparsefeat.paths import checked_path, checked_paths
from sparsefeat.store.check_part import PartCheck
from sparsefeat.store.check_source import check_source
from sparsefeat.store.committed import Survey, survey
from sparsefeat.store.header import differences
from sparsefeat.store.kept import lost_with
from sparsefeat.store.layout import list_temporaries, part_name, require_parts
from sparsefeat.store.part import Part, is_gone, part_gone
from sparsefeat.store.report import Finding, VerifyReport
from sparsefeat.store.tables import INDEX
from sparsefeat.units import counted


def verify(
    folder: str | Path,
    *,
    source: str | Path | Sequence[str | Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Read all of a store and report what isn't as it was written.

    Checksums of all chunks; row starts, sorted and bounded column numbers; finite and non-zero
    values; zero counts; unique row ids; metadata against their copies.

    Parameters
    ----------
    folder
        The store.
    source
        The folder that plays the part of the recorded root, or several where the store was
        made from several: each row's picture is looked for there, and its size and SHA-256
        compared.
    progress
        Called with the number of parts done and their total.

    Returns
    -------
    VerifyReport
        Damage, and images that differ from `source`, are reported and never raised.

    Raises
    ------
    StoreNotFoundError
        There is no store to check.
    SourceError
        A `source` is not a folder, or vanishes meanwhile.
    StoreChangedError
        The store was compacted meanwhile.
    StoreReadError
        The system refused to read a file, so that nothing can be said of it.

    Examples
    --------
    >>> verify("features/").ok  # doctest: +SKIP
    True
    """
    folder = checked_path(folder, "a store")
    sources = checked_paths(source, "the images")
    _check_folders(sources)
    require_parts(folder)
    found = survey(folder)
    paths = found.paths
    findings = [*_folder_findings(folder, found)]
    changes: list[Finding] = []
    rows = files = n_bytes = pictures = 0
    places: dict[str, str] = {}
    for done, path in enumerate(paths, start=1):
        check = PartCheck(path)
        of_part = [*check.run()]
        if is_gone(path):
            raise part_gone(path)
        findings += of_part
        ids = check.rows.get(INDEX, [])
        for number, row in enumerate(ids):
            if row in places:
                what = f"row id {row} is in {places[row]} already"
                findings.append(Finding(what=what, part=path.name, rows=(number, number + 1)))
            places[row] = path.name
        if sources and check.rows:
            changes += check_source(path.name, check.rows, sources)
            pictures += len(ids)
            _check_folders(sources)
        rows += len(ids)
        files += len(check.files)
        n_bytes += check.n_bytes
        if progress is not None:
            progress(done, len(paths))
    return VerifyReport(
        findings=tuple(findings),
        changes=tuple(changes),
        parts=len(paths),
        rows=rows,
        files=files,
        n_bytes=n_bytes,
        pictures=pictures,
    )


def _check_folders(sources: Sequence[Path]) -> None:
    for each in sources:
        if not each.is_dir():
            raise SourceError(f"{each} is not a folder, expected the images: check the path")


def _folder_findings(folder: Path, found: Survey) -> list[Finding]:
    """Look at the store as a whole."""
    findings = []
    for first, last in found.missing.pairs:
        are = "is" if first == last else f"to {part_name(last)} are"
        findings.append(Finding(what=f"{part_name(first)} {are} missing"))
    findings += [_replaced_finding(path, found) for path in found.replaced]
    for leftover in list_temporaries(folder):
        what = f"{leftover.name} is a part in the making, or left by a killed writer"
        findings.append(Finding(what=what, harmless=True))
    findings += [
        Finding(what=str(error), part=path.name)
        for path, error in found.damaged.items()
        if path in found.parts  # the others are found when they are checked
    ]
    expected = None
    for path, part in found.parts.items():
        identity = part.header.identity()
        expected = expected or identity
        if different := differences(identity, expected):
            what = f"was made with other settings: {'; '.join(different)}"
            findings.append(Finding(what=what, part=path.name))
    return findings


def _replaced_finding(path: Path, found: Survey) -> Finding:
    try:
        lost = lost_with(Part(path), [*found.parts.values()])
    except StoreChangedError:
        lost = set()  # removed by now, as it should be
    except StoreReadError:
        raise
    except StoreError as exc:
        return Finding(what=str(exc), part=path.name)
    if lost:
        what = f"was replaced by another part, but has {counted(len(lost), 'row')} of its own"
        return Finding(what=what, part=path.name)
    what = f"{path.name} was compacted into another part, and has not been removed yet"
    return Finding(what=what, harmless=True)
