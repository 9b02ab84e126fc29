# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
SHARED ?= $(or $(CRUCIBLE_SHARED),../shared)
BARS ?= $(SHARED)/data/BTCUSDT_5m_binance.parquet
STAMP := $(VENV)/.installed

# some machines switch byte-compiling off; imports are three times slower without it
unexport PYTHONDONTWRITEBYTECODE
export CRUCIBLE_SHARED := $(abspath $(SHARED))

.PHONY: help install demo demo-real up test check docs bench prove month audit lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Install everything into .venv (done by the other targets when needed)

$(STAMP): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@echo "Installing into $(VENV) (about a minute; once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements/dev.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q crucible pipelines assets resources
	@touch $@

demo: $(STAMP) ## From bars to scored submissions on a simulated market, in one command
	$(BIN)/crucible demo

demo-real: $(STAMP) ## The same on real bars, replayed (BARS=path)
	$(BIN)/crucible demo --bars "$(BARS)" --home data/real

up: $(STAMP) ## Dagster, MLflow, exchange, localnet and fleet until Ctrl-C
	$(BIN)/crucible up

check: $(STAMP) ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP) ## The docs site, into site/, offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

test: $(STAMP) ## The whole suite, offline; test files run side by side
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

prove: $(STAMP) ## Long suites: many kills, many seeds
	CRUCIBLE_PROVE=1 $(BIN)/pytest --timeout 1800

bench: $(STAMP) ## Side-by-side figures, as JSON
	@for script in $(filter-out benchmarks/month.py,$(wildcard benchmarks/*.py)); do $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

month: $(STAMP) ## Forty unattended days with a planted break, into docs/ (half an hour)
	$(BIN)/python -m benchmarks.month --docs docs

audit: $(STAMP) ## Look the locked packages up in a database of vulnerabilities, where one can be reached
	@$(BIN)/python requirements/audit.py

lock: ## Resolve the dependencies anew into requirements/
	bash requirements/lock.sh

clean: ## Remove what was produced (data/, mlruns/), not the installation
	rm -rf data mlruns/*
