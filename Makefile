# `make report`: from an empty clone to the report. `make test`: install and pass the tests. Needs Python >= 3.11 with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
CONFIG ?= config/config.yaml

REPORT ?= results/miniature/report.html

.PHONY: help install report test test-slow test-paper test-browser test-slurm test-faults faults-table look check format clean

help:
	@echo "make report    install what is pinned and make the report of the miniature study (about 20 minutes on 2 cores)"
	@echo "make test      install and run the tests (about 4 minutes)"
	@echo "make test-paper    the paper study on tiny models, from a hub on loopback"
	@echo "make test-slurm    a disturbed study on a real SLURM (root on Debian; installs its packages)"
	@echo "make test-faults   full disks, Ctrl-C, clocks that jump ..., and twenty kills -9 of a study; some 15 minutes"
	@echo "make faults-table  write docs/faults.md from what the two above told"
	@echo "make test-slow, make test-browser    what takes longer, or needs Debian's chromium"
	@echo "make look      pictures of the report at four widths, light and dark, of a curve, and a PDF, into screenshots/"
	@echo "make check     linters, and that generated files are in step"
	@echo "make install   only install, into $(VENV)"
	@echo "make format    format code and rules"
	@echo "make clean     delete the environment; results stay"

# The lock is given as constraints: on a machine with a GPU torch brings CUDA packages that a lock made without one lacks.
$(VENV)/installed: envs/requirements.txt envs/lock.txt
	$(PYTHON) -c 'import sys; sys.exit("Tunebook needs Python 3.11 or newer; found %s. Try: make PYTHON=python3.11" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.txt -c envs/lock.txt
	echo $(CURDIR)/workflow > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tunebook.pth
	touch $@

$(VENV)/installed-dev: $(VENV)/installed envs/requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements-dev.txt -c envs/lock.txt
	touch $@

install: $(VENV)/installed

report: install
	python -m tunebook check $(CONFIG) > /dev/null # Snakemake reads a config that is not UTF-8 with a traceback
	snakemake --cores 1 --resources gpu=1 --configfile $(CONFIG)

test: $(VENV)/installed-dev
	python -m pytest -n 2

test-slow: $(VENV)/installed-dev
	python -m pytest -m slow

test-paper: $(VENV)/installed-dev
	python -m pytest -m paper

test-slurm: $(VENV)/installed-dev
	python -m pytest -m slurm tests/slurm --junitxml=.faults/slurm.xml

FAULTS := tests/faults tests/test_storage.py tests/test_verify.py tests/test_edges.py tests/test_fuzz.py tests/test_resume.py tests/test_offline.py tests/test_hub.py tests/test_hub_cache.py tests/test_bad_data.py
test-faults: $(VENV)/installed-dev
	python -m pytest -m "not slow" $(FAULTS) --junitxml=.faults/faults.xml
	python tests/faults/kill_loop.py --record .faults/kills.json
	python tests/faults/every_call.py --pairs 50 --record .faults/calls.json

faults-table: $(VENV)/installed-dev
	python tests/faults/table.py

test-browser: $(VENV)/installed-dev
	python -m pytest -m browser

look: $(VENV)/installed-dev
	python tests/browser/look.py $(REPORT) screenshots

check: $(VENV)/installed-dev
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	python -m tunebook check config/config.yaml > /dev/null
	python -m tunebook check config/paper.yaml > /dev/null

format: $(VENV)/installed-dev
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

clean:
	rm -rf $(VENV)
