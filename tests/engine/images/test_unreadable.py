import errno
import os
from pathlib import Path

import pytest

from sparsefeat.images.presets import PRESETS
from sparsefeat.images.quirks import QUIRKS
from sparsefeat.images.unreadable import Reason, os_refusal

GUIDE = Path(__file__).parents[3] / "docs" / "pictures.md"


@pytest.mark.parametrize("word", [*Reason, *PRESETS, *QUIRKS])
def test_the_guide_explains_every_reason_preset_and_quirk(word: str) -> None:
    assert f"`{word}`" in GUIDE.read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_reasons_are_short_and_begin_in_lower_case(reason: Reason) -> None:
    assert reason.value[0].islower()
    assert len(reason.value) < 80


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EACCES, Reason.FORBIDDEN),
        (errno.EPERM, Reason.FORBIDDEN),
        (errno.ENOENT, Reason.MISSING),
        (errno.ENOTDIR, Reason.MISSING),
        (errno.EISDIR, Reason.FOLDER),
        (errno.ENXIO, Reason.SPECIAL),
        (errno.ENOMEM, Reason.NO_MEMORY),
        (errno.EIO, Reason.READ_FAILED),
        (errno.EMFILE, Reason.READ_FAILED),
        (errno.ESTALE, Reason.READ_FAILED),
        (errno.ETIMEDOUT, Reason.READ_FAILED),
    ],
)
def test_the_systems_refusals(code: int, expected: Reason) -> None:
    refusal = os_refusal(OSError(code, os.strerror(code), "/secret/path"))
    assert refusal.reason is expected
    assert refusal.reason.of_system
    detail = f": {os.strerror(code)}" if expected is Reason.READ_FAILED else ""
    assert str(refusal) == f"{expected}{detail}"
