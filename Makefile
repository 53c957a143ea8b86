# One door for developers: `make` alone lists what there is. Everything happens inside .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-exhaustive lint format docs bench bench-battery clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## install, then see a forest meet cities it has never seen (a minute)
	$(BIN)/upstairs demo

test: $(VENV)/.test ## install, then run the tests and print the coverage
	@tests/install_chromium.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not exhaustive" --cov --cov-report=term --durations=60 --durations-min=5

test-exhaustive: $(VENV)/.test ## those that take minutes: twenty rounds of kills, all of scikit-learn's checks
	$(BIN)/python -m pytest -m exhaustive

lint: $(VENV)/.lint ## formatting, style, types, floors of the house, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.lint ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs ## the site in build/docs, with its examples run; warnings are errors, and every link leads somewhere (minutes)
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs . build/docs
	$(BIN)/python docs/check_links.py build/docs

bench: $(VENV)/.benchmark ## every benchmark's quick form, and the tables of benchmarks/README.md (20 minutes)
	$(BIN)/python benchmarks/run_all.py $(ARGS)

bench-battery: $(VENV)/.benchmark ## all public panels beside their peers (hours; ARGS=--quick: minutes)
	$(BIN)/python benchmarks/battery.py $(ARGS)

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) build dist docs/gallery docs/generated .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .coverage
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv --upgrade-deps $(VENV) # the pip that comes with Python takes twice as long

# $(VENV)/.demo, .test, .lint, .docs, .benchmark: the extra of that name is installed; again only where a version may have changed
$(VENV)/.%: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	@touch $@
