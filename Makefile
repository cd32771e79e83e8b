# Two commands do all: `make demo` and `make test`. Every target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
RUN := $(BIN)/selective-autonomy
export PATH := $(BIN):$(PATH)
# What has been measured anew stands in the documents at once: `make test` holds them to the evidence files.
TABLES := $(RUN) readme
# A thread that spins while it waits makes torch 5-20 times slower as soon as anything else runs.
export OMP_WAIT_POLICY := PASSIVE
# The corpora: give STAR=<folder> / ABCD=<folder>, or they are fetched from their public homes.
export STAR ABCD

.PHONY: help setup demo star abcd bench-policy bench-mix bench-certify bench-critics bench-golive bench-noise up test check format schemas readme clean
.DEFAULT_GOAL := help

help: ## what there is to run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## virtual environment with CPU torch and pinned packages

# uv installs the set in about a minute where pip takes three. A local wheel folder (PIP_FIND_LINKS) is used
# where there is one; else uv picks the CPU build of torch by itself.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV): a minute or two, once"
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), f"Python 3.11 or newer is needed, this is {sys.version}; set PYTHON=..."'
	@ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || (apt-get update -qq && apt-get install -y -qq libgomp1) \
	  || echo "libgomp.so.1 was not found: install the package libgomp1 if the next steps fail"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check 'uv>=0.8'
	@if [ -n "$${PIP_FIND_LINKS:-}" ]; then export UV_FIND_LINKS="$$PIP_FIND_LINKS"; else export UV_TORCH_BACKEND=cpu; fi; \
	  $(BIN)/uv pip install -q -p $(VENV) --compile-bytecode -c constraints.txt -e '.[test]'
	@touch $@

demo: setup ## the whole loop on the embedded desk, one table at the end (under 10 minutes)
	@$(RUN) demo
	@$(TABLES)

star: setup ## the same loop on real operators' traces (STAR=<folder>, or fetched)
	@$(RUN) corpus star
	@$(TABLES)

abcd: setup ## the same loop on the second corpus (ABCD=<folder>, or fetched)
	@$(RUN) corpus abcd
	@$(TABLES)

bench-policy: setup ## speed of training and of a decision, as ratios of one run (STAR=<folder>, or fetched)
	@$(RUN) bench policy

up: setup ## Dagster UI, MLflow UI and the service, for looking around; Ctrl-C stops them
	@$(RUN) up

bench-mix: setup ## corrections back into training, mixed with logs and as preferences, on STAR (about an hour)
	@$(RUN) bench mix

bench-certify: star ## threshold rules, ours and others', on the same draws of a simulated critic and of STAR (some minutes)
	@$(RUN) bench certify
	@$(TABLES)

bench-critics: star demo ## every kind of critic and calibration on the same feedback, by folds of fit (about half an hour)
	@$(RUN) bench critics star --loss tool
	@$(RUN) bench critics broadband

bench-golive: setup ## after go-live: daily recertification from audits, forecasts of time-to-autonomy (STAR's, too, if made; some minutes)
	@$(RUN) bench golive
	@$(TABLES)

bench-noise: star ## noisy and biased feedback on purpose: true risk with and without the noise model (about an hour)
	@$(RUN) bench noise
	@$(TABLES)

test: check ## everything: checks, then all tests
	@$(BIN)/pytest

check: setup ## lint, format, types of the domain, import contracts, definitions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo
	@$(RUN) pipeline validate

format: setup ## lay the code out
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schemas: setup ## write docs/schemas from the code
	@$(RUN) traces schemas

readme: setup ## write the README's tables from docs/benchmarks
	@$(RUN) readme

clean: ## forget all that was made (keeps fetched corpora)
	rm -rf .state data/canonical data/splits .dvc/cache .dvc/tmp
