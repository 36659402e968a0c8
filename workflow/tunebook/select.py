"""Stage `select`: the trials of a method's search -> search.json, with the one of the lowest validation loss.

Of successive halving it is called after each rung: then it writes which trials go on to the next one. Only validation losses are
read: the test rows are scored once, by the runs with the chosen values.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tunebook.configuration.search import Search, rungs
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


class Trials:
    """The trials of one method as study.json lists them, those of the first seed."""

    def __init__(self, study: Path, experiment: str, method: str) -> None:
        record = read_json(study)
        told = record["experiments"][experiment]
        self.name, self.seed = f"{experiment}/{method}", told["seeds"][0]
        self.search = Search.model_validate(told["search"])
        self.folder = study.parent / "runs" / experiment / method
        listed = [one for one in record["trials"] if (one["experiment"], one["method"]) == (experiment, method)]
        self.listed = [one for one in listed if one["seed"] == self.seed]
        self.rungs = rungs(self.search, len({one["draw"] for one in listed}))

    def of(self, rung: int) -> list[dict[str, Any]]:
        """The trials that took part in a rung: those that the one before let go on."""
        mine = [one for one in self.listed if one["rung"] == rung]
        if rung == 0:
            return mine
        promoted = read_json(self.folder / f"rung-{rung - 1}.json")["promoted"]
        return [one for one in mine if one["trial"] in promoted]

    def losses(self, rung: int) -> dict[int, float]:
        """Draw -> lowest validation loss, of the trials of a rung that did not diverge. Raises TunebookError where none did not."""
        read = {one["draw"]: self.training(one)["best_validation_loss"] for one in self.of(rung)}
        whole = {draw: loss for draw, loss in read.items() if loss is not None}
        if not whole:
            raise TunebookError(
                f"{self.name}: each of its {len(read)} trials diverged; nothing is chosen: search lower learning rates"
            )
        return whole

    def training(self, one: dict[str, Any]) -> dict[str, Any]:
        return read_json(self.folder.parents[1] / one["run"] / "training.json")


def rung_record(trials: Trials, rung: int) -> dict[str, Any]:
    """What rung-{rung}.json holds: the trials that go on, those of the lowest validation losses, as the next rung names them."""
    losses = trials.losses(rung)
    best = sorted(losses, key=losses.__getitem__)[: trials.rungs[rung + 1].trials]
    names = {one["draw"]: one["trial"] for one in trials.listed if one["rung"] == rung + 1}
    return {
        "rung": rung,
        "tried": [one["trial"] for one in trials.of(rung)],
        "promoted": [names[draw] for draw in best],
    }


def search_record(trials: Trials) -> dict[str, Any]:
    """What search.json holds."""
    last = len(trials.rungs) - 1
    losses = trials.losses(last)
    searched = read_json(trials.folder / f"seed-{trials.seed}" / "run.json")["searched"]
    tried = [_trial(trials, one, searched) for rung in range(last + 1) for one in trials.of(rung)]
    best = min(losses, key=losses.__getitem__)
    chosen = next(one["trial"] for one in trials.of(last) if one["draw"] == best)
    experiment, method = trials.name.split("/")
    return {
        "experiment": experiment,
        "method": method,
        "sampler": trials.search.sampler,
        "search_seed": trials.search.seed,
        "seed": trials.seed,
        "selected_by": "best_validation_loss",
        "trials": tried,
        "chosen": chosen,
        "values": next(one["values"] for one in tried if one["trial"] == chosen),
    }


def _trial(trials: Trials, one: dict[str, Any], searched: list[str]) -> dict[str, Any]:
    training = trials.training(one)
    run = read_json(trials.folder.parents[1] / one["run"] / "run.json")
    return {
        "trial": one["trial"],
        "share": one["share"],
        "values": values_of(run, searched),
        **{name: training[name] for name in TOLD},
        "diverged": training.get("diverged"),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--method", required=True, help="name of the method")
    parser.add_argument("--rung", type=int, help="of successive halving: which trials of this rung, from 0, go on")
    parser.add_argument(
        "--output", type=Path, required=True, help="the file to write: search.json, or rung-{rung}.json"
    )


def main(args: argparse.Namespace) -> None:
    trials = Trials(args.study, args.experiment, args.method)
    if args.rung is not None:
        record = rung_record(trials, args.rung)
        told = f"{len(record['promoted'])} of {len(record['tried'])} trials go on"
    else:
        record = search_record(trials)
        told = ", ".join(f"{path.split('.', 1)[1]} {value}" for path, value in record["values"].items())
    write_json(args.output, record)
    print(f"select {trials.name}: {told}", flush=True)
