"""The files in deploy/ call sparsefeat with valid options, and the Slurm script runs."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import sparsefeat
from sparsefeat.cli import main

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def parsed(command: str) -> dict[str, Any]:
    """Parse a command line as sparsefeat does; return the options."""
    program, name, *words = shlex.split(command)
    assert program == "sparsefeat"
    subcommand = main.get_command(click.Context(main), name)
    assert subcommand is not None
    return subcommand.make_context(name, words).params


def containers(document: object) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return [found for each in document for found in containers(each)]
    if not isinstance(document, dict):
        return []
    own = document.get("containers", [])
    return [*own, *(found for each in document.values() for found in containers(each))]


def test_each_process_of_the_kubernetes_job_extracts_one_shard() -> None:
    job = yaml.safe_load((DEPLOY / "job.yaml").read_text())
    spec = job["spec"]
    (container,) = containers(job)
    (script,) = container["args"]
    script = script.removeprefix("exec ")
    last = parsed(script.replace("$JOB_COMPLETION_INDEX", str(spec["completions"] - 1)))
    assert last["shard"] == f"{spec['completions'] - 1}/{spec['completions']}"
    assert spec["completionMode"] == "Indexed"


def test_the_ray_job_s_workers_have_as_many_cpus_as_threads() -> None:
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    options = parsed(job["spec"]["entrypoint"])
    assert options["cluster"] == "auto"
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    (worker,) = containers(group["template"])
    assert worker["resources"]["requests"]["cpu"] == options["threads"]
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert cluster["rayVersion"] == locked[1]


def test_the_dockerfile_copies_existing_files_and_installs_existing_extras() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"/src\[([a-z,]+)\]", text)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_the_slurm_script_extracts_one_shard(
    small_vgg16: Path, photos: Path, tmp_path: Path
) -> None:
    bin_folder = Path(sys.executable).parent
    assert "--signal=B:TERM@" in (DEPLOY / "extract.sbatch").read_text()  # to the script itself
    for number in (0, 1):
        done = subprocess.run(
            ["bash", DEPLOY / "extract.sbatch", "--size", "64x64"],
            env={
                **os.environ,
                "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
                "IMAGES": str(photos),
                "STORE": str(tmp_path / "features"),
                "MODEL": str(small_vgg16),
                "SLURM_ARRAY_TASK_ID": str(number),
                "SLURM_ARRAY_TASK_MAX": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    store = sparsefeat.open(tmp_path / "features")
    assert len(store) == len([*photos.rglob("*.png")])
    assert store.obs["path"].is_unique


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / f"{number}.png")
    return folder
