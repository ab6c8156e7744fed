#!/bin/sh
# Sees to it that PyTorch is there for the tests of its data sets, where the package index has a
# build for the processor alone: with CUDA it is several GB. Without it those tests are skipped.
# $1: the environment's python.

python=$1
wanted=torch==2.13.0

"$python" -c 'import torch' 2>/dev/null && exit 0

report=$(mktemp) || exit
trap 'rm -f "$report"' EXIT

small() {
    "$python" -m pip install --quiet --dry-run --report "$report" --only-binary :all: "$wanted" || return
    "$python" - "$report" <<'END'
import json
import sys
from importlib.metadata import distributions

with open(sys.argv[1], encoding="utf-8") as file:
    names = {entry["metadata"]["name"].lower() for entry in json.load(file)["install"]}
cuda = any(name.startswith(("nvidia", "cuda")) or "triton" in name for name in names)
# What is locked stays as it is.
sys.exit(cuda or bool(names & {each.metadata["Name"].lower() for each in distributions()}))
END
}

if small >/dev/null 2>&1 </dev/null &&
    "$python" -m pip install --quiet --only-binary :all: "$wanted" >/dev/null 2>&1 </dev/null &&
    "$python" -c 'import torch' 2>/dev/null; then
    exit 0
fi
echo "tests of PyTorch data sets will be skipped: it is not installed, and there is no build of $wanted without CUDA" >&2
