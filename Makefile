# Every target makes what it needs from python3 and a package index alone.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := --extra cpu --extra fast --extra export --extra heif --extra viz --extra convert --extra dask --extra cloud --extra ray --extra demo --extra test --extra dev --extra docs

# Tests run in two processes where there are two processors; each takes some gigabytes of memory.
WORKERS := -n logical --maxprocesses 2 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test coverage browser torch check docs bench lock clean

# Stamped, so that an interrupted installation is taken up again.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(None if ok else f"sparsefeat needs Python 3.11 to 3.13, this is {sys.version.split()[0]}; say make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: .venv/installed
	$(BIN)/sparsefeat demo -o demo

test: .venv/installed browser torch
	$(BIN)/python -m pytest $(WORKERS)

# Lines and branches that tests execute, of all processes; compiled kernels are left out. Tests
# that limit the size of files, or count calls of the system, fail here: that is coverage's own file.
coverage: .venv/installed browser torch
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Tests open pages in Chromium.
browser:
	@sh tests/install-browser.sh

# Data sets for PyTorch: it is not locked, as CPU or CUDA is everyone's own choice.
torch: .venv/installed
	@sh tests/install-torch.sh $(BIN)/python

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation's site, for a browser: site/index.html. Its search needs a server, such as
# `python3 -m http.server -d site`. A broken link, or a page that isn't in mkdocs.yml, is an error.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/installed
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only --benchmark-autosave \
	    --benchmark-columns=median,iqr,rounds

lock: .venv/installed
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	    $(EXTRAS) --no-emit-index-url --generate-hashes --custom-compile-command "make lock" \
	    --upgrade --quiet -o requirements.lock

clean:
	rm -rf .venv demo site
