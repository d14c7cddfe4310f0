# Everything one does with a checkout of penstock. `make` alone lists it.
#
# PYTHON=... chooses the interpreter (3.11 or later); one that is named gets environments of its own (.venv-3.13).
# ARGS=... goes on to the program behind a target: make unit ARGS='-k timers', make bench ARGS=--quick.

SHELL := bash
.DEFAULT_GOAL := help

ifdef PYTHON
SUFFIX := $(shell $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) and print("-%d.%d" % sys.version_info[:2])')
ifeq ($(SUFFIX),)
$(error penstock needs Python 3.11 or later; $(PYTHON) is not)
endif
endif
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(or $(shell python3 -c '$(NEW_ENOUGH)' 2>/dev/null && echo python3),$(shell .ci/pythons | tail -n 1),\
               $(error penstock needs Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3))
# Measured on the Python most people serve with, where it is there.
BENCH_PYTHON = $(if $(SUFFIX),$(PYTHON),$(or $(shell .ci/pythons 3.13),$(PYTHON)))

VENV := .venv$(SUFFIX)
BENCH_VENV := .venv-bench$(SUFFIX)
INTEROP_VENV := .venv-interop$(SUFFIX)
CHECKOUT := PYTHONPATH=$(CURDIR)/reactor:$(CURDIR)/server
WITH_TESTS := $(CHECKOUT):$(CURDIR)/tests

# $(call environment,folder,python,list,what pip installs): kept as long as the list reads the same.
environment = @cmp -s $(3) $(1)/$(notdir $(3)) || { \
    echo "making $(1)" && { test -x $(1)/bin/python || $(2) -m venv $(1); } && \
    $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(4) && cp $(3) $(1)/; }

.PHONY: help
help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

.PHONY: run
run: ## serve the welcome page at http://127.0.0.1:8000; needs nothing installed
	@$(CHECKOUT) $(PYTHON) -m penstock penstock.welcome:app $(ARGS)

.PHONY: test
test: types unit ## types, then all tests with branch coverage

.PHONY: types
types: dev ## mypy --strict over everything
	$(VENV)/bin/python -m mypy

.PHONY: unit
unit: dev ## all tests with branch coverage, without the types
	@$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest $(ARGS)
	@$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --show-missing --skip-covered

.PHONY: mirror
mirror: dev ## each module's coverage from its own test file alone
	@$(WITH_TESTS) $(VENV)/bin/python -m support.mirror

.PHONY: interop
interop: ## real frameworks and clients, run as their users run them
	$(call environment,$(INTEROP_VENV),$(PYTHON),tests/interop/requirements.txt,-r tests/interop/requirements.txt)
	$(INTEROP_VENV)/bin/python -m pytest tests/interop $(ARGS)

.PHONY: test-windows
test-windows: dev ## supervisor, reload, signals and event loop on CPython for Windows, under Wine
	@$(WITH_TESTS) $(VENV)/bin/python -m windows $(ARGS)

.PHONY: bench
bench: bench-venv ## penstock beside other servers: CPU per request, requests per second, memory
	@$(WITH_TESTS) $(BENCH_VENV)/bin/python -m bench $(ARGS)

.PHONY: bench-reload
bench-reload: bench-venv ## reload, shutdown, restart and slow clients beside other servers; takes a quarter of an hour
	@$(WITH_TESTS) $(BENCH_VENV)/bin/python -m bench.lives $(ARGS)

.PHONY: bench-loop
bench-loop: bench-venv ## the event loop beside asyncio's own and uvloop
	@$(WITH_TESTS) $(BENCH_VENV)/bin/python tests/bench/loop.py $(ARGS)

.PHONY: bench-strict
bench-strict: bench-venv ## the corpus of raw requests on penstock and on other servers
	@$(WITH_TESTS) $(BENCH_VENV)/bin/python -m bench.strict $(ARGS)

.PHONY: bench-parse
bench-parse: bench-venv ## reading a browser's request head, beside httptools and h11
	@$(WITH_TESTS) $(BENCH_VENV)/bin/python tests/bench/parse.py $(ARGS)

.PHONY: soak
soak: ## a normal load beside thousands of clients that drip or stop reading; needs wrk, takes a minute
	@$(BENCH_PYTHON) tests/soak.py $(ARGS)

.PHONY: settings
settings: ## write the tables of docs/settings.md from the options there are
	@$(WITH_TESTS) $(PYTHON) -m support.settings_page

.PHONY: soak-reload
soak-reload: ## reloads, restarts, recycling and killed workers under a load that must not notice; takes minutes
	@$(BENCH_PYTHON) tests/soak_reload.py $(ARGS)

.PHONY: fuzz
fuzz: bench-venv ## spoilt requests and frames to the codecs and to a live server, with h11 as second opinion
	$(BENCH_VENV)/bin/python tests/fuzz.py --seconds 30 $(ARGS)
	$(BENCH_VENV)/bin/python tests/fuzz.py --seconds 30 --live $(ARGS)
	$(BENCH_VENV)/bin/python tests/fuzz.py --seconds 30 --websocket $(ARGS)
	$(BENCH_VENV)/bin/python tests/fuzz.py --seconds 30 --websocket --live $(ARGS)

.PHONY: clean
clean: ## remove environments, caches and what builds leave behind
	rm -rf .venv* .windows build dist htmlcov .coverage* .mypy_cache .pytest_cache reactor/*.egg-info server/*.egg-info *.egg-info
	find reactor server tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: dev
dev:
	$(call environment,$(VENV),$(PYTHON),pyproject.toml,--editable '.[dev]')

.PHONY: bench-venv
bench-venv:
	$(call environment,$(BENCH_VENV),$(BENCH_PYTHON),tests/bench/requirements.txt,-r tests/bench/requirements.txt)
