from pathlib import Path

import pytest

from sparsefeat_export.errors import OutputError, TaskError, WeightsError
from sparsefeat_export.tasks import run_task


def job(weights: Path) -> dict[str, object]:
    return {"request": {"weights": str(weights), "top": None}}


def test_an_error_of_a_task_is_raised_with_its_class_and_message(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.h5 is not a readable HDF5 file"):
        run_task("reference", job(tmp_path / "gone.h5"), tmp_path)


def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "reference.out.json").mkdir()
    with pytest.raises(OutputError, match=r"reference could not write to .*free space"):
        run_task("reference", job(tmp_path / "gone.h5"), tmp_path)


def test_a_failed_task_reports_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="nonsense: the process failed: KeyError: 'nonsense'"):
        run_task("nonsense", {}, tmp_path)
