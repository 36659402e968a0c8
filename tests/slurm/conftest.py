"""One SLURM for all tests of this folder."""

from __future__ import annotations

import os

import pytest

from tests.slurm import cluster


@pytest.fixture(scope="session")
def slurm():
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # as many threads here as there: losses depend on it in the last bits
    cluster.up()
    yield
    cluster.down()
    os.sched_setaffinity(0, cores)
