"""The steps of a run: how many, of which rows, and when to validate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tunebook.errors import TunebookError
from tunebook.finetuning import processes


@dataclass(frozen=True)
class Schedule:
    """Steps of a run. `epoch`: optimizer steps an epoch; `total`: in all; `evals`: those after which to validate."""

    epoch: int
    total: int
    evals: frozenset[int]


def rows_of_a_step(run: dict[str, Any]) -> int:
    """The effective batch: rows of an optimizer step, however they are shared out."""
    return run["training"]["per_device_train_batch_size"] * run["training"]["gradient_accumulation_steps"]


def largest_micro_batch(run: dict[str, Any], fits: float = math.inf) -> int:
    """Rows at a time in each process: as configured, or the most below it that make up the process's share of a step.

    `fits`: how many fit into memory, where that is known. Raises TunebookError where the processes cannot have equal shares.
    """
    share, rest = divmod(rows_of_a_step(run), processes.count())
    if rest:
        raise TunebookError(
            f"found {processes.count()} processes for a step of {rows_of_a_step(run)} rows; their number must divide it: "
            "change gpus (or --nproc-per-node), per_device_train_batch_size or gradient_accumulation_steps"
        )
    most = min(run["training"]["per_device_train_batch_size"], share, fits)
    return next(size for size in range(most, 0, -1) if share % size == 0)


def schedule_of(rows: int, run: dict[str, Any]) -> Schedule:
    """The steps of a run over so many training rows; validations come several times an epoch and at its end."""
    training = run["training"]
    epoch = math.ceil(rows / rows_of_a_step(run))
    total = training["max_steps"] if training["max_steps"] > 0 else math.ceil(epoch * training["num_train_epochs"])
    evals = training["evals_per_epoch"]
    steps = {math.ceil(number * epoch / evals) for number in range(1, math.ceil(total / epoch * evals) + 1)}
    return Schedule(epoch=epoch, total=total, evals=frozenset(step for step in steps if step <= total))
