# What people type. Everything real is in `python -m bench`; this file only finds Python, makes
# .venv and passes on the choices made on the command line: make bench BACKEND=torch SIZE=tiny

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv bench test check envs lock doctor reference perf fix fairness readme compare \
        gpu-check serve history calibrate night night-report score report snapshot docs
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
STAMP := $(VENV)/harness.lock
PY := $(VENV)/bin/python

# Choices that `bench run` understands. Only the command line counts: a DEVICE or an OUT that
# happens to be exported in the shell must not change what is measured or where it is written.
CHOICES := BACKEND DEVICE WORKLOAD CAPABILITY SIZE PRECISION MODE TRACK FORMAT COMPILE BATCH REPEATS THREADS \
           WORLD_SIZE TIMEOUT MEMORY_LIMIT CLUSTER OUT RESUME SCHEDULE SEED PRECISION_TARGET \
           MAX_MINUTES NODES NODE_RANK RENDEZVOUS SPEC TORCH_MODULE
# What `bench gpu-check` understands of these, and its own.
KIT := PART DEVICE BACKEND WORKLOAD SIZE OUT MINUTES TIMEOUT
SWITCHES := QUALITY STRICT ALLOW_BUSY FIND_MAX_BATCH VERBOSE
chosen = $(if $(filter command,$(firstword $(origin $1))),$($1))
flag = --$(subst _,-,$(shell echo $1 | tr A-Z a-z))
backends = $(or $(call chosen,BACKEND),torch,jax,onnxruntime)
options = $(strip $(foreach name,$1,$(if $(call chosen,$(name)),$(call flag,$(name)) '$(call chosen,$(name))')))
switches = $(strip $(foreach name,$1,$(if $(call chosen,$(name)),$(call flag,$(name)))))

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "choices of make bench, by commas or 'all' ($(SWITCHES) are switched on by 1):"
	@echo "  $(CHOICES) $(SWITCHES)" | fmt -w 80
	@echo "choices of make gpu-check (docs/accelerators.md): $(KIT)" | fmt -w 80

venv: $(STAMP)  ## .venv, the harness's own environment, and nothing else

# The stamp is a copy of the lock, so that a checkout that only touches the file rebuilds nothing.
# pip installs uv and what bench.envs imports (a test knows it too), uv the rest:
# on two busy cores 20 s, where pip alone took 145.
# A .pth line puts the project on the path: unlike an editable install it needs no build backend
# and no network, and as it is relative the checkout can be moved.
$(STAMP): locks/harness.txt
	@if cmp -s $< $@ && $(PY) -c ''; then touch $@; exit 0; fi; \
	for python in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "no Python >= 3.11 on PATH: install one, or make venv PYTHON=/path/to/python" >&2; \
	    exit 2; \
	fi; \
	echo "making $(VENV) with $$($$found --version)"; \
	if ! $$found -m venv --clear $(VENV); then \
	    echo "$$found cannot make environments: install its venv module (python3.11-venv)" >&2; \
	    exit 2; \
	fi; \
	awk '/^[^ #]/ { on = /^(numpy|packaging|uv)==/ } on' $< > $(VENV)/first.txt; \
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --only-binary :all: -r $(VENV)/first.txt; \
	$(PY) -m bench.envs.harness; \
	site=$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo ../../../.. > "$$site/framework_pilot.pth"; \
	printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m bench "$$@"\n' > $(VENV)/bin/bench; \
	chmod +x $(VENV)/bin/bench; \
	cp $< $@

bench: $(STAMP)  ## run the pilot: BACKEND=torch,onnxruntime SIZE=tiny ...
	@$(PY) -m bench run --report $(call options,$(CHOICES)) $(call switches,$(SWITCHES))

serve: $(STAMP)  ## a model file of yours under load: ONNX=model.onnx SLO_MS=20
	@$(PY) -m bench run --workload infer \
	    --onnx '$(or $(call chosen,ONNX),$(error make serve ONNX=model.onnx))' \
	    $(call options,BACKEND DEVICE PRECISION BATCH DATA DIM RATE SLO_MS SLO_PERCENTILE \
	    LOAD_SECONDS REPEATS THREADS OUT)

