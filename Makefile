# `make report`: from an empty clone to the report. `make test`: install and pass the tests. Needs Python >= 3.11 with venv.
PYTHON ?= python3
VENV := .venv
# The clone's path may hold spaces, quotes and dollars: recipes use relative paths, and no script of the environment, for
# such scripts name their Python in their first line.
PY := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
CONFIG ?= config/config.yaml

REPORT ?= results/miniature/report.html

.PHONY: help install report test test-all test-sampled test-slow test-paper test-browser test-slurm test-faults test-architectures faults-table look bench check format clean

help:
	@echo "make report    install what is pinned and make the report of the miniature study (25 minutes on two cores of a 2.1 GHz Xeon)"
	@echo "make test      install and run the tests (about 8 minutes)"
	@echo "make test-sampled  one short form of each longer test (what .ci/run runs of them)"
	@echo "make test-all      every test, the miniature study and its pictures (some two hours)"
	@echo "make test-paper    the paper study on tiny models, from a hub on loopback"
	@echo "make test-slurm    a disturbed study on a real SLURM (root on Debian; installs its packages)"
	@echo "make test-faults   full disks, Ctrl-C, clocks that jump ..., twenty kills -9 of a study and ten of a search; some 25 minutes"
	@echo "make test-architectures    every architecture with every method: trains, quantizes, reloads, pads, answers; some ten minutes"
	@echo "make faults-table  write docs/faults.md from what the two above told"
	@echo "make test-slow, make test-browser    what takes longer, or needs Debian's chromium"
	@echo "make look      pictures of the report at four widths, light and dark, of a curve, and a PDF, into screenshots/"
	@echo "make bench     time training beside TRL and a bare loop; writes docs/performance.md (about two hours on 2 cores)"
	@echo "make check     linters, and that generated files are in step"
	@echo "make install   only install, into $(VENV)"
	@echo "make format    format code and rules"
	@echo "make clean     delete the environment; results stay"

# The lock is given as constraints: on a machine with a GPU torch brings CUDA packages that a lock made without one lacks.
$(VENV)/installed: envs/requirements.txt envs/lock.txt
	$(PYTHON) -c 'import sys; sys.exit("Tunebook needs Python 3.11 or newer; found %s. Try: make PYTHON=python3.11" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r envs/requirements.txt -c envs/lock.txt
	$(PY) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "tunebook.pth").write_text(str(pathlib.Path("workflow").resolve()) + "\n")'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed envs/requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r envs/requirements-dev.txt -c envs/lock.txt
	touch $@

install: $(VENV)/installed

report: install
	$(PY) -m tunebook check '$(CONFIG)' > /dev/null # Snakemake reads a config that is not UTF-8 with a traceback
	$(PY) -m snakemake --cores 1 --resources gpu=1 --configfile '$(CONFIG)'

test: $(VENV)/installed-dev
	$(PY) -m pytest -n 2

test-sampled: $(VENV)/installed-dev
	$(PY) -m pytest -m sampled --durations=0

test-all: check test test-slow test-paper report test-browser test-faults test-slurm look
	$(PY) tests/miniature.py

test-slow: $(VENV)/installed-dev
	$(PY) -m pytest -m slow

test-paper: $(VENV)/installed-dev
	$(PY) -m pytest -m paper

test-slurm: $(VENV)/installed-dev
	$(PY) -m pytest -m slurm tests/slurm --junitxml=.faults/slurm.xml

FAULTS := tests/faults tests/test_storage.py tests/test_verify.py tests/test_edges.py tests/test_fuzz.py tests/test_resume.py tests/test_offline.py tests/test_hub.py tests/test_hub_cache.py tests/test_bad_data.py
test-faults: $(VENV)/installed-dev
	$(PY) -m pytest -m "not slow" $(FAULTS) --junitxml=.faults/faults.xml
	$(PY) tests/faults/kill_loop.py --record .faults/kills.json
	$(PY) tests/faults/kill_loop.py --search --kills 10
	$(PY) tests/faults/every_call.py --pairs 50 --record .faults/calls.json

test-architectures: $(VENV)/installed-dev
	$(PY) -m pytest -n 2 -m "not slow" tests/test_architectures.py

faults-table: $(VENV)/installed-dev
	$(PY) tests/faults/table.py

test-browser: $(VENV)/installed-dev
	$(PY) -m pytest -m browser

look: $(VENV)/installed-dev
	$(PY) tests/browser/look.py $(REPORT) screenshots

$(VENV)-bench/installed: envs/requirements-bench.txt envs/lock.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check -r envs/requirements-bench.txt -c envs/lock.txt
	touch $@

bench: $(VENV)/installed $(VENV)-bench/installed
	$(PY) tests/benchmarks/engine.py --peers $(VENV)-bench/bin/python

check: $(VENV)/installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m snakefmt --check Snakefile workflow
	$(PY) -m snakemake --lint
	$(PY) -m tunebook check config/config.yaml > /dev/null
	$(PY) -m tunebook check config/paper.yaml > /dev/null
	$(PY) -m tunebook check config/comparison.yaml > /dev/null

format: $(VENV)/installed-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m snakefmt Snakefile workflow

clean:
	rm -rf $(VENV) $(VENV)-bench
