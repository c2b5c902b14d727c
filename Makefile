# Every target does its own set-up. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PY := $(BIN)/python
# Extra words for pytest, e.g. make test ARGS="-k imaging"
ARGS ?=
# Where `make demo` leaves its pictures
DEMO_DIR ?= demo

.PHONY: help setup setup-daemon demo test check format lint types imports proto proto-check lock \
        wheelhouse install-size bench-cascade bench-priority bench-serving bench-perf-analyzer bench-scale \
        bench-case bench-xray soak performance accuracy \
        bench-releases faults-releases faults-releases-short

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup-daemon: ## system packages, .venv and what the daemon needs (no-op when current)
	@provisioning/venv.sh daemon

setup: ## the same, and what tests and static gates need
	@provisioning/venv.sh dev

demo: setup-daemon ## analyse one phantom spread and one phantom film; pictures and JSON in demo/
	@$(BIN)/appliance demo --output $(DEMO_DIR)

test: setup ## the whole test suite, static gates included
	@$(PY) -m pytest $(ARGS)

check: lint types imports proto-check ## static gates, then the tests
	@$(PY) -m pytest --ignore=tests/test_gates.py $(ARGS)

format: setup ## rewrite the sources in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup
	@$(BIN)/mypy

imports: setup
	@PYTHONPATH=.:build $(BIN)/lint-imports

proto: setup ## regenerate appliance/pb from proto/
	@$(PY) proto/generate.py

proto-check: setup
	@$(PY) proto/generate.py --check

lock: ## resolve the lock files again (needs the network)
	@requirements/lock.sh

wheelhouse: setup-daemon ## everything a box installs, as wheels in dist/wheelhouse (PLATFORM=manylinux_2_35_aarch64 for another box)
	@provisioning/wheelhouse.sh dist/wheelhouse

install-size: ## install the daemon alone, print what it takes on disk
	@provisioning/install-size.sh

bench-cascade: setup ## end to end against the bare engines, INT8 against FP32, memory, warm start
	@$(PY) -m bench.cascade $(ARGS)

bench-case: setup ## seconds per spread from the case client, and each stage's share of them
	@$(PY) -m bench.case $(ARGS)

bench-priority: setup ## an interactive request's p99 while a batch job saturates the box, against its limit
	@$(PY) -m bench.priority $(ARGS)

bench-serving: setup ## against the bare engine, Triton, PyTriton, MLServer and Ray Serve (makes their environments; needs libpython3)
	@$(PY) -m bench.serving $(ARGS)

bench-perf-analyzer: setup ## Triton's load generator against the daemon, with and without shared memory (needs libb64-0d)
	@$(PY) -m bench.perf_analyzer $(ARGS)

bench-scale: setup ## what a request costs from 1 to 64 clients
	@$(PY) -m bench.scale $(ARGS)

MINUTES ?= 60
soak: setup ## an hour of mixed load with cancelled, late and broken requests, then nothing may be left over (MINUTES=2 for less)
	@$(PY) -m bench.soak --minutes $(MINUTES) $(ARGS)

bench-xray: setup ## chest films against the bare engine and a plain FP32 server
	@$(PY) -m bench.xray $(ARGS)

performance: setup ## docs/performance.md and the README's headline ratios from bench/results
	@$(PY) -m bench.performance

accuracy: setup ## docs/accuracy.md from the real test spreads (APPLIANCE_TEST_DATA or ../shared/data)
	@$(PY) -m bench.accuracy $(ARGS)

faults-releases: setup ## power cuts, kills, full disks, bit flips and attacks against an install (about half an hour; root for real cuts)
	@$(PY) -m tests.crash.releases $(ARGS) && $(PY) -m bench.reliability

faults-releases-short: setup ## a few of each, as CI runs them
	@$(PY) -m tests.crash.releases --short

bench-releases: setup ## verify and stage 50 MB, what clients feel of a swap, what trust costs a start
	@$(PY) -m bench.releases $(ARGS)