gpu-check: $(STAMP)  ## is what is said of a GPU true here: PART=1..4 DEVICE=cuda OUT=...
	@$(PY) -m bench gpu-check $(call options,$(KIT)) $(call switches,ALLOW_BUSY)

envs: $(STAMP)  ## build the backends' environments: BACKEND=... DEVICE=...
	@$(PY) -m bench env $(backends) $(call options,DEVICE)

# A backend's first contract test builds its environment, while other tests go on: most of that is
# waiting for the network.
test: $(STAMP)  ## the tests; BACKEND=... or all selects the backends of the contract tests
	@$(PY) -m tests.browser.chromium
	@$(PY) -m tests.slurm.cluster
	BENCH_BACKENDS='$(backends)' $(PY) -m pytest -n 3 --dist loadscope --no-loadscope-reorder --durations 30 \
	    tests/slurm tests/contract tests/cli tests/faults tests/browser tests/docs tests/parity \
	    tests/unit

check: $(STAMP)  ## lint, formatting, types
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

compare: $(STAMP)  ## what changed between two results: A=base.csv B=new.csv
	@$(PY) -m bench compare '$(or $(call chosen,A),$(error make compare A=base.csv B=new.csv))' \
	    '$(call chosen,B)' $(call options,FORMAT METRIC MARGIN FAIL_ON OUT)

score: $(STAMP)  ## the documents' scores, corrected by results: A=results PROFILE=smb
	@$(PY) -m bench score $(if $(call chosen,A),'$(call chosen,A)') \
	    $(call options,SPEC PROFILE WEIGHTS SET TASK TRACK TRUST_PRIOR PRICES FORMAT)

report: $(STAMP)  ## one HTML page of results: A=results OUT=report.html
	@$(PY) -m bench report '$(or $(call chosen,A),results)' \
	    $(call options,OUT SPEC PROFILE WEIGHTS TASK TRACK TRUST_PRIOR PRICES FORMAT PLOTS)

snapshot: $(STAMP)  ## the day's releases and sizes, for the score
	@$(PY) -m bench snapshot $(call options,BACKEND)

history: $(STAMP)  ## every cell's series and its changes: A=folder
	@$(PY) -m bench history '$(or $(call chosen,A),results)' $(call options,METRIC FAIL_ON)

calibrate: $(STAMP)  ## what is found and what is imagined on this machine: BACKEND=torch
	@$(PY) -m bench calibrate $(call options,$(filter-out RESUME PRECISION_TARGET \
	    MAX_MINUTES NODES NODE_RANK RENDEZVOUS,$(CHOICES)))

night: $(STAMP)  ## one more night: BACKEND=... DEVICE=...
	@mkdir -p nights
	@$(PY) -m bench run $(call options,$(filter-out OUT RESUME CLUSTER,$(CHOICES))) \
	    --out "nights/$$(date -u +%Y%m%dT%H%M%SZ).csv"

night-report: $(STAMP)  ## nights/report.md, and nights/issue.md where something is worse
	@$(PY) -m bench night nights

fairness: $(STAMP)  ## each model against its framework's own public one: BACKEND=...
	@$(PY) -m bench fairness $(call options,BACKEND TRACK OUT)

docs: $(STAMP)  ## site/: the pages, with a reference made from the code
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

readme: $(STAMP)  ## the README's tables, made from the committed rows
	$(PY) -m bench.readme

fix: $(STAMP)  ## mend what ruff can mend by itself
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

lock: $(STAMP)  ## compile every lock anew (newer versions, new hashes)
	$(PY) -m bench.envs.locks

doctor: $(STAMP)  ## what is there, what is missing and how to mend it
	@$(PY) -m bench doctor

reference: $(STAMP)  ## make the committed reference traces anew (float64 torch)
	python=$$($(PY) -m bench.envs torch cpu); $(PY) -m workloads.reference --torch $$python

perf: $(STAMP)  ## the harness's own benchmarks
	$(PY) -m pytest tests/perf --benchmark-only -q -s
