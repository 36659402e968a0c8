"""Stage `select`: the trials of a method's search -> search.json, with the one of the lowest validation loss.

Only validation losses are read: the test rows are scored once, by the runs with the chosen values.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tunebook.errors import TunebookError
from tunebook.records import read_json, write_json
from tunebook.runs import values_of

TOLD = (
    "initial_validation_loss",
    "best_validation_loss",
    "best_step",
    "steps",
    "epochs",
    "tokens",
    "wall_s",
    "peak_memory_bytes",
)


def search_record(study: Path, experiment: str, method: str) -> dict[str, Any]:
    """What search.json holds. `study`: study.json. Raises TunebookError where no trial has a validation loss."""
    record = read_json(study)
    told = record["experiments"][experiment]["search"]
    mine = [one for one in record["trials"] if (one["experiment"], one["method"]) == (experiment, method)]
    runs = study.parent / "runs"
    first = record["experiments"][experiment]["seeds"][0]
    searched = read_json(runs / experiment / method / f"seed-{first}" / "run.json")["searched"]
    trials = [_trial(runs / one["run"], one["trial"], searched) for one in mine if one["seed"] == first]
    whole = [trial for trial in trials if trial["best_validation_loss"] is not None]
    if not whole:
        raise TunebookError(
            f"{experiment}/{method}: each of its {len(trials)} trials diverged; nothing is chosen: search lower learning rates"
        )
    chosen = min(whole, key=lambda trial: trial["best_validation_loss"])
    return {
        "experiment": experiment,
        "method": method,
        "sampler": told["sampler"],
        "search_seed": told["seed"],
        "seed": first,
        "selected_by": "best_validation_loss",
        "trials": trials,
        "chosen": chosen["trial"],
        "values": chosen["values"],
    }


def _trial(folder: Path, key: str, searched: list[str]) -> dict[str, Any]:
    training = read_json(folder / "training.json")
    return {
        "trial": key,
        "values": values_of(read_json(folder / "run.json"), searched),
        **{name: training[name] for name in TOLD},
        "diverged": training.get("diverged"),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--method", required=True, help="name of the method")
    parser.add_argument("--output", type=Path, required=True, help="search.json, the file to write")


def main(args: argparse.Namespace) -> None:
    record = search_record(args.study, args.experiment, args.method)
    write_json(args.output, record)
    values = ", ".join(f"{path.split('.', 1)[1]} {value}" for path, value in record["values"].items())
    print(f"select {args.experiment}/{args.method}: {values}", flush=True)
