"""The processes that train one run together, a GPU each, started by torchrun. In a run of one process all of this is idle.

They share the rows of every optimizer step, so that a run computes the same with any number of them. Decisions are taken
together; the first process alone writes files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from tunebook.errors import TunebookError

LONGEST_WAIT = timedelta(
    days=7
)  # for each other: the first one may have to wait until another job has trained the same run


def join(environment: Mapping[str, str]) -> None:
    """Meet the other processes that torchrun started; `environment` says how many there are.

    Raises TunebookError where there are fewer GPUs than processes. Without any GPU they compute on the CPU (gloo).
    """
    if int(environment.get("WORLD_SIZE", 1)) == 1:
        return
    from accelerate import PartialState

    local, gpus = int(environment.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    if torch.cuda.is_available() and gpus < local:
        raise TunebookError(
            f"found {gpus} GPUs for {local} processes; each needs one: set gpus, or --nproc-per-node, to {gpus}"
        )
    PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def count() -> int:
    """How many processes train this run."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def number() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    return number() == 0


def gathered(value: Any) -> list[Any]:
    """The values of all processes, in their order, known to each; all wait for the last."""
    if count() == 1:
        return [value]
    values = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def from_first(value: Any) -> Any:
    """The first process's value, known to all; theirs does not matter."""
    if count() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def part() -> None:
    """Leave the others, at the end of all."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
