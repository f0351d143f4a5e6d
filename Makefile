# Each target sets up what it needs; run any of them again without harm.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Tests of a file stay together, for what they share; on 2 cores two files at a time.
PYTEST := $(BIN)/python -m pytest -q --numprocesses logical --maxprocesses 4 --dist loadfile
export PYTHONDONTWRITEBYTECODE ?= 1
export DO_NOT_TRACK ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-reset dev test test-long fuzz check format bench bench-pit bench-online bench-drift lock system-packages

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Perennial needs Python 3.11 ($(PYTHON) was not found); name another with PYTHON=/path/to/python3.11"; exit 1; }
	@echo "set-up 1/3: virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "set-up 2/3: locked dependencies (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -r requirements.lock
	@echo "set-up 3/3: the project itself, editable"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
	@touch $(READY)

setup: $(READY) ## virtual environment with the locked dependencies

demo: $(READY) ## from raw sales to a gated champion; DATA=file.parquet for your own, SOURCE=name where it cannot be told
	@$(BIN)/perennial demo $(if $(DATA),--data "$(DATA)") $(if $(SOURCE),--source "$(SOURCE)") $(if $(STATE),--state "$(STATE)")

demo-reset: $(READY) ## forget the demo's state (same DATA, SOURCE as for demo)
	@$(BIN)/perennial demo-reset $(if $(DATA),--data "$(DATA)") $(if $(SOURCE),--source "$(SOURCE)") $(if $(STATE),--state "$(STATE)")

dev: $(READY) ## the Dagster UI on the state of the last demo (PORT=3000)
	@$(BIN)/perennial dev --port $(or $(PORT),3000) $(if $(STATE),--state "$(STATE)")

test: $(READY) ## the fast tests, at most ten minutes on 2 cores
	@$(PYTEST)

test-long: $(READY) system-packages ## kills, races, a real daemon, real servers
	@$(PYTEST) -m long

fuzz: $(READY) ## the property tests on examples that no run has drawn before (make test always draws the same)
	@$(PYTEST) --hypothesis-profile=fuzz $$(grep -lr "from hypothesis" tests --include="test_*.py")

check: $(READY) ## ruff, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/python -m pytest -q tests/test_layers.py

format: $(READY) ## rewrite in the project's format
	@$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format .

bench: $(READY) ## every benchmark, each beside its peer
	@for b in benchmarks/bench_*.py; do $(BIN)/python $$b || exit 1; done

bench-pit: $(READY) ## the point-in-time join beside its peers (ARGS="--full", "--filed", "--big"; --help says more)
	@$(BIN)/python benchmarks/bench_pit.py $(ARGS)

bench-online: $(READY) ## loading and reading the online store, beside Feast's own path (SQLite, Redis)
	@$(BIN)/python benchmarks/bench_online.py

bench-drift: $(READY) ## two-sample statistics beside scipy and Evidently (ARGS="--full --evidently-python PATH")
	@$(BIN)/python benchmarks/bench_drift.py $(ARGS)

system-packages: # servers that the long tests start on loopback, and Java for Spark; a test that misses one fails and names it
	@missing=; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || missing="postgresql"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	{ command -v java || [ -x "$$JAVA_HOME/bin/java" ]; } >/dev/null || missing="$$missing openjdk-17-jre-headless"; \
	if [ -n "$$missing" ]; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "set-up: $$missing (for the long tests)"; apt-get update -qq; \
	    for p in $$missing; do DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$p >/dev/null || echo "note: $$p could not be installed"; done; \
	  else echo "note: install $$missing, the long tests need it"; fi; fi

lock: ## requirements.lock from pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --extra dev --strip-extras --allow-unsafe --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options -o requirements.lock pyproject.toml
	@sed -i -E 's/^torch==([0-9.]+)\+.*/torch==\1/' requirements.lock
