# make help   says what there is to make
# make run    sets everything up, runs the recipe cria and serves a chat page (BUDGET=minutes, SERVE=0, PORT=8080)
# make bench-train  compares training steps with those of other libraries
# make test   sets everything up, runs the tests (TOGETHER="-n 2 --dist loadfile" in two processes)
# make test-all  runs the slow ones too
# make check  looks at style, types, floors and tables
# make test-lowest  runs the tests that need no oracle with the lowest versions that pyproject.toml allows
# make wheel  makes a wheel in dist/ that carries the C code ready, so that it needs no compiler where it is installed
# make lock   writes requirements.lock, the exact versions that everything is installed and tested with
# make mutants  changes the code of some rooms a little, and says which changes no test notices (ROOMS="data text", SAMPLE=30)
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
PYTHON ?= python3
BUDGET ?= 10
SERVE ?= 1
PORT ?= 8080
BIN := $(ROOT)/.venv/bin
ROOMS ?= evals release data text planner
SAMPLE ?= 30
# Not quiet: it takes minutes, and nobody should wonder whether it goes on.
PIP := $(BIN)/python -m pip install --disable-pip-version-check
LOCK := $(ROOT)/requirements.lock
LOWEST := $(ROOT)/.venv-lowest
MUTANTS := $(ROOT)/.venv-mutants
# Say TOGETHER="-n 2 --dist loadfile" to share the files of tests among processes; tests that wait for a browser may then
# wait too long.
TOGETHER ?=
# Tests that neither need an oracle (transformers, peft, …) nor minutes.
LOWEST_TESTS := lab/test_key.py lab/test_run.py lab/test_why.py evals fleet cli serve/test_server.py \
  data/cleaning/test_clean.py data/cleaning/test_quality.py text/calls/test_parser.py text/test_tool_calls.py \
  release/verification/test_verify.py release/verification/test_sign.py data/conversations data/sources data/tokens model/files/test_meta.py \
  model/test_transformer.py train/runs/test_checkpoint.py train/runs/test_loop.py

.PHONY: help run ready test test-all test-lowest check lock wheel install install-dev bench-train mutants clean

# Without a target make says what there is: nobody should start a training by a bare `make`.
help:
	@sed -n 's/^# make /make /p' $(firstword $(MAKEFILE_LIST))

run: ready install
	$(BIN)/ayllu run cria --budget $(BUDGET)
ifneq ($(SERVE),0)
	$(BIN)/ayllu serve cria --port $(PORT)
endif

ready:
	@$(PYTHON) $(ROOT)/deploy/ready.py '$(BUDGET)' '$(SERVE)' '$(PORT)'

test: install-dev
	cd $(ROOT) && $(BIN)/python -m pytest $(TOGETHER)

test-all: install-dev
	cd $(ROOT) && $(BIN)/python -m pytest $(TOGETHER) -m ""

test-lowest: install-dev
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOCK) torch
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '$(ROOT)[full]'
	$(BIN)/uv pip install --quiet --python $(LOWEST) pytest pytest-timeout hypothesis scipy
	cd $(ROOT) && $(LOWEST)/bin/python -m pytest $(addprefix tests/,$(LOWEST_TESTS))

wheel: install
	$(BIN)/python $(ROOT)/deploy/wheel.py $(ROOT)/dist

lock: install-dev
	cd $(ROOT) && $(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock

check: install-dev
	cd $(ROOT) && $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/lint-imports
	cd $(ROOT) && $(BIN)/python bench/tables.py --check

install: $(ROOT)/.venv/installed

install-dev: $(ROOT)/.venv/installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Ayllu needs Python 3.11 or newer; name one with make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@# Half an environment would be taken for a whole one the next time.
	$(PYTHON) -m venv $(ROOT)/.venv || { rm -rf $(ROOT)/.venv; \
	echo "Python made no environment: on Debian and Ubuntu apt-get install python3-venv, then again" >&2; exit 2; }

$(ROOT)/.venv/installed: $(ROOT)/pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing Ayllu and what it needs into $(ROOT)/.venv: about five minutes the first time"
	$(PIP) --constraint $(LOCK) --editable '$(ROOT)[full]'
	touch $@

$(ROOT)/.venv/installed-dev: $(ROOT)/pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing Ayllu, what it needs and what its tests need into $(ROOT)/.venv: about five minutes the first time"
	$(PIP) --constraint $(LOCK) --editable '$(ROOT)[dev]'
	touch $@ $(ROOT)/.venv/installed

bench-train: install
	$(BIN)/python $(ROOT)/bench/train_step.py

# mutmut has an environment to itself, so that no test depends on what it brings.
mutants: $(MUTANTS)/installed
	$(MUTANTS)/bin/python $(ROOT)/bench/mutants.py --rooms $(ROOMS) --sample $(SAMPLE)

$(MUTANTS)/installed: $(ROOT)/pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(MUTANTS)
	$(MUTANTS)/bin/python -m pip install --quiet --constraint $(LOCK) --editable '$(ROOT)[dev]' mutmut==3.8.1
	touch $@

clean:
	rm -rf $(ROOT)/.venv $(LOWEST) $(MUTANTS) $(ROOT)/mutants
