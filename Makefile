# Tandem's commands. `make` alone lists them; each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EMBEDDED := $(BIN)/embedded-stack
PACKAGES := services/service-kit services/auth-service services/tweet-service services/sync-service \
            infra/connect infra/embedded
PROJECTS := $(addsuffix /pyproject.toml,$(PACKAGES))
SOURCES := $(addsuffix /src,$(PACKAGES))
PEERS := .venv-peers
PART ?=
# sync-only: the sync between your own databases (docs/your-own-databases.md).
STACK ?= $(or $(TANDEM_STACK),full)
export TANDEM_STACK := $(STACK)
# no: what dies is left as it is, for a look at it.
RESTART ?= yes
BENCH_SECONDS ?= 5
BENCH_ROUNDS ?= 3
# Attempts to find a quiet moment on a shared machine.
BENCH_TRIES ?= 1
FAULTS ?= 200
SEED ?= 1
# single: one server of each kind. ha: three mongod and brokers, two MySQL servers and Connect workers.
TOPOLOGY ?= single
# One more than two processors: tests wait for much. With four, the servers of the fourth cost as much as it saves.
TEST_PROCESSES ?= 3

# Compiled modules and rewritten tests are kept: without them pytest collects for twice as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup env run up down status logs start stop restart test-unit test test-all check format generate docs bench faults lock sbom clean

# Before a recipe that needs the name of a component.
require_name = @test -n "$(NAME)" || { echo "error: NAME is missing: make $@ NAME=sync" >&2; exit 2; }

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete ## Make the virtual environment (done by whatever needs it)

$(VENV)/.complete: requirements.lock $(PROJECTS)
	@bash infra/embedded/setup.sh "$(PYTHON)" "$(VENV)" $(PACKAGES)
	@touch $@

env: ## Write .env for `docker compose up`, with random secrets; an existing one stays
	@sh infra/env.sh

run: setup ## Run the whole system in the foreground; Ctrl-C stops it, data stays (RESTART=no: what dies is not restarted; STACK=sync-only: the sync of your own databases)
	@exec $(EMBEDDED) run --restart $(RESTART)

up: setup ## Run the whole system in the background; start what is missing of one that runs
	@$(EMBEDDED) up --restart $(RESTART)

down: setup ## Stop what `make up` started
	@$(EMBEDDED) down

status: setup ## Show what runs, where and since when; exit code 1 unless all components run
	@$(EMBEDDED) status

logs: setup ## Follow the logs (NAME=auth for one component)
	@$(EMBEDDED) logs $(NAME)

start: setup ## Start one component of a running stack (NAME=sync)
	$(require_name)
	@$(EMBEDDED) start $(NAME)

stop: setup ## Stop one component of a running stack (NAME=sync)
	$(require_name)
	@$(EMBEDDED) stop $(NAME)

restart: setup ## Restart one component of a running stack (NAME=sync)
	$(require_name)
	@$(EMBEDDED) restart $(NAME)

test-unit: setup ## Run the tests that need no server, in less than a minute
	@$(BIN)/pytest -m unit

test: setup ## Run the tests that a change needs, in three processes, each on an embedded stack of its own
	@bash tests/browser/install-chromium.sh
	@$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile -m "not long"

test-all: setup ## Run all tests, also those that are long by nature
	@bash tests/browser/install-chromium.sh
	@$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

check: setup ## Check format, lint and types, and that all tests can be imported
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@collected=$$($(BIN)/pytest --collect-only -qqq) || { echo "$$collected"; exit 1; }
	@$(BIN)/mypy $(SOURCES) tests/support benchmarks faults docs infra/kubernetes/generate.py infra/sbom.py

format: setup ## Format the code and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: setup ## Write what is generated: docs/configuration.md, the table in docs/security.md, Strimzi's resources (make docs is the same)
	@$(BIN)/python docs/configuration.py
	@$(BIN)/python docs/permissions.py
	@$(BIN)/python infra/kubernetes/generate.py

docs: generate

bench: setup $(PEERS)/.complete ## Measure against baselines and peers (PART=auth for one part, BENCH_SECONDS=5)
	@$(BIN)/python -m benchmarks $(PART) --seconds $(BENCH_SECONDS) --rounds $(BENCH_ROUNDS) \
	    --tries $(BENCH_TRIES)

faults: setup ## Inject faults into a separate system and check that no data is lost (FAULTS=200, SEED=1, TOPOLOGY=ha: failovers)
	@$(BIN)/python -m faults --faults $(FAULTS) --seed $(SEED) --topology $(TOPOLOGY)

$(PEERS)/.complete: benchmarks/peers/requirements.lock
	@echo "Installing the peers' Python packages into $(PEERS)"
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --only-binary :all: \
	    --require-hashes --requirement $<
	@touch $@

lock: setup ## Compile the dependencies of all packages into the lock files
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	    --custom-compile-command "make lock" --no-emit-package service-kit --no-emit-package sync-service --group pyproject.toml:dev \
	    --output-file requirements.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-deps --no-header --no-annotate --upgrade \
	    --output-file infra/embedded/components.lock infra/embedded/components.in
	@$(BIN)/python -m embedded_stack.fetch.lock_jars
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	    --output-file benchmarks/peers/requirements.lock benchmarks/peers/requirements.in

sbom: setup ## Write dist/tandem.cdx.json: all packages, jars and images, in CycloneDX's format
	@$(BIN)/python -m infra.sbom

clean: ## Stop the stack and delete its state and the virtual environments; the download cache stays
	@test ! -x $(EMBEDDED) || { $(EMBEDDED) down; TANDEM_STACK=sync-only $(EMBEDDED) down; }
	@rm -rf .stack .stack-sync-only .stack-test .stack-bench .stack-faults $(VENV) $(PEERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis
