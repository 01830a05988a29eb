# Earthloom: each target sets up what it needs, from a clean clone.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# A local server that speaks like S3, in an environment of its own: it needs older packages.
S3 := .venv/s3

.PHONY: venv demo test lint types docs check lock clean

venv: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Earthloom needs Python 3.11 or newer, not " + sys.version)'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(STAMP)

$(S3)/.installed: $(STAMP) requirements/s3.txt
	$(PYTHON) -m venv $(S3)
	$(S3)/bin/python -m pip install --quiet --require-hashes -r requirements/s3.txt
	touch $@

# The main job, end to end, on the built-in simulated archive.
demo: $(STAMP)
	$(BIN)/earthloom demo demo

# One thread: two that wait for each other on a busy machine take many times as long.
test: $(S3)/.installed
	OMP_NUM_THREADS=1 PATH="$$PATH:$(CURDIR)/$(S3)/bin" $(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --quiet

check: lint types docs

# Pins every dependency with its hashes; needs uv (pip install uv).
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements/dev.txt

clean:
	rm -rf .venv demo site .mypy_cache .ruff_cache .pytest_cache .hypothesis
