"""Measures the figures in the documentation, stores them, and writes them as tables.

    python -m benchmarks.tables             # measure (some five minutes), write results, tables
    python -m benchmarks.tables --tables    # write the tables of the results that are there

`results/tables.json` has the date, commit and machine of the measurement, and for each subject and
case the seconds of every round. Tables are in README.md and docs/, between
``<!-- results: SUBJECT -->`` and ``<!-- end -->``; the subject ``conditions``
is a sentence on the machine.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .paired import Paired

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "tables.json"
PAGES = ("README.md", "docs/*.md")

# The measured subjects: those that users ask for first, and few enough for five minutes.
CHOSEN = (
    "test_network and (block5_pool or pools-8)",
    "test_against_scripts",
    "block3_pool and test_sizes",
    "block3_pool and test_read_all and CSR",
    "block3_pool and test_read_random_rows and not 1000",
    "test_seconds_to_the_first_row and sparsefeat",
)
IMAGES = 40
ROUNDS = 5

OURS = "sparsefeat"
EXTRACTION = "extract fp32"
TENSORFLOW = ("keras-predict", "tf-function", "tf-jit")
FORMATS = {
    "sparsefeat": "sparsefeat",
    "hdf5-gzip": "HDF5, CSR, gzip",
    "hdf5-raw": "HDF5, CSR, uncompressed",
    "parquet": "Parquet, lists, zstd",
    "scipy-npz": "`scipy.sparse.save_npz`",
    "numpy-npz-dense": "`numpy.savez`, dense",
}
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def measure(report: Path) -> None:
    """Run the chosen benchmarks, and have pytest-benchmark write what it measured."""
    words = ["-m", "pytest", "benchmarks", "-k", " or ".join(f"({each})" for each in CHOSEN)]
    words += ["--benchmark-enable", "--benchmark-only", f"--benchmark-json={report}", "--quiet"]
    words += [f"--images={IMAGES}", f"--rounds={ROUNDS}", "--benchmark-columns=median"]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)


def collect(report: Mapping[str, Any], load: Sequence[float]) -> dict[str, Any]:
    """Extract from pytest-benchmark's report what the tables need.

    Parameters
    ----------
    report
        As `--benchmark-json` writes it.
    load
        Load averages before the measurement; those in the report include the benchmarks' own load.
    """
    head = {
        "date": report["datetime"][:10],
        "commit": report["commit_info"]["id"],
        "changed_since": report["commit_info"]["dirty"],
        "load_average_before": load,
        "environment": report["machine_info"]["environment"],
    }
    cases: dict[str, list[dict[str, Any]]] = {name: [] for name in SUBJECTS}
    for benchmark in report["benchmarks"]:
        name = benchmark["name"].partition("[")[0]
        params, extra = benchmark["params"] or {}, benchmark["extra_info"]
        seconds = {way: one["seconds"] for way, one in extra.get("ways", {}).items()}
        if name == "test_network":
            case = {"outputs": params["outputs"], "images": params["batch_size"]}
            cases["network"].append(case | {"seconds": seconds})
        elif name == "test_against_scripts":
            cases["extraction"].append({"images": IMAGES, "seconds": seconds})
        elif name == "test_seconds_to_the_first_row":
            seconds = {"first row committed": extra["seconds_to_commit"]}
            cases["start"].append({"images": 1, "seconds": seconds})
        elif name == "test_sizes":
            sizes = {form: one["bytes"] for form, one in extra["sizes"].items()}
            cases["stores"].append({"what": "bytes", **extra["rows"], "bytes": sizes})
        else:
            what = {"test_read_all": "all rows", "test_read_random_rows": "one row"}[name]
            cases["stores"].append({"what": what, **extra["rows"], "seconds": seconds})
    return {**head, **cases}


def network(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table of images/s of the network alone, on arrays in memory."""
    lines = _header(
        "outputs, batch size",
        *("TensorFlow, images/s", "ONNX Runtime, images/s", "sparsefeat, images/s"),
        *("sparsefeat / TensorFlow", "sparsefeat / ONNX Runtime"),
    )
    for case in cases:
        seconds, images = case["seconds"], case["images"]
        outputs = {"pools": "all five pools"}.get(case["outputs"], f"`{case['outputs']}`")
        ways = [way for way in TENSORFLOW if way in seconds]
        fastest = min(ways, key=lambda way: float(np.median(seconds[way])), default=None)
        lines.append(
            _line(
                f"{outputs}, {images}",
                *(_rate(seconds.get(way), images) for way in (fastest, "direct", "winograd")),
                *(_ratio(seconds, "winograd", way) for way in (fastest, "direct")),
            )
        )
    return lines


