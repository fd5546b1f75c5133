# `make help` lists the targets. ARGS goes to dlrun: make imdb-lstm ARGS="--accelerator mps"
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
EXTRAS ?=
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip install --quiet
# Where a container image sets it, as many do, every command would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE
EXPERIMENTS := $(notdir $(basename $(wildcard configs/*.yaml)))

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-real test-browser test-slurm test-gpu torture check format docs docs-reference pictures dist smoke bench bench-gpu clean $(EXPERIMENTS)

help:
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | while IFS='	' read -r target text; do printf '  %-18s %s\n' "$$target" "$$text"; done
	@printf '  %-18s one experiment at its full size (real data, downloaded on first use)\n' $(EXPERIMENTS)

$(VENV)/.installed: pyproject.toml
	@echo "installing into $(VENV): some minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[offline]'
	@$(PIP) --no-deps --retries 0 --timeout 10 islp 2> $(VENV)/islp.log || \
		echo "no book tables, no photographs: \`pip install --no-deps islp\` failed, see $(VENV)/islp.log"
	$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(PIP) --editable '.[offline,parquet,excel,tensorboard,mlflow,wandb,slurm,dev,docs]'
	@touch $@

$(VENV)/.extras-%: $(VENV)/.installed
	$(PIP) --editable '.[$*]'
	@touch $@

install: $(VENV)/.installed $(EXTRAS:%=$(VENV)/.extras-%) ## create .venv with dlrun; EXTRAS=optuna,slurm adds what these need
	@echo "installed: $(BIN)/dlrun"

demo: $(VENV)/.installed ## run the whole chapter: for real what takes seconds, the rest on generated data
	$(BIN)/dlrun demo $(ARGS)

test: $(VENV)/.tools ## the tests that need no data (under 4 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not realdata and not slow and not browser and not slurm and not gpu" $(ARGS)

test-slow: $(VENV)/.tools ## the examples, plugins, a share of torture
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow $(ARGS)

test-real: $(VENV)/.tools ## the tests on the real reviews and photographs that DLRUN_TEST_DATA names
	$(BIN)/python -m pytest -m realdata $(ARGS)

test-browser: $(VENV)/.tools ## the report's page in headless Chromium, where the program chromium is
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser $(ARGS)

test-slurm: $(VENV)/.tools ## a SLURM of its own on loopback: root, Debian's slurm-wlm and munge
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slurm $(ARGS)

test-gpu: $(VENV)/.tools ## each network on a GPU with CUDA; skipped with the reason without one
	$(BIN)/python -m pytest -rs -m gpu $(ARGS)

torture: $(VENV)/.tools ## kill runs, fill the disk, cut the power: the nightly sizes (docs/explanation/reliability.md)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --torture tests/torture $(ARGS)

check: $(VENV)/.tools ## format, lint, import rules, and types on every system
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin
	$(BIN)/mypy --platform win32

format: $(VENV)/.tools ## format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.tools ## the site in build/docs, from README, docs/ and the code: open build/docs/index.html
	$(BIN)/python -m sphinx -q -E -W --keep-going -c docs -d build/doctrees . build/docs
	@echo '<meta http-equiv="refresh" content="0; url=docs/README.html">' > build/docs/index.html

docs-reference: $(VENV)/.installed ## write docs/reference: commands, config keys and the Python API, from the code
	$(BIN)/python docs/reference_pages.py

# README's pictures: the bars of speed; with ARGS=reproduction.html the chapter's page too.
pictures: $(VENV)/.tools
	$(BIN)/python docs/pictures.py $(ARGS)

dist: $(VENV)/.tools ## the wheel and the sdist (the same bytes from the same files), a bill of materials
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json $(BIN)/python

smoke: $(VENV)/.installed ## every experiment, tiny, on configs/smoke
	@for experiment in $(EXPERIMENTS); do \
		$(BIN)/dlrun $$experiment --config configs/smoke/$$experiment.yaml $(ARGS) || exit 1; \
	done

LAB := benchmarks/.venv-lab

$(LAB)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LAB)
	$(LAB)/bin/python -m pip install --quiet '.[bench]'
	@touch $@

bench: $(VENV)/.installed $(LAB)/.installed ## against the lab's own code, on the data that DLRUN_TEST_DATA names (QUICK=1: under 5 minutes)
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(ARGS)

bench-gpu: $(VENV)/.installed ## an epoch of each network on a GPU with CUDA and on the CPU, on generated data
	$(BIN)/python benchmarks/run.py --case gpu $(if $(QUICK),--quick) $(ARGS)

$(EXPERIMENTS): $(VENV)/.installed
	$(BIN)/dlrun $@ $(ARGS)

clean: ## remove the virtual environment and what the tools cached
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
