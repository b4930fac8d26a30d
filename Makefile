# Everything runs from a virtual environment that the targets make themselves; only Python 3.11+ with venv and pip is needed.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench-env bench-generator bench-table format clean

# One environment with all extras serves every target; it is made again when what it depends on changes.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/nb201 demo

test: .venv/installed
	$(BIN)/pytest --numprocesses 2

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -c "import sys, nb201_env; assert not {'torch', 'zarr'} & set(sys.modules), 'heavy import'"

bench-generator: .venv/installed
	$(BIN)/python benchmarks/bench_generator.py

bench-env: .venv/installed
	$(BIN)/python benchmarks/bench_env.py

bench-table: .venv/installed
	$(BIN)/python benchmarks/bench_table.py

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo
