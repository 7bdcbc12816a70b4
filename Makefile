# The targets need Python 3.11 and make; `make venv` brings the rest, every other target runs it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
MANAGE := $(BIN)/python manage.py
# Three workers for two cores: one of them often waits for a process or a clock.
PYTEST := $(BIN)/python -m pytest -n 3 --maxprocesses 3 --dist worksteal
FLOOR := 95
ADDRESS ?= 127.0.0.1:8000

# `demo` and `serve` share one store that is not yours, unless HOPPER_DATABASE_URL names another.
demo serve: export HOPPER_DATABASE_URL ?= sqlite:///$(CURDIR)/.demo/hopper.db

.PHONY: help venv browser demo serve test lint types imports check bench storm fuzz soak mutations schema
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 10

$(STAMP): pyproject.toml constraints.txt
	@echo "Preparing .venv with $(PYTHON) (once, about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

venv: $(STAMP) ## create or update the environment in .venv

browser: ## install Chromium for the tests of the pages, as root by apt; skipped without it
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || test "$$(id -u)" != 0 || \
		{ apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium; } || true

demo: venv ## watch tasks fall down the tree and their completion rise
	@$(MANAGE) hopper_demo

serve: venv ## serve a team on the demo's store (ADDRESS=host:port)
	@$(BIN)/hopper --local serve --host $(firstword $(subst :, ,$(ADDRESS))) --port $(lastword $(subst :, ,$(ADDRESS)))

# The tests start many processes: without bytecode each would compile Hopper anew.
test: export PYTHONDONTWRITEBYTECODE =
test: venv browser ## run the tests on SQLite, then on a PostgreSQL of their own
	@HOPPER_TEST_DATABASE=sqlite $(PYTEST) --cov --cov-report=
	@HOPPER_TEST_DATABASE=postgres $(PYTEST) --cov --cov-append --cov-report=term --cov-fail-under=$(FLOOR)

lint: venv ## check form and style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: venv ## check the types
	@$(BIN)/mypy

imports: venv ## check who imports whom
	@$(BIN)/lint-imports

check: test lint types imports schema ## everything that must hold before a release
	@$(BIN)/python manage.py makemigrations --check --dry-run --settings tests.settings
	@$(BIN)/python manage.py check --deploy --fail-level ERROR --settings tests.settings

schema: venv ## write docs/openapi.yaml; fails on a warning
	@$(MANAGE) spectacular --file docs/openapi.yaml --validate --fail-on-warn --settings tests.settings

bench: venv ## measure on a throw-away PostgreSQL that waits for the disk
	@$(BIN)/python -m tests.postgres --durable -- $(BIN)/python -m tests.bench

storm: export HOPPER_STORM = 1
storm: venv ## the concurrency tests at full length, on both databases
	@HOPPER_TEST_DATABASE=sqlite $(BIN)/python -m pytest -m storm -o faulthandler_timeout=0
	@HOPPER_TEST_DATABASE=postgres $(BIN)/python -m pytest -m storm -o faulthandler_timeout=0

fuzz: export HOPPER_FUZZ ?= 200
fuzz: venv ## call every operation with made-up input, as admin, worker, viewer and stranger
	@HOPPER_TEST_DATABASE=sqlite $(PYTEST) tests/api/test_fuzzing.py

soak: venv ## let a whole site work for ten minutes on PostgreSQL while its processes are killed
	@$(BIN)/python -m tests.postgres -- $(BIN)/python -m tests.soak --minutes 10

mutations: venv ## put faults in on purpose, one by one: the tests must notice each
	@$(BIN)/python -m tests.mutations
