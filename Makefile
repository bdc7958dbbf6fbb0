# Every command of the project. `make env` makes .venv; the others call it.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help env demo test test-vllm check gen bench bench-serve bench-distill up teacher students clean

help: ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(VENV)/.installed ## The environment, with everything the other commands need.

$(VENV)/.installed: pyproject.toml infra/environment.sh
	@PYTHON="$(PYTHON)" infra/environment.sh "$(VENV)"
	@touch $@

demo: env ## The whole way once: distil a student from the bundled teacher, ask it through every adapter, report.
	@infra/require.sh demo
	@$(RUN) -m seodang.cli demo

up: env ## The same mesh, kept running until Ctrl-C.
	@infra/require.sh up
	@$(RUN) -m seodang.cli up

test: env ## All tests.
	@infra/require.sh test
	@$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-vllm: env ## Students in the real vLLM, and the contract with it as engine; installs it under out/bench (more than a gigabyte).
	@SEODANG_TEST_VLLM=1 $(RUN) -m pytest --timeout=4000 tests/integration/export/test_vllm.py tests/integration/teacher/test_vllm.py tests/contract/inference

check: env ## Format, lint, types, import direction, contract, stub drift, policies.
	@infra/check.sh "$(BIN)"

gen: env ## The generated stubs in libs/seodang/api, from protos/.
	@PATH="$(CURDIR)/$(BIN):$$PATH" infra/generate_stubs.sh

teacher: env ## Trains the bundled teacher again (hours on two cores; goes on where it was stopped).
	@$(BIN)/pip install --quiet --no-deps --requirement models/teacher-mini/recipe/requirements.txt
	@$(RUN) models/teacher-mini/recipe/build.py

students: env ## Distils the bundled students through the mesh (about an hour on two cores).
	@$(RUN) -m seodang.cli students

bench: env ## Benchmarks, and docs/performance.md from their results.
	@$(RUN) -m benchmarks.run

bench-serve: env ## Our engine beside its peers, which it installs (gigabytes), and where our steps spend their time.
	@$(RUN) -m benchmarks.run serving step_profile

bench-distill: env ## What distillation promises, measured: gradients, forms of the signal, loss, training, kills.
	@$(RUN) -m benchmarks.run gradients signal_forms scoring loss distillation training on_policy kills

clean: ## Removes what the commands made, the environment included.
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache
