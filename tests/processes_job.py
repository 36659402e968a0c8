"""What tests/test_processes.py starts under torchrun: several stages `train`, one after the other, in the same processes.

A test may let one process run out of memory (`--memory-for ROWS`, the last process only).
"""

from __future__ import annotations

import json
import os
import sys

import torch

from tunebook import __main__ as command_line
from tunebook import train


def of_little_memory(rows: int, load):
    """A loader whose models run out of memory with more than `rows` rows."""

    def check(module, arguments, options):
        positions = options.get("position_ids")  # packed rows begin where positions do
        found = len(options["input_ids"]) if positions is None else int((positions == 0).sum())
        if found > rows and module.training:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def loader(*arguments, **options):
        model = load(*arguments, **options)
        model.register_forward_pre_hook(check, with_kwargs=True)
        return model

    return loader


if __name__ == "__main__":
    rows, jobs = json.loads(sys.argv[1])
    if rows and os.environ["RANK"] == "1":
        train.load_model = of_little_memory(rows, train.load_model)
    for job in jobs:
        status = command_line.main(job)
        if status:
            sys.exit(status)
