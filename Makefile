# Everything a developer runs. Each target sets up .venv where it is missing, or older than pyproject.toml.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Two processes of one thread each: torch's own threads gain nothing on models this small. Each begins with one half of
# the files, so that what the tests of a file share is made once, and takes from the other when it has done its own.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
# Python may keep what it has compiled: the tests are compiled once, not in every process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-slow test-all lint format bench clean

help:
	@echo "make demo      recognise a real video with real weights"
	@echo "make test      the quick tests (four minutes)"
	@echo "make test-slow the others"
	@echo "make test-all  all tests"
	@echo "make lint      ruff and mypy"
	@echo "make format    let ruff rewrite"
	@echo "make bench     the benchmarks"
	@echo "make clean     remove .venv and everything built"

demo: $(READY)
	$(BIN)/pv-sparse recognize "$$($(BIN)/python benchmarks/sample_video.py bikes.mp4)"

test: $(READY)
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(READY)
	$(PYTEST) -m "slow or gpu"

test-all: $(READY)
	$(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/trn_head.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/online.py
	$(BIN)/python benchmarks/selection.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis

# A .venv whose interpreter has gone, or whose folder was moved, is made anew.
$(READY): pyproject.toml
	$(BIN)/python -c "" 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,demo]"
	touch $@
