# make demo [DATA=physionet|FOLDER|ARCHIVE] [EXIT=1]   the whole job, then serve until Ctrl-C
# make test                                            the tests
.DEFAULT_GOAL := help
.PHONY: help setup demo train-sample train-full test test-slow stack test-stack bench accuracy fuzz check format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
# All state inside the checkout, nothing reports home: also for what `make` starts by itself.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_HOME := $(CURDIR)/.state/prefect
export MPLCONFIGDIR := $(CURDIR)/.state/matplotlib

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

setup: $(INSTALLED) ## make .venv and install the pinned versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "vizecg needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make setup PYTHON=python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about 0.7 GB to download, some minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[pipeline,serve,distributed,postgres,servers,dev]'
	@touch $@

demo: setup ## run the whole job and serve; DATA=physionet, a folder or an archive for real records; EXIT=1 to stop after the answer
	@$(BIN)/vizecg demo $(if $(DATA),--data "$(DATA)") $(if $(EXIT),--exit)

train-sample: setup ## recipes/sample.yaml, out of fold; DATA as for the demo
	@$(BIN)/vizecg recipe recipes/sample.yaml --data "$(or $(DATA),simulated)"

train-full: setup ## recipes/full.yaml on one GPU; DATA=physionet unless told otherwise
	@$(BIN)/vizecg recipe recipes/full.yaml --data "$(or $(DATA),physionet)"

test: setup ## the tests, at most 10 minutes on 2 cores
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not slow"

test-slow: setup ## the tests that take longer
	@$(BIN)/python -m pytest -m "slow and not stack"

stack: setup ## a team's whole platform as processes of this machine, until Ctrl-C
	@$(BIN)/vizecg stack up

test-stack: setup ## the tests that run on such a stack, servers gone for 30 s among them
	@$(BIN)/python -m pytest -n 0 -m stack --away 30

bench: setup ## how fast everything is, against others; writes benchmarks/results.json
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 VIZECG_BENCH_KEEP=1 $(BIN)/python -m pytest \
	  benchmarks -o python_files='bench_*.py' -o filterwarnings=default -q --benchmark-columns=median,min,max $(ARGS)

fuzz: setup ## kill ingest and render at sixty random moments each and run them again; damage two thousand headers; send the service 20,000 damaged files and 10,000 requests, end it a hundred times under load
	@VIZECG_TEST_EXAMPLES=wild $(BIN)/python -m pytest -n 2 --kills 60 --uploads 20000 --endings 100 --cases 10000 tests/test_kills.py tests/test_snomed.py \
	  tests/serving/test_mutated_uploads.py tests/serving/test_ending.py tests/serving/test_api_as_described.py

accuracy: setup ## show the intake 500 photographs and 1000 pictures that are no ECG, and print how it did
	@$(BIN)/python -m pytest -q -s -n 0 --pictures 1000 tests/test_intake_photos.py tests/test_intake_refusals.py

check: setup ## what CI runs before the tests: ruff, mypy, import rules, hadolint on the Dockerfiles, the compose file's schema
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint docker/*.Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose.yaml

format: setup ## put the code in shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove all state and everything made; the environment stays
	@rm -rf .state .dvc/cache .dvc/tmp data/records data/pages models reports \
	  dvc_plots data/.*.lock data/.*.part data/.*.old models/.*.lock .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@echo "Removed .state, data, models, reports and caches. The environment stays in $(VENV)."
