import subprocess
import sys
from pathlib import Path

import pytest

from sparsefeat.system.memory import available_memory, memory_sizes

MACHINE = "MemTotal:       16000 kB\nMemAvailable:   12000 kB\nHugePages_Total:   0\n"
STAT = "anon 4000000\ninactive_file 700000\n"


def put(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text(MACHINE)
    return tmp_path / "root"


def available(root: Path, of_process: str) -> int | None:
    listing = root.parent / "cgroup"
    listing.write_text(of_process)
    return available_memory(
        cgroup_root=root, cgroup_of_process=listing, meminfo=root.parent / "meminfo"
    )


def test_without_a_control_group_it_is_the_machine_s_free_memory(root: Path) -> None:
    assert available(root, "") == 12_000 * 1024
    put(root / "app", memory__max="max", memory__current="5000000")
    assert available(root, "0::/app\n") == 12_000 * 1024


def test_a_control_group_leaves_its_limit_minus_its_usage(root: Path) -> None:
    put(root / "app", memory__max="6000000", memory__current="5000000")
    assert available(root, "0::/app\n") == 1_000_000


def test_cached_files_count_as_available(root: Path) -> None:
    put(root / "app", memory__max="6000000", memory__current="5000000", memory__stat=STAT)
    assert available(root, "0::/app\n") == 1_700_000


def test_the_control_group_with_the_least_room_counts(root: Path) -> None:
    put(root / "a", memory__max="6000000", memory__current="5900000")
    put(root / "a/b", memory__max="3000000", memory__current="1000000")
    assert available(root, "0::/a/b\n") == 100_000


def test_a_control_group_over_its_limit_leaves_nothing(root: Path) -> None:
    put(root, memory__max="6000000", memory__current="6000001")
    assert available(root, "0::/elsewhere\n") == 0


def test_version_1_control_groups_are_read(root: Path) -> None:
    put(
        root / "memory" / "job",
        memory__limit_in_bytes="6000000",
        memory__usage_in_bytes="5000000",
        memory__stat="inactive_file 1\ntotal_inactive_file 500000\n",
    )
    assert available(root, "4:memory:/job\n0::/\n") == 1_500_000
    put(root / "memory" / "job", memory__limit_in_bytes=str(2**63 - 4096))
    assert available(root, "4:memory:/job\n") == 12_000 * 1024


def test_an_unknown_amount_of_memory_is_none(tmp_path: Path) -> None:
    assert memory_sizes(tmp_path / "none") == {}
    found = available_memory(
        cgroup_root=tmp_path, cgroup_of_process=tmp_path / "none", meminfo=tmp_path / "none"
    )
    assert found is None or found > 0


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of a process are Linux'")
def test_a_limit_of_the_address_space_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from sparsefeat.system.memory import available_memory; print(available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1 << 30
