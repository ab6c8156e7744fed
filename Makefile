# Every target makes what it needs from python3 and a package index alone.
PYTHON ?= python3
# Another Python gets an environment of its own: `make test PYTHON=python3.13` makes .venv-3.13.
ifndef VENV
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
endif
BIN := $(VENV)/bin
EXTRAS := --extra cpu --extra fast --extra export --extra heif --extra viz --extra convert --extra dask --extra cloud --extra ray --extra demo --extra test --extra dev --extra docs
# All but the tools of developers, whose versions make no difference to users.
LOWEST_EXTRAS := $(patsubst %,--extra %,$(filter-out --extra dev docs,$(EXTRAS)))

# Tests run in three processes, which keep two processors busy, as tests wait a fifth of the time.
# Each takes some gigabytes of memory: `make test WORKERS=` needs the least.
WORKERS := -n 3 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-lowest coverage browser torch check docs bench results release lock clean

# Stamped, so that an interrupted installation is taken up again. A folder that make did not
# create is left alone: it may be someone's own environment.
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(None if ok else f"sparsefeat needs Python 3.11 to 3.13, this is {sys.version.split()[0]}; run make PYTHON=python3.12 ...")'
	@if [ -e $(VENV) ] && [ ! -e $(VENV)/made-by-make ] && [ ! -e $@ ]; then \
	    echo "$(VENV) was not made by make and would be replaced; move it away, or run make VENV=.venv-sparsefeat ..." >&2; exit 1; fi
	$(PYTHON) -m venv --clear $(VENV)
	touch $(VENV)/made-by-make
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/installed
	$(BIN)/sparsefeat demo -o demo

test: $(VENV)/installed browser torch
	$(BIN)/python -m pytest $(WORKERS)

# With the lowest version of every package that pyproject.toml allows; of what these need themselves,
# the newest. TESTS chooses: `make test-lowest TESTS=tests/kernels`.
LOWEST := .venv-lowest
TESTS ?= tests
$(LOWEST)/installed: pyproject.toml | $(VENV)/installed
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip compile pyproject.toml --resolution lowest-direct --only-binary :all: \
	    --python $(LOWEST)/bin/python $(LOWEST_EXTRAS) --no-emit-index-url --no-annotate --quiet \
	    -o $(LOWEST)/requirements.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --only-binary :all: -r $(LOWEST)/requirements.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps -e .
	touch $@

test-lowest: $(LOWEST)/installed browser
	$(LOWEST)/bin/python -m pytest $(WORKERS) $(TESTS)

# Lines and branches that tests execute, of all processes; compiled kernels are left out. Tests
# that limit the size of files, or count calls of the system, fail here: that is coverage's own file.
coverage: $(VENV)/installed browser torch
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Tests open pages in Chromium.
browser:
	@sh tests/install-browser.sh

# Data sets for PyTorch: it is not locked, as CPU or CUDA is everyone's own choice.
torch: $(VENV)/installed
	@sh tests/install-torch.sh $(BIN)/python

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation's site, for a browser: site/index.html. Its search needs a server, such as
# `python3 -m http.server -d site`. A broken link, or a page that isn't in mkdocs.yml, is an error.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/installed
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only --benchmark-autosave \
	    --benchmark-columns=median,iqr,rounds

# The documentation's figures: measures for some five minutes, writes benchmarks/results/ and the tables
# made of them. On a quiet machine, please.
results: $(VENV)/installed torch
	$(BIN)/python -m benchmarks.tables

# sdist and wheel in dist/, checked, and tried in an empty environment; uploads nothing.
release: $(VENV)/installed
	.ci/release $(BIN)/python

lock: $(VENV)/installed
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	    $(EXTRAS) --no-emit-index-url --generate-hashes --custom-compile-command "make lock" \
	    --upgrade --quiet -o requirements.lock

clean:
	rm -rf $(VENV) $(LOWEST) demo dist site
