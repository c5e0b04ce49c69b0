# memreel: `make demo` shows what it does, `make test` checks it; both set up .venv first.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv with memreel in it

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,hosted,wan]'
	@touch $@

demo: $(READY)  ## render the example scripts on the embedded model into runs/demo
	$(BIN)/memreel run examples/library.jsonl --out runs/demo --force
	$(BIN)/memreel run examples/rooftop.jsonl --out runs/demo --force
	@echo; echo "Look at:"; ls runs/demo/*/report.html runs/demo/*/video.mp4

test: $(DEV)  ## run the tests
	LANGGRAPH_STRICT_MSGPACK=true OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(DEV)  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p memreel

studio: $(DEV)  ## step through runs in LangGraph Studio, on the embedded model, without a key
	LANGSMITH_TRACING=false $(BIN)/langgraph dev --no-browser

clean:  ## remove what make and runs left behind
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .langgraph_api

.PHONY: help setup demo test lint studio clean
