# make study | evidence | report | test | lab | bench: each makes its own .venv first.
PYTHON ?= python3
# Stages at once: as many as find cores of their own when left empty; see dwt/pipeline/stages.py.
JOBS ?=

export PATH := $(CURDIR)/.venv/bin:$(PATH)
ready := .venv/.ready
# JupyterLab does not start for root, as in a container, unless told that this is meant.
as_root = $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: study evidence report test lab bench clean

study: $(ready)
	@python -m dwt.pipeline.stages $(JOBS)

# The extended grid, after the study, whose runs it reads.
evidence: study
	@python -m dwt.pipeline.stages evidence $(JOBS)

# A clone has the tables but neither executed notebooks nor, perhaps, any run: no other stage is asked.
report: $(ready)
	@dvc repro --quiet source
	@dvc repro --single-item evidence/dvc.yaml:report
	@echo "Open report/index.html in a browser."

test: $(ready)
	ruff check .
	pytest

lab: $(ready)
	jupyter lab --notebook-dir=notebooks $(as_root)

bench: $(ready)
	python benchmarks/throughput.py

# torch first: whatever build of the pinned version is at hand satisfies everything after it.
$(ready): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "Python 3.11.5 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[study,test]'
	touch $@

clean:
	rm -rf .venv build/code build/notebooks build/report report executed/*.ipynb data/smoke runs/smoke results/smoke
