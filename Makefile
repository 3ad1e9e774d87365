# make quick | study | check | extended | report | readme | test | lab | bench: each makes .venv
# first if it is missing.
PYTHON ?= python3
# Stages at once; empty: one per free core, or one in all on a GPU (dwt/pipeline/stages.py).
JOBS ?=

export PATH := $(CURDIR)/.venv/bin:$(PATH)
ready := .venv/.ready
# JupyterLab refuses to run as root, as in a container, without this flag.
as_root = $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: quick study check extended report readme test lab bench clean

# A first look: one seed of four models; `make study` takes them over.
quick: $(ready)
	@python -m dwt.pipeline.quick

study: $(ready)
	@python -m dwt.pipeline.stages $(JOBS)

# Did I reproduce it? Claim by claim against the results in git.
check: $(ready)
	@python -m dwt.pipeline.check

# The study, then the runs under `extended` in params.yaml.
extended: $(ready)
	@python -m dwt.pipeline.stages extended $(JOBS)

report: $(ready)
	@python -m dwt.pipeline.report
	@echo "Open report/index.html in a browser."

# The numbers in README.md and results/README.md, from the tables in results/.
readme: $(ready)
	cog -r -P -p "from dwt.pipeline import readme" \
		--markers="<!--[[[cog ]]]--> <!--[[[end]]]-->" README.md results/README.md

test: $(ready)
	ruff check .
	ruff format --check .
	lint-imports
	mypy
	pytest

# Saving a notebook here leaves it as git has it, without outputs.
lab: $(ready)
	JUPYTER_CONFIG_PATH="$(CURDIR)/dwt/pipeline/jupyter" jupyter lab --notebook-dir=notebooks $(as_root)

bench: $(ready)
	python benchmarks/throughput.py

# torch first: any installed build of the pinned version then satisfies what depends on it.
$(ready): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "Python 3.11.5 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[study,test]'
	touch $@

clean:
	rm -rf .venv build/notebooks build/report build/smoke report executed/*.ipynb data/smoke runs/smoke results/smoke
