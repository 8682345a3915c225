# Tandem's commands. `make` alone lists them; each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STACK := $(BIN)/embedded-stack
PACKAGES := services/service-kit services/auth-service services/tweet-service services/sync-service \
            infra/connect infra/embedded
PROJECTS := $(addsuffix /pyproject.toml,$(PACKAGES))
SOURCES := $(addsuffix /src,$(PACKAGES))

.DEFAULT_GOAL := help
.PHONY: help setup run up down status logs start stop restart test check format lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete ## Make the virtual environment (done by whatever needs it)

$(VENV)/.complete: requirements.lock $(PROJECTS)
	@bash infra/embedded/setup.sh "$(PYTHON)" "$(VENV)" $(PACKAGES)
	@touch $@

run: setup ## Run the whole system in the foreground; Ctrl-C stops it, data stays
	@exec $(STACK) run

up: setup ## Run the whole system in the background
	@$(STACK) up

down: setup ## Stop what `make up` started
	@$(STACK) down

status: setup ## Show what runs, where and since when
	@$(STACK) status

logs: setup ## Follow the logs (NAME=auth for one component)
	@$(STACK) logs $(NAME)

start: setup ## Start one component of a running stack (NAME=sync)
	@$(STACK) start $(NAME)

stop: setup ## Stop one component of a running stack (NAME=sync)
	@$(STACK) stop $(NAME)

restart: setup ## Restart one component of a running stack (NAME=sync)
	@$(STACK) restart $(NAME)

test: setup ## Run all tests on an embedded stack of their own
	@$(BIN)/pytest

check: setup ## Check format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(SOURCES)

format: setup ## Format the code and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup ## Compile the dependencies of all packages into the lock files
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	    --custom-compile-command "make lock" --no-emit-package service-kit --group pyproject.toml:dev \
	    --output-file requirements.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-deps --no-header --no-annotate --upgrade \
	    --output-file infra/embedded/components.lock infra/embedded/components.in

clean: ## Stop the stack and delete its state and the virtual environment; the download cache stays
	@test ! -x $(STACK) || $(STACK) down
	@rm -rf .stack .stack-test $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
