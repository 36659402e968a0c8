"""Memory that a training job asks a scheduler for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tunebook.cost.memory import RUNTIME_BYTES, estimate
from tunebook.cost.study import architecture_of
from tunebook.errors import TunebookError

SPARE = 1.25  # the lowest estimate was 17 % below the measured peak, docs/estimate.md
SNAKEMAKE_BYTES = 330_000_000  # of the Snakemake inside of each job
CUDA_BYTES = (
    3_000_000_000  # of a process that computes on a GPU: CUDA's libraries and what they pin; generous, not measured
)
UNKNOWN_MB = 24_000  # where a model's architecture is not known before it is fetched


def memory_mb(run: dict[str, Any], models: Path, *, gpus: int) -> int:
    """Megabytes of a node's memory for training a run (run.json); `gpus`: how many it is trained on, 0: the CPU.

    With GPUs each process reads the weights as they are stored and computes elsewhere.
    """
    try:
        found = estimate(run, architecture_of(run["model"], models), gpu=False)
    except (TunebookError, KeyError):  # a family or a key that the estimate does not know
        return UNKNOWN_MB
    on_gpus = gpus * (RUNTIME_BYTES["cpu"] + CUDA_BYTES + found.stored_bytes)
    return math.ceil((SPARE * (on_gpus or found.peak_bytes) + SNAKEMAKE_BYTES) / 1e6)
