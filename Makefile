# Every target needs only python3 (3.11 or newer) and make, and sets up .venv itself.

PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/demo
DATA_DIR ?= data

# Huge pages (Linux, glibc): on a CPU, XLA allocates and frees large buffers in every step.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: answer demo test lint docs clean

answer: $(VENV)/installed
	$(VENV)/bin/python -m musclemap_jax.predict --overwrite tests/data/real/pose2sim_cam01.mp4

demo: $(VENV)/installed
	$(VENV)/bin/python -m musclemap_jax.main --config=configs/transm3e.py:synthetic \
	  --config.data.data_dir=$(DATA_DIR) --workdir=$(WORKDIR)

test: lint
	$(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

lint: $(VENV)/installed_dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ty check --python $(VENV)

docs: $(VENV)/installed_docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

# Each stamp marks a finished installation; a change of setup.py installs again.
$(VENV)/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/installed_dev: setup.py $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(VENV)/installed_docs: setup.py $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
