# make up     everything on this machine: sample footage, training, both servers, dashboard
# make test   the lint and the tests
# VENV=PATH   use that virtual environment instead of .venv;  PYTHON=python3.12  make it with that

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.lenswatch-installed
INSTALLED_DEV := $(VENV)/.lenswatch-installed-dev
SOURCES := src api tests benchmarks
# The package as it is installed, api/ in its place, for the tools that only read files.
WHOLE := build/whole

# Tests run on every core. What they share (a trained reference, servers, a database) is made once a process and
# often once a file, so a file stays with one process.
SPREAD := -n logical --maxprocesses 4 --dist loadfile

# An environment that several checkouts share is installed anew when another one used it last.
$(shell [ "$$(cat $(INSTALLED) 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(INSTALLED) $(INSTALLED_DEV))

.PHONY: up test lint format bench bench-server
.DELETE_ON_ERROR:

up: $(INSTALLED)
	@$(BIN)/lenswatch up

test: $(INSTALLED_DEV) lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD)

lint: $(INSTALLED_DEV)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@rm -rf $(WHOLE) && mkdir -p $(WHOLE)
	@cp -rs $(CURDIR)/src/lenswatch $(WHOLE) && cp -rs $(CURDIR)/api $(WHOLE)/lenswatch/api
	@$(BIN)/mypy $(WHOLE)/lenswatch
	@PYTHONPATH=$(WHOLE) $(BIN)/lint-imports

format: $(INSTALLED_DEV)
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench: $(INSTALLED_DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

bench-server: $(INSTALLED_DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/server.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Lenswatch needs Python 3.11 or 3.12, and $(PYTHON) is {v[0]}.{v[1]}; give another: make PYTHON=python3.12")'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml
	@echo "installing Lenswatch and what it needs into $(VENV) (PyTorch is large: some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@echo "$(CURDIR)" > $(INSTALLED)

$(INSTALLED_DEV): $(BIN)/python pyproject.toml
	@echo "installing Lenswatch and the development tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "$(CURDIR)" > $(INSTALLED)
	@touch $@

.PHONY: docs
docs: $(INSTALLED_DEV)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the documentation is in build/site/index.html"
