import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("install-browser.sh")

FAILING = "echo no network; exit 100"
INSTALLING = 'if [ "$1" = install ]; then printf "#!/bin/sh\\n" > "$BIN/chromium"; \
chmod +x "$BIN/chromium"; fi'


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH with next to nothing on it."""
    for name in ("env", "chmod"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    add(tmp_path, "id", "echo 0")
    return tmp_path


def add(folder: Path, name: str, body: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def run(folder: Path, ci: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(folder), "BIN": str(folder), "CI": ci}
    command = [os.path.realpath(str(shutil.which("sh"))), str(SCRIPT)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_one_that_is_there_is_left_alone(bin_folder: Path) -> None:
    add(bin_folder, "google-chrome", "exit 0")
    add(bin_folder, "apt-get", "touch $BIN/asked")
    done = run(bin_folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (bin_folder / "asked").exists()


def test_it_is_installed_quietly(bin_folder: Path) -> None:
    add(bin_folder, "apt-get", INSTALLING)
    done = run(bin_folder, ci="true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (bin_folder / "chromium").exists()


@pytest.mark.parametrize("apt_get", [None, FAILING])
def test_without_one_only_continuous_integration_fails(
    bin_folder: Path, apt_get: str | None
) -> None:
    if apt_get:
        add(bin_folder, "apt-get", apt_get)
    done = run(bin_folder)
    assert done.returncode == 0
    assert done.stderr.startswith("tests of pages will be skipped")
    assert done.stderr.count("\n") == 1
    failed = run(bin_folder, ci="true")
    assert failed.returncode == 1
    assert ("no network" in failed.stderr) == (apt_get is not None)


def test_without_root_nothing_is_asked(bin_folder: Path) -> None:
    add(bin_folder, "id", "echo 1000")
    add(bin_folder, "sudo", "exit 1")
    add(bin_folder, "apt-get", "touch $BIN/asked")
    assert run(bin_folder).returncode == 0
    assert not (bin_folder / "asked").exists()
