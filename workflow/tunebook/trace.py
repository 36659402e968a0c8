"""Stage `trace`: the forward passes of a study's models without memory -> a file each, which estimates are played from."""

from __future__ import annotations

import argparse
from pathlib import Path

from tunebook.cost.architectures import read_architecture, shipped
from tunebook.cost.study import architecture_of, trained_runs
from tunebook.cost.traces import file_of, is_traced, shapes_of, shipped_file, write_trace
from tunebook.errors import TunebookError


def trace_study(study: Path, models: Path) -> int:
    """Trace the models of a study's trained runs that were not traced before. Returns how many.

    A model that cannot be traced leaves a file that says why. `study`: study.json; `models`: folder of the fetched models.
    """
    count = 0
    for run in trained_runs(study):
        try:
            architecture = architecture_of(run["model"], models)
        except TunebookError:  # of a model that is not fetched yet
            continue
        shape = {"task": run["task"], "encoder_decoder": run["model"]["encoder_decoder"]}
        if is_traced(architecture, **shape):
            continue
        from tunebook.cost.tracing import trace  # with torch, which is not needed where nothing is left to do

        try:
            found = trace(architecture.config, **shape)
        except TunebookError as error:
            found = error
        write_trace(file_of(architecture, **shape), found)
        count += 1
    return count


def trace_shipped() -> int:
    """Write the traces that stand beside the shipped architectures. Returns how many."""
    from tunebook.cost.tracing import trace

    wanted = [(name, shape) for name in shipped() for shape in shapes_of(read_architecture(name))]
    for name, shape in wanted:
        write_trace(shipped_file(name, **shape), trace(read_architecture(name).config, **shape))
    return len(wanted)


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--study", type=Path, help="study.json")
    what.add_argument(
        "--shipped", action="store_true", help="the architectures that Tunebook ships, after a change of the code"
    )
    parser.add_argument("--models", type=Path, default=Path("results/models"), help="folder of the fetched models")


def main(args: argparse.Namespace) -> None:
    count = trace_shipped() if args.shipped else trace_study(args.study, args.models)
    print(f"trace: {count} models traced", flush=True)
