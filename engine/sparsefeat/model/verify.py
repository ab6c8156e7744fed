"""Check every byte of a model."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sparsefeat.errors import ModelCorruptError, ModelError
from sparsefeat.model.file import READ_BYTES, ModelFile, extent


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReport:
    """The result of `verify_model`.

    Attributes
    ----------
    findings
        A sentence for each kind of damage.
    tensors
        Number of tensors that were checked.
    n_bytes
        Size of both files in bytes.
    """

    findings: tuple[str, ...]
    tensors: int
    n_bytes: int

    @property
    def ok(self) -> bool:
        """Whether no damage was found."""
        return not self.findings


def verify_model(path: str | os.PathLike[str]) -> ModelReport:
    """Read both files of a model and report all damage.

    It checks the checksum of the graph with its metadata, the digests of all tensors in the data
    file, and that the data file contains nothing else.

    Parameters
    ----------
    path
        Path of the graph.

    Returns
    -------
    ModelReport
        Damage is reported and never raised. If the graph is damaged, nothing else can be checked.

    Raises
    ------
    ModelError
        There is no model file of sparsefeat at the path, or its weights are missing.

    Examples
    --------
    >>> verify_model("vgg16.onnx").ok  # doctest: +SKIP
    True
    """
    try:
        file = ModelFile.open(path)
    except ModelCorruptError as exc:
        return ModelReport(findings=(str(exc),), tensors=0, n_bytes=0)
    names = [tensor.name for tensor in file.graph.graph.initializer]
    findings = []
    for name in names:
        try:
            file.check([name])
        except ModelCorruptError as exc:
            findings.append(str(exc))
    return ModelReport(
        findings=(*findings, *_between(file)),
        tensors=len(names),
        n_bytes=file.path.stat().st_size + file.data.stat().st_size,
    )


def _between(file: ModelFile) -> Iterator[str]:
    """Check that the data file has only zeros between tensors, and nothing after the last one."""
    extents = [extent(one)[1:] for one in file.graph.graph.initializer if one.external_data]
    end = 0
    try:
        with file.data.open("rb") as opened:
            for offset, length in sorted(extents):
                opened.seek(end)
                while end < offset and (read := opened.read(min(READ_BYTES, offset - end))):
                    if any(read):
                        yield f"{file.data}: bytes before {offset:,} are not zero"
                    end += len(read)
                end = max(end, offset + length)
    except OSError as exc:
        raise ModelError(f"{file.data} can't be read: {exc.strerror}; try again") from exc
    if (size := file.data.stat().st_size) != end:
        yield f"{file.data} is {size:,} bytes, expected {end:,}"
