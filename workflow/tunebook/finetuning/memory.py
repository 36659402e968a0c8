"""Memory: how freed memory goes back to the system; what says that none is left, and how the work goes on with fewer rows."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tunebook.errors import TunebookError

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
ONE_ROW_IS_TOO_MUCH = "out of memory with one row at a time; shorten max_length, or quantize the model"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out. A GPU's has a type of its own; a CPU's is a RuntimeError with such words."""
    from accelerate.utils.memory import should_reduce_batch_size  # only where something went wrong

    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def free() -> None:
    """Give back what nobody refers to any more. Call it outside of `except`: an error holds all that its frames hold."""
    gc.collect()
    torch.cuda.empty_cache()


def return_freed_memory() -> None:
    """Let the C library give the memory of every freed tensor of a megabyte and more back at once.

    glibc raises that limit by itself to 32 MB, and then keeps what training frees in a heap that gaps make grow from step
    to step: SmolLM2-135M with LoRA came to 4.8 GB after three steps and rose on, against 3.3 GB that stay; for that,
    steps take about a tenth longer on a CPU. See mallopt(3). Nothing to do where the C library has no such limit.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def trim_heap() -> None:
    """Let the C library give back what smaller tensors left in its heap, where they are computed on the CPU.

    Before a validation all activations are free, and what the heap keeps of them adds to its peak: SmolLM2-135M in int8, two
    rows of 192 tokens, 3.1 GB against 2.6 GB. It takes a tenth of a second. See malloc_trim(3), which glibc alone has.
    """
    if not torch.cuda.is_available():
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


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
