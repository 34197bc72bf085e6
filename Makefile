# Two commands on a fresh machine: `make run` and `make test`. Each sets up .venv by itself.
SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
export GOMP_SPINCOUNT := 1000

.PHONY: help setup run lab monitoring test test-slow lint sync notebooks lock bench wheel clean
help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): requirements.lock scripts/setup
	@scripts/setup

setup: $(READY) ## the Python environment

run: $(READY) ## run the pipeline on all flights, and say what came out
	@$(BIN)/model-ops run

lab: $(READY) ## JupyterLab on the index notebook
	@$(BIN)/model-ops lab

monitoring: $(READY) ## server, Prometheus and Alertmanager on this machine, until Ctrl-C (TRY=1: an incident, seen through)
	@$(BIN)/python -m model_ops.monitor.alive $(if $(TRY),--try)

test: $(READY) lint notebooks ## everything that is quick (under 5 minutes on 2 cores)
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY) ## the whole pipeline, the wheel, JupyterLab in a browser, simulations
	@$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

lint: $(READY)
	@$(BIN)/python scripts/in_sync.py
	@$(BIN)/ruff check -q model_ops tests scripts benchmarks
	@$(BIN)/lint-imports --no-cache | tail -n 12
	@$(BIN)/model-ops check

notebooks: $(READY)
	@MODEL_OPS_ROOT= $(BIN)/nbdev-test --n-workers 2

bench: $(READY) ## measure: start-up, overhead, a whole run (prints a table)
	@$(BIN)/python benchmarks/run.py

lock: ## resolve requirements.lock anew (needs uv)
	@uv pip compile --universal -q --no-header --no-annotate --python-version 3.11 --all-extras pyproject.toml -o requirements.lock

wheel: $(READY) ## dist/*.whl
	@$(BIN)/python -m build --wheel --outdir dist . >/dev/null && ls dist

clean: ## remove what can be made again; ledger, tracking and packages stay
	@rm -rf .venv dist build scratch model_ops.egg-info
