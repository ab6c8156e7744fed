"""The command with unusual streams, folders and environments, and with bugs in it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsefeat.cli import main
from sparsefeat.cli.main import COMMANDS
from sparsefeat.model.graph import MAX_PIXELS

from ..command import assert_one_line, run
from ..store.data import make_batch, write_store

SPARSEFEAT = f"{sys.executable} -m sparsefeat"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "store", [make_batch(range(3))])
    return tmp_path


def shell(
    folder: Path, line: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line.replace("sparsefeat", SPARSEFEAT, 1)],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", ["info store", "--version", "info --help"])
@pytest.mark.parametrize(
    ("to", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_unwritable_standard_output_gives_exit_code_2(
    folder: Path, words: str, to: str, reason: str
) -> None:
    done = shell(folder, f"sparsefeat {words} {to}")
    said = f"Error: can't write to standard output ({reason})\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
def test_a_reader_that_closes_the_pipe_gives_exit_code_141(folder: Path, output: str) -> None:
    line = [sys.executable, "-m", "sparsefeat", "report", "store", "-o", output]
    with subprocess.Popen(
        line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == "<"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-"])
def test_unwritable_standard_error_does_not_stop_the_work(folder: Path, to: str) -> None:
    assert shell(folder, f"sparsefeat info nowhere {to}").returncode == 2
    assert shell(folder, f"sparsefeat nonsense {to}").returncode == 2
    done = shell(folder, f"sparsefeat sparsity store --csv zeros.csv {to}")
    assert done.returncode == 0, "what can't be said doesn't stop the work"
    assert (folder / "zeros.csv").is_file()


def test_a_file_never_gets_the_descriptor_of_a_closed_stream(folder: Path) -> None:
    done = shell(folder, "sparsefeat report store -o page.html --json <&- >&- 2>&-")
    assert done.returncode == 2
    assert (folder / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_a_deleted_current_folder_is_an_error(folder: Path) -> None:
    (folder / "deleted").mkdir()
    done = shell(folder / "deleted", "rmdir ../deleted && sparsefeat info ../store")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("Error: the current folder can't be used")


@pytest.mark.parametrize(
    "env",
    [
        {"HOME": "/nonexistent"},
        {"HOME": ""},
        {"HOME": "/dev/null"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb"},
        {"COLUMNS": "0"},
        {"COLUMNS": "many"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_unusual_environment_variables_do_no_harm(folder: Path, env: dict[str, str]) -> None:
    for words in ("info store", "report --help"):
        done = shell(folder, f"sparsefeat {words}", env)
        assert (done.returncode, done.stderr) == (0, "")
    done = shell(folder, "sparsefeat info größe\udce9", env)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_list_from_closed_standard_input_is_an_error(folder: Path) -> None:
    done = shell(folder, "sparsefeat extract --files-from - -o new -m none.onnx <&-")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "'-' as a list of images" in line
    assert "Bad file descriptor" in line


@pytest.mark.parametrize("words", [("info",), ("verify",), ("report",), ("maps", "-l", "x")])
def test_a_name_that_is_too_long_is_reported_in_one_line(
    folder: Path, words: tuple[str, ...]
) -> None:
    assert_one_line(run(folder, *words, "x" * 300))


@pytest.mark.parametrize("words", [("info",), ("verify",), ("report",), ("maps", "-l", "x")])
def test_a_name_with_a_line_break_is_reported_in_one_line(
    folder: Path, words: tuple[str, ...]
) -> None:
    done = run(folder, *words, "two\nlines\udce9")
    assert_one_line(done)


UNEXPECTED = """
import sys, sparsefeat.store
def info(folder):
    raise RecursionError("two\\nlines")
sparsefeat.store.info = info
from sparsefeat.cli import main
main(sys.argv[1:], prog_name="sparsefeat")
"""


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_bug_is_reported_with_exit_code_70(folder: Path, debug: list[str]) -> None:
    line = [sys.executable, "-c", UNEXPECTED, *debug, "info", "store"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    *traceback, said = done.stderr.splitlines()
    assert said.startswith(
        "Error: sparsefeat failed because of a bug (RecursionError: two lines): "
    )
    assert "please report" in said
    assert "sparsefeat --debug COMMAND" in said
    assert bool(traceback) == bool(debug)


def test_a_variable_shows_the_traceback_of_errors(folder: Path) -> None:
    done = run(folder, "info", "nowhere", env={"SPARSEFEAT_DEBUG": "1"})
    assert done.exit_code == 2
    assert "StoreNotFoundError" in done.stderr
    assert "Traceback" not in run(folder, "info", "nowhere").stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_screen_fits_into_80_columns(command: str, tmp_path: Path) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(
        main, [*command.split(), "--help"], prog_name="sparsefeat", terminal_width=80
    )
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\b" not in done.stdout
    assert "\\b" not in done.stdout
    examples = [line for line in lines if "  sparsefeat " in line or line.startswith("  find ")]
    assert all(line.count("sparsefeat ") == 1 for line in examples)
    assert examples or command == "demo"


HUGE = "9" * 5000
NUMBERS = ("-5", "0", "nan", "inf", "1e5", "9" * 30, HUGE, "")
LINES = {
    "extract photos -o new": ("--threads", "--decode-threads", "--batch-size", "--rows-per-part"),
    "bench": ("--seed", "--seconds", "--rounds", "--threads", "--batch-sizes"),
    "compact store": ("--rows-per-part", "--bytes-per-part"),
    "merge store -o new": ("--rows-per-part", "--bytes-per-part"),
    "convert store -o new.h5ad": ("--memory",),
    "report store -o new.html": ("--seed",),
    "quantize MODEL --calibration photos -o new.onnx": ("--views",),
    "maps photos/a.png -l block5_pool": ("--channels", "--size"),
}
GOOD = {
    ("--seed", "0"),
    ("--seed", "9" * 30),
    ("--seed", HUGE),
    ("--seconds", "1e5"),
    ("--seconds", "9" * 30),
    ("--channels", "0"),
}


@pytest.mark.parametrize(
    ("line", "option"), [(line, option) for line, options in LINES.items() for option in options]
)
def test_invalid_numbers_are_refused_in_one_line(
    folder: Path, small_vgg16: Path, line: str, option: str
) -> None:
    from PIL import Image

    (folder / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(folder / "photos/a.png")
    for number in NUMBERS:
        if (option, number) in GOOD:
            continue
        words = line.replace("MODEL", str(small_vgg16)).split()
        done = run(folder, *words, f"{option}={number}", env={"SPARSEFEAT_MODEL": str(small_vgg16)})
        assert_one_line(done)
        said = done.stderr.splitlines()[-1]
        assert any(word and word in said for word in (option, option[2:].replace("-", "_"), number))
        assert not list(folder.glob("new*"))


@pytest.mark.parametrize(
    ("option", "limit"),
    [
        ("--size=999999x999999", f"at most {MAX_PIXELS:,} pixels"),
        ("--batch-sizes=8,4097", "numbers from 1 to 4,096"),
        ("--batch-sizes=99999999999", "numbers from 1 to 4,096"),
    ],
)
def test_numbers_beyond_a_limit_are_refused_at_once(folder: Path, option: str, limit: str) -> None:
    """They are refused before the model is opened."""
    done = run(folder, "bench", option)
    assert_one_line(done)
    assert limit in done.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="has no ulimit")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_page_that_is_cut_off_in_standard_output_is_an_error(
    folder: Path, unbuffered: str
) -> None:
    """Without buffers, Python silently drops the part of a write that the system doesn't accept."""
    line = "ulimit -f 100; sparsefeat report store -o - > page"
    done = shell(folder, line, {"PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == 2
    assert "can't write to standard output" in done.stderr
    assert "Traceback" not in done.stderr
