# Everything runs from a virtual environment that the targets make themselves; only Python 3.11+ with venv and pip is needed.
PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo docs test test-lowest test-newest lint bench-env bench-generator bench-oneshot bench-remote bench-search bench-table test-browser test-cloud test-elsewhere test-hostile leaderboard mini-two-trials format clean

# One environment with all extras serves every target; it is made again when what it depends on changes.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/nb201 demo

test: .venv/installed
	$(BIN)/pytest --numprocesses 2

# The same suite on the lowest releases that pyproject.toml allows, and on the newest of this day. Both keep torch at 2.13.0:
# its lower bound is untested, since other builds are several GB.
test-lowest .venv-lowest/installed: BIN := .venv-lowest/bin
.venv-lowest/installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv --clear .venv-lowest
	$(PIP) install --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

test-lowest: .venv-lowest/installed
	$(BIN)/pytest --numprocesses 2

test-newest: BIN := .venv-newest/bin
test-newest:
	$(PYTHON) -m venv --clear .venv-newest
	$(PIP) install --upgrade torch==2.13.0 --editable '.[dev]'
	$(BIN)/pytest --numprocesses 2

# Many more rounds of what `make test` tries: flipped bytes, cut files, signals at random moments, two writers at once.
test-hostile: .venv/installed
	NB201_DAMAGE=100,20 NB201_SIGNALS=3 NB201_WRITERS=7 $(BIN)/pytest tests/hostile

# `mini` with a second trial of every cell, which would not fit into the package: hours on two quiet cores. An interrupted
# call goes on.
CELLS := 0:15625
mini-two-trials: .venv/installed
	mkdir -p mini-two-trials
	set -e; for name in gratings digits shapes backdrops; do test -e mini-two-trials/$$name.zarr || \
		$(BIN)/nb201 generate --dataset $$name --recipe mini --dedupe --first-trial 2 --jobs 2 --cells $(CELLS) \
			--out mini-two-trials/$$name.zarr; done
	$(BIN)/nb201 table join mini mini-two-trials/*.zarr --out mini-two-trials.zarr.zip

# What needs servers and clusters that the rest does not: buckets of moto, local clusters of Ray.
.venv-cloud/installed: BIN := .venv-cloud/bin
.venv-cloud/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-cloud
	$(PIP) install --constraint constraints.txt --editable '.[agents,generator,ray,remote]' 'moto[s3,server]' pytest
	touch $@

test-cloud: .venv-cloud/installed
	.venv-cloud/bin/pytest tests/tables/test_s3.py tests/integrations/test_ray.py

# The explorer's page in a headless Chromium, which must be on the path.
.venv-browser/installed: BIN := .venv-browser/bin
.venv-browser/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-browser
	$(PIP) install --constraint constraints.txt --editable '.[agents]' playwright pytest
	touch $@

test-browser: .venv-browser/installed
	.venv-browser/bin/pytest tests/explore

bench-remote: .venv-cloud/installed
	.venv-cloud/bin/python benchmarks/bench_remote.py

# Examples of libraries that hold back what the rest uses: each in an environment of its own.
test-elsewhere: .venv-tianshou/installed .venv-rllib/installed
	.venv-tianshou/bin/pytest tests/test_package.py -k tianshou_ppo
	.venv-rllib/bin/pytest tests/test_package.py -k rllib_ppo

.venv-tianshou/installed: LIBRARY := 'tianshou==2.0.1'
.venv-rllib/installed: LIBRARY := 'ray[rllib]==2.60.0'
.venv-tianshou/installed .venv-rllib/installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install $(LIBRARY) torch==2.13.0 --editable . pytest
	touch $@

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -c "import sys, nb201_env; assert not {'torch', 'zarr'} & set(sys.modules), 'heavy import'"

# The documentation site, in build/site; a warning or a broken link is an error. Neither PyTorch nor the network is needed to build it.
.venv-docs/installed: BIN := .venv-docs/bin
.venv-docs/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	$(PIP) install --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: .venv-docs/installed
	.venv-docs/bin/sphinx-build --nitpicky --fail-on-warning --keep-going --fresh-env --quiet docs build/site
	@echo build/site/index.html

bench-generator: .venv/installed
	$(BIN)/python benchmarks/bench_generator.py

bench-oneshot: .venv/installed
	$(BIN)/python benchmarks/bench_oneshot.py

leaderboard: .venv/installed
	$(BIN)/python leaderboard/check.py

bench-search: .venv/installed
	$(BIN)/python benchmarks/bench_search.py

bench-env: .venv/installed
	$(BIN)/python benchmarks/bench_env.py

bench-table: .venv/installed
	$(BIN)/python benchmarks/bench_table.py

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* build demo
