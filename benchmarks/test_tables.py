"""Tables in the documentation are those of the committed results; nothing is timed here."""

import json
from typing import Any

import pytest

from .tables import RESULTS, ROOT, SUBJECTS, collect, pages, write_tables

KEPT: dict[str, Any] = json.loads(RESULTS.read_text())
PAGES = [page for page in pages() if "<!-- results: " in page.read_text()]
SUBJECT_PAGE = ROOT / "docs" / "benchmarks.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_show_the_committed_results(page: Any) -> None:
    text = page.read_text()
    assert write_tables(text, KEPT) == text, "run `python -m benchmarks.tables --tables`"


def test_every_table_is_on_a_page() -> None:
    text = SUBJECT_PAGE.read_text()
    for subject in ("conditions", *SUBJECTS):
        assert f"<!-- results: {subject} -->\n\n" in text


def test_results_name_date_commit_and_machine() -> None:
    assert len(KEPT["commit"]) == 40
    assert KEPT["load_average_before"]
    environment = KEPT["environment"]
    assert environment["processor"]["model"]
    assert environment["memory"]["total_bytes"]
    assert environment["python"]
    for package in ("onnxruntime", "tensorflow", "numpy"):
        assert environment["packages"][package]
    for subject in SUBJECTS:
        for case in KEPT[subject]:
            assert all(len(each) >= 3 for each in case.get("seconds", {}).values())


def block(subject: str, result: dict[str, Any]) -> list[str]:
    """Return the lines of a table."""
    marked = f"above\n<!-- results: {subject} -->\nold\n<!-- end -->\nbelow"
    first, mark, empty, *lines = write_tables(marked, result).split("\n")
    assert [first, mark, empty] == ["above", f"<!-- results: {subject} -->", ""]
    assert lines[-3:] == ["", "<!-- end -->", "below"]
    return lines[:-3]


def test_the_network_s_rates_are_medians_and_ratios_those_of_rounds() -> None:
    seconds = {
        "direct": [1.0, 2.0, 4.0],  # relative to winograd: 2, 2, 8
        "winograd": [0.5, 1.0, 0.5],
        "tf-jit": [9.0, 9.0, 9.0],
        "keras-predict": [1.5, 3.0, 1.5],  # relative to winograd: 3, 3, 3
    }
    cases = [{"outputs": "block5_pool", "images": 8, "seconds": seconds}]
    lines = block("network", {"network": cases})
    assert lines[2:] == [
        "| `block5_pool`, 8 | 5.3 | 4.0 | 16.0 | 3.00 (3.00-3.00) | 2.00 (2.00-5.00) |"
    ]


def test_scripts_are_compared_with_the_extraction() -> None:
    seconds = {"Keras script, one by one": [8.0] * 3, "extract fp32": [2.0] * 3}
    lines = block("extraction", {"extraction": [{"images": 12, "seconds": seconds}]})
    assert lines[2:] == [
        "| `sparsefeat extract` | 6.0 | |",
        "| Keras script, one by one | 1.5 | 4.00 (4.00-4.00) |",
    ]


def test_a_busy_machine_is_mentioned() -> None:
    quiet = {**KEPT, "load_average_before": [0.1, 0.1, 0.1]}
    busy = {**KEPT, "load_average_before": [7.04, 5.0, 3.0]}
    (line,) = block("conditions", quiet)
    assert "busy" not in line
    assert KEPT["date"] in line
    assert KEPT["commit"][:9] in line
    (line,) = block("conditions", busy)
    assert "load average 7.0" in line


def test_a_report_is_reduced_to_the_seconds_of_rounds() -> None:
    started = {"seconds_to_commit": [1.0, 2.0], "claims": ["left out"]}
    report = {
        "datetime": "2026-01-31T12:00:00",
        "commit_info": {"id": "c" * 40, "dirty": False},
        "machine_info": {"environment": {"python": "CPython 3.11.7"}},
        "benchmarks": [
            {
                "name": "test_seconds_to_the_first_row[sparsefeat]",
                "params": None,
                "extra_info": started,
            }
        ],
    }
    kept = collect(report, [0.0, 0.0, 0.0])
    assert kept["date"] == "2026-01-31"
    assert kept["start"] == [{"images": 1, "seconds": {"first row committed": [1.0, 2.0]}}]
    assert "claims" not in json.dumps(kept)
