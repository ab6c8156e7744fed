"""Checking every byte of a store."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sparsefeat.errors import SourceError, StoreError
from sparsefeat.store.check_part import PartCheck
from sparsefeat.store.check_source import check_source
from sparsefeat.store.header import differences
from sparsefeat.store.layout import list_temporaries, part_name, part_number, require_parts
from sparsefeat.store.part import Part
from sparsefeat.store.report import Finding, VerifyReport
from sparsefeat.store.tables import INDEX


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
        Damage is reported, never raised.

    Raises
    ------
    StoreNotFoundError
        There is no store to check.
    SourceError
        A `source` is no folder.

    Examples
    --------
    >>> verify("features/").ok  # doctest: +SKIP
    True
    """
    folder = Path(folder)
    sources = [Path(each) for each in ([source] if isinstance(source, str | Path) else source)]
    for each in sources:
        if not each.is_dir():
            raise SourceError(f"{each} is no folder, expected the pictures: check the path")
    paths = require_parts(folder)
    findings = [*_folder_findings(folder, paths)]
    rows = files = n_bytes = pictures = 0
    places: dict[str, str] = {}
    for done, path in enumerate(paths, start=1):
        check = PartCheck(path)
        findings += check.run()
        ids = check.rows.get(INDEX, [])
        for number, row in enumerate(ids):
            if row in places:
                what = f"row id {row} is in {places[row]} already"
                findings.append(Finding(what=what, part=path.name, rows=(number, number + 1)))
            places[row] = path.name
        if sources and check.rows:
            findings += check_source(path.name, check.rows, sources)
            pictures += len(ids)
        rows += len(ids)
        files += len(check.files)
        n_bytes += check.n_bytes
        if progress is not None:
            progress(done, len(paths))
    return VerifyReport(
        findings=tuple(findings),
        parts=len(paths),
        rows=rows,
        files=files,
        n_bytes=n_bytes,
        pictures=pictures,
    )


def _folder_findings(folder: Path, paths: list[Path]) -> list[Finding]:
    """Look at the store as a whole."""
    numbers = {part_number(path.name) for path in paths}
    findings = [
        Finding(what=f"{part_name(number)} is missing")
        for number in range(len(numbers))
        if number not in numbers
    ]
    for leftover in list_temporaries(folder):
        what = f"{leftover.name} is a part in the making, or left by a killed writer"
        findings.append(Finding(what=what, harmless=True))
    expected = None
    for path in paths:
        try:
            identity = Part(path).header.identity()
        except StoreError:
            continue  # found when the part itself is checked
        expected = expected or identity
        if different := differences(identity, expected):
            what = f"was made otherwise: {'; '.join(different)}"
            findings.append(Finding(what=what, part=path.name))
    return findings
