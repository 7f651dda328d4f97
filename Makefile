# make run    sets everything up, runs the recipe cria and serves a chat page (BUDGET=minutes, SERVE=0, PORT=8080)
# make bench-train  compares training steps with those of other libraries
# make test   sets everything up, runs the tests
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
PYTHON ?= python3
BUDGET ?= 10
SERVE ?= 1
PORT ?= 8080
BIN := $(ROOT)/.venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-all check install install-dev bench-train clean

run: install
	$(BIN)/ayllu run cria --budget $(BUDGET)
ifneq ($(SERVE),0)
	$(BIN)/ayllu serve cria --port $(PORT)
endif

test: install-dev
	cd $(ROOT) && $(BIN)/python -m pytest

test-all: install-dev
	cd $(ROOT) && $(BIN)/python -m pytest -m ""

check: install-dev
	cd $(ROOT) && $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/lint-imports

install: $(ROOT)/.venv/installed

install-dev: $(ROOT)/.venv/installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Ayllu needs Python 3.11 or newer; name one with make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(ROOT)/.venv

$(ROOT)/.venv/installed: $(ROOT)/pyproject.toml | $(BIN)/python
	$(PIP) --editable $(ROOT)
	touch $@

$(ROOT)/.venv/installed-dev: $(ROOT)/pyproject.toml | $(BIN)/python
	$(PIP) --editable '$(ROOT)[dev]'
	touch $@ $(ROOT)/.venv/installed

bench-train: install
	$(BIN)/python $(ROOT)/bench/train_step.py

clean:
	rm -rf $(ROOT)/.venv
