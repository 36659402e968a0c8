"""When memory runs out: what says so, and how the work goes on with fewer rows at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tunebook.errors import TunebookError

ONE_ROW_IS_TOO_MUCH = "out of memory with one row at a time; shorten max_length, or quantize the model"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out. A GPU's has a type of its own; a CPU's is a RuntimeError with such words."""
    from accelerate.utils.memory import should_reduce_batch_size  # only where something went wrong

    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def free() -> None:
    """Give back what nobody refers to any more. Call it outside of `except`: an error holds all that its frames hold."""
    gc.collect()
    torch.cuda.empty_cache()


def smaller_divisor(rows: int) -> int:
    """The largest number up to half of `rows` that divides it: accumulated, such micro-batches make the same batch.

    Raises TunebookError where there is none: one row is too much already.
    """
    found = next((size for size in range(rows // 2, 0, -1) if rows % size == 0), None)
    if found is None:
        raise TunebookError(ONE_ROW_IS_TOO_MUCH)
    return found


def in_batches(
    order: list[int], batch_size: int, compute: Callable[[list[int]], Any]
) -> Iterator[tuple[list[int], Any]]:
    """(indices, what `compute` makes of them) for `order` in batches; one that does not fit is halved, as are those after it.

    Raises TunebookError where one row at a time does not fit.
    """
    start = 0
    while start < len(order):
        indices = order[start : start + batch_size]
        try:
            result = compute(indices)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            yield indices, result
            start += len(indices)
            continue
        free()
        batch_size = len(indices) // 2
        if not batch_size:
            raise TunebookError(ONE_ROW_IS_TOO_MUCH)
        print(f"out of memory with {len(indices)} rows at a time: going on with {batch_size}", flush=True)
