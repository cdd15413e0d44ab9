# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
RESULTS := results/demo

BIN := .venv/bin
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

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

demo: $(INSTALLED) ## the main job: compare schedulers, bandits and trained models on unseen prompts
	$(BIN)/edgecloud compare --agents fcfs,round-robin,c2ucb,cn-ducb,ppo,sjf-oracle --seeds 3 \
		--load 0.95 --set split=test --output $(RESULTS)

test: $(INSTALLED) ## run the tests
	$(BIN)/pytest --numprocesses auto

lint: $(INSTALLED) ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED) ## check types
	$(BIN)/mypy

docs: $(INSTALLED) ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(INSTALLED) ## print the speed table
	$(BIN)/python -m tests.benchmarks

clean: ## remove .venv, caches and results
	rm -rf .venv build results *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
