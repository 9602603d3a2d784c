# make grid: train the grid and print what it says. make test: run the suite. make slow: its slow tests. make long: more norms in the engine's. make lint: style and types.
# make bench: measure speed against plain loops and other tools; about 40 minutes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: grid test slow long lint bench clean

grid: $(VENV)/installed
	$(BIN)/bnexp run grid
	$(BIN)/bnexp report

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --dist loadfile

long: $(VENV)/installed-test
	$(BIN)/python -m pytest -m long -n auto --dist loadfile

slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/speed.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
