# `make run` and `make test` are all a fresh machine needs: git, make, and Python 3.11 or newer.
PYTHON ?= python3
PORT ?= 5000
DATA ?= ./data
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
# One more than there are processors: tests wait for disks, databases, and clients that try again.
PROCESSES := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
AT_ONCE := --numprocesses $(PROCESSES) --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run test soak bench check fix docs clients conformance clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Packhouse needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(STAMP)

run: $(STAMP)  ## start the registry on port 5000 (PORT=, DATA=)
	@exec $(BIN)/packhouse serve --port $(PORT) --data $(DATA)

clients: $(DEV_STAMP)  ## install the real clients the tests drive
	$(BIN)/python tests/clients/install.py

# Compiled first: the tests start some thousand processes, and some machines keep no bytecode.
test: $(DEV_STAMP)  ## set up and run every test
	$(BIN)/python tests/clients/install.py --background-go
	$(BIN)/python -m compileall -q auth formats registry storage
	$(BIN)/pytest $(AT_ONCE) --ignore tests/clients
	$(BIN)/python tests/clients/install.py --wait
	$(BIN)/pytest $(AT_ONCE) tests/clients

soak: $(DEV_STAMP)  ## the same tests at full size (hours)
	$(BIN)/python tests/clients/install.py
	SOAK=1 $(BIN)/pytest

bench: $(DEV_STAMP)  ## measure against other registries on this machine
	$(BIN)/python tests/clients/install.py
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.write_path

check: $(DEV_STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(DEV_STAMP)  ## format, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV_STAMP)  ## write what follows from the keys: config.example.yaml, docs/configuration.md
	$(BIN)/python -m tests.registry.configuration

conformance: $(DEV_STAMP)  ## run the OCI conformance suite against a fresh server
	$(BIN)/python tests/clients/install.py
	$(BIN)/pytest tests/clients/test_conformance.py

clean:  ## remove the virtual environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