def extraction(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table of images/s from JPEG files to stored features."""
    (case,) = cases
    seconds = case["seconds"]
    lines = _header("from JPEG files to stored features", "images/s", "speed of sparsefeat / this")
    for name in sorted(seconds, key=lambda name: (name != EXTRACTION, name)):
        ratio = "" if name == EXTRACTION else _ratio(seconds, EXTRACTION, name)
        label = "`sparsefeat extract`" if name == EXTRACTION else name
        lines.append(_line(label, _rate(seconds[name], case["images"]), ratio))
    return lines


def stores(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table of sizes of files with the same rows, and how fast they are read."""
    by_name = {case["what"]: case for case in cases}
    size, every, one = by_name["bytes"], by_name["all rows"], by_name["one row"]
    dense = every["dense_bytes"] / 1e9
    lines = _header(
        f"{size['n_rows']} rows of `{size['layer']}`",
        *("bytes, of dense float32", "all rows as CSR, GB/s of dense", "one random row, ms"),
        *("all rows: speed of sparsefeat / this", "one row: speed of sparsefeat / this"),
    )
    for name, label in FORMATS.items():
        share = size["bytes"][name] / size["dense_bytes"]
        speed = dense / np.median(every["seconds"][name])
        row = 1e3 * np.median(one["seconds"][name])
        ratios = ["", ""]
        if name != OURS:
            ratios = [_ratio(case["seconds"], OURS, name) for case in (every, one)]
        lines.append(_line(label, f"{share:.3f}", f"{speed:.2f}", f"{row:.1f}", *ratios))
    return lines


def start(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table of how long a command takes that extracts one image."""
    (case,) = cases
    low, middle, high = np.percentile(case["seconds"]["first row committed"], [25, 50, 75])
    return [
        *_header("`sparsefeat extract` of one image", "seconds"),
        _line("start of the process to the row on disk", f"{middle:.2f} ({low:.2f}-{high:.2f})"),
    ]


SUBJECTS: dict[str, Callable[[Iterable[Mapping[str, Any]]], list[str]]] = {
    "network": network,
    "extraction": extraction,
    "stores": stores,
    "start": start,
}


def conditions(result: Mapping[str, Any]) -> str:
    """Describe in a sentence or two when and on which machine was measured."""
    environment = result["environment"]
    packages, threads = environment["packages"], environment["limits"]["available_threads"]
    versions = [
        f"{label} {packages[name]}"
        for name, label in (
            ("onnxruntime", "ONNX Runtime"),
            ("tensorflow", "TensorFlow"),
            ("torch", "PyTorch"),
            ("numpy", "NumPy"),
        )
        if name in packages
    ]
    memory = environment["memory"]["total_bytes"] / 2**30
    said = (
        f"Medians, quartiles in brackets; {result['date']}, commit {result['commit'][:9]}"
        f"{' with changes' if result['changed_since'] else ''}, {threads} "
        f"core{'s' * (threads != 1)} of {environment['processor']['model']}, {memory:.0f} GiB, "
        f"{environment['python']}, {', '.join(versions)}."
    )
    load = result["load_average_before"]
    if load and load[0] > threads / 4:
        said += (
            f" **The machine was busy with other programs** (load average {load[0]:.1f} before): "
            "trust the ratios only."
        )
    return said


def write_tables(text: str, result: Mapping[str, Any]) -> str:
    """Replace the text between marks in a page by the measured tables."""

    def replaced(found: re.Match[str]) -> str:
        name = found[2]
        lines = [conditions(result)] if name == "conditions" else SUBJECTS[name](result[name])
        return "\n".join([found[1], *lines, "", found[3]])

    return BLOCK.sub(replaced, text)


def pages() -> list[Path]:
    """List the pages that may have tables."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def _header(*cells: str) -> list[str]:
    return [_line(*cells), _line(*["---"] * len(cells))]


def _line(*cells: str) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def _rate(seconds: Sequence[float] | None, images: int) -> str:
    return "" if seconds is None else f"{images / np.median(seconds):.1f}"


def _ratio(seconds: dict[str, list[float]], fast: str, slow: str | None) -> str:
    if slow is None:
        return ""
    ratio = Paired(ways={}, seconds=seconds).ratio(fast, slow)
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def main() -> None:
    """Measure if asked to, and write results and tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    if not parser.parse_args().tables:
        load = [round(one, 2) for one in os.getloadavg()]
        with tempfile.TemporaryDirectory() as made:
            report = Path(made) / "report.json"
            measure(report)
            results = collect(json.loads(report.read_text()), load)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    for page in pages():
        page.write_text(write_tables(page.read_text(), results))


if __name__ == "__main__":
    main()
