# One way to do each chore.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help: ## show the chores
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements/dev.lock
	@echo "setting up $(VENV) (about a minute the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tidegate needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(STAMP) ## make the virtual environment from the lock file

.PHONY: demo
demo: $(STAMP) ## run examples/quickstart on this machine: no cluster, no provider account
	@$(BIN)/tidegate serve examples/quickstart

.PHONY: test
test: $(STAMP) check cluster-tools oidc-tools redis-tools ## checks, unit, golden, property and cluster tests
	@$(BIN)/python -m pytest -m "not kills"

.PHONY: test-kills
test-kills: $(STAMP) cluster-tools redis-tools ## kills and outages in small (about three minutes); make chaos does more
	@$(BIN)/python -m pytest -m kills

.PHONY: test-unit
test-unit: $(STAMP) ## the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit tests/golden tests/property tests/bench

.PHONY: test-properties
test-properties: $(STAMP) redis-tools ## the property tests once more, with examples that were never tried
	@HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest tests/property tests/unit tests/redis -m "hypothesis"

.PHONY: check
check: $(STAMP) ## style, types, import arrows, generated files up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy crds operator dataplane tests
	@$(BIN)/lint-imports
	@$(BIN)/python -m tidegate_crds.generate --check

.PHONY: generate
generate: $(STAMP) ## rewrite the CRDs and the API reference from the models
	@$(BIN)/python -m tidegate_crds.generate

.PHONY: golden
golden: $(STAMP) ## rewrite the golden files (review the diff!)
	@$(BIN)/python -m pytest tests/unit tests/golden --update-golden -q

.PHONY: lock
lock: ## resolve the lock file anew from pyproject.toml (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--python-version 3.11 --all-extras pyproject.toml -o requirements/dev.lock

.PHONY: clean
clean: ## remove what the chores made in this folder
	@rm -rf $(VENV) .demo bench-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

include make/*.mk
