# make report            set up on the first run, then every figure and table: reports/small/index.html
# make test              lint, tests, and every notebook in the smoke profile
# make lab               JupyterLab on the notebooks
# make report PROFILE=smoke ONLY=11,30      part of a report, in another size
# make notebooks ONLY=11                    run stored notebooks in place and keep their outputs

PROFILE ?= small
ONLY ?=
SEEDS ?=
WORKERS ?= 2
PY := .venv/bin/python

.PHONY: report test lab notebooks readme lint format setup clean distclean
.DEFAULT_GOAL := report

setup:
	@bash tools/setup.sh

report: setup
	@$(PY) -m facet.execute report --profile "$(PROFILE)" --only "$(ONLY)" --seeds "$(SEEDS)"

test: setup lint
	@bash tools/test.sh $(WORKERS)

lint: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: setup
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

lab: setup
	@ANNY_CACHE_DIR="$(CURDIR)/data/cache/anny" $(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks

notebooks: setup
	@$(PY) -m facet.execute refresh --profile small --only "$(ONLY)"

# Make the tables in README.md anew from reports/small.
readme: setup
	@$(PY) -m facet.execute readme

# Forget finished runs and the smoke report; weights, the face model and downloads stay.
clean:
	rm -rf data/cache/runs reports/smoke reports/*/notebooks .pytest_cache .ruff_cache

# Back to a fresh clone, except for what is tracked.
distclean: clean
	rm -rf .venv data/cache data/raw
