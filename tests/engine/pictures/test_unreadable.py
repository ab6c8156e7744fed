import errno
import os
from pathlib import Path

import pytest

from sparsefeat.pictures.presets import PRESETS
from sparsefeat.pictures.quirks import QUIRKS
from sparsefeat.pictures.unreadable import Reason, os_reason

GUIDE = Path(__file__).parents[3] / "docs" / "pictures.md"


@pytest.mark.parametrize("word", [*Reason, *PRESETS, *QUIRKS])
def test_the_guide_explains_every_reason_preset_and_quirk(word: str) -> None:
    assert f"`{word}`" in GUIDE.read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_reasons_are_short_and_lower_case(reason: Reason) -> None:
    assert reason.value == reason.value.lower()
    assert len(reason.value) < 70


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EACCES, Reason.FORBIDDEN),
        (errno.EPERM, Reason.FORBIDDEN),
        (errno.ENOENT, Reason.MISSING),
        (errno.ENOTDIR, Reason.MISSING),
        (errno.EISDIR, Reason.FOLDER),
        (errno.EIO, Reason.READ_FAILED),
    ],
)
def test_the_systems_refusals(code: int, expected: Reason) -> None:
    assert os_reason(OSError(code, os.strerror(code), "/secret/path")) is expected
