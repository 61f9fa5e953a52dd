# make up           everything on this machine: sample footage, training, both servers, dashboard
# make test-fast    the tests to run while working: all that take no longer than about a third of a second
# make test         the lint and all tests, with the slowest 20
# make coverage     all tests with their coverage, which takes half as much time again on Python 3.11
# make test-faults  the tests of faults at full length: kills, full disks, a soak (some two hours)
# make lint         ruff, mypy, the import rules, and biome for JavaScript where npm is installed
# make format       format, and correct what ruff can correct
# make findings     each script in findings/, one after the other
# make constraints  constraints.txt with the newest versions; run the tests with them before you commit it
# make bench        speed of the node;  make bench-server  of the tracking server;  make bench-served  over HTTP
# make bench-costs  what a picture costs against the sizes of reference, window, picture and streams
#
# VENV=PATH   use that virtual environment instead of .venv;  PYTHON=python3.12  create it with that

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.lenswatch-installed
INSTALLED_DEV := $(VENV)/.lenswatch-installed-dev
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := src api tests benchmarks docs examples .ci
# The package as it is installed, api/ in its place, for the tools that only read files.
WHOLE := build/whole
BIOME_VERSION := 2.6.8
BIOME := build/biome-$(BIOME_VERSION)/node_modules/.bin/biome

# Tests run in twice as many processes as there are cores, since many wait for servers and browsers. What they share
# (a trained reference, servers, a database) is made once a process and often once a file, so a file stays with one
# process. tests/support/mixed.py sets the order of the files.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SPREAD := -n $(shell echo $$(($(CORES) * 2))) --maxprocesses 6 --dist loadfile --no-loadscope-reorder
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD)

# An environment that several checkouts share is installed anew when another one used it last.
$(shell [ "$$(cat $(INSTALLED) 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(INSTALLED) $(INSTALLED_DEV))

.PHONY: up test coverage test-fast test-faults lint lint-javascript format findings constraints bench bench-costs bench-served bench-server
.DELETE_ON_ERROR:

up: $(INSTALLED)
	@$(BIN)/lenswatch up

test: $(INSTALLED_DEV) lint
	@$(PYTEST) --durations=20

coverage: $(INSTALLED_DEV)
	@$(PYTEST) -q --cov --cov-report=term

test-fast: $(INSTALLED_DEV)
	@$(PYTEST) -m 'not slow' -q

test-faults: $(INSTALLED_DEV)
	@LENSWATCH_TEST_FULL=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults -v --durations=20 --timeout=3600

lint: $(INSTALLED_DEV) lint-javascript
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@rm -rf $(WHOLE) && mkdir -p $(WHOLE)
	@cp -rs $(CURDIR)/src/lenswatch $(WHOLE) && cp -rs $(CURDIR)/api $(WHOLE)/lenswatch/api
	@$(BIN)/mypy $(WHOLE)/lenswatch tests benchmarks .ci/constraints.py
	@PYTHONPATH=$(WHOLE) $(BIN)/lint-imports > build/imports.txt || { cat build/imports.txt; exit 1; }

# Only CI insists on it: nobody needs Node.js to work on the Python code.
lint-javascript:
	@mkdir -p build
	@[ -x $(BIOME) ] || npm install --no-save --no-audit --no-fund --silent --prefix build/biome-$(BIOME_VERSION) \
	    @biomejs/biome@$(BIOME_VERSION) > build/biome.txt 2>&1 || true
	@if [ -x $(BIOME) ]; then \
	    $(BIOME) lint --error-on-warnings > build/biome.txt 2>&1 || { cat build/biome.txt; exit 1; }; \
	else \
	    echo "JavaScript is not linted: npm is missing, or could not install biome"; \
	    [ -z "$(LENSWATCH_TEST_STRICT)" ]; \
	fi

format: $(INSTALLED_DEV)
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

findings: $(INSTALLED_DEV)
	@failed=""; for script in findings/*.sh; do \
	    echo "== $$script"; PATH="$(abspath $(BIN)):$$PATH" bash $$script || failed="$$failed $$script"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

constraints: $(BIN)/python
	@$(INSTALL) --upgrade --upgrade-strategy eager -e '.[dev]'
	@$(BIN)/python .ci/constraints.py > build/constraints.txt
	@mv build/constraints.txt constraints.txt

bench: $(INSTALLED_DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

bench-served: $(INSTALLED_DEV)
	@$(BIN)/python -m benchmarks.served

bench-costs: $(INSTALLED_DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.costs

bench-server: $(INSTALLED_DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.server

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Lenswatch needs Python 3.11 or 3.12, and $(PYTHON) is {v[0]}.{v[1]}; give another: make PYTHON=python3.12")'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml constraints.txt
	@echo "installing Lenswatch and what it needs into $(VENV) (PyTorch is large: some minutes)"
	@$(INSTALL) -c constraints.txt -e '.[node,server]'
	@echo "$(CURDIR)" > $(INSTALLED)

$(INSTALLED_DEV): $(BIN)/python pyproject.toml constraints.txt
	@echo "installing Lenswatch and the development tools into $(VENV)"
	@$(INSTALL) -c constraints.txt -e '.[dev]'
	@echo "$(CURDIR)" > $(INSTALLED)
	@touch $@

.PHONY: docs
docs: $(INSTALLED_DEV)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the documentation is in build/site/index.html"
