"""For all tests: each of pytest-xdist's workers has a core of its own, and so have the stages that it starts.

Stages compute with as many threads as they have cores; threads of several workers on the same cores would wait for each other.
"""

from __future__ import annotations

import os

worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if worker and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
