"""Command `show`: what a finished run came to, in the terminal: losses, metrics beside the untouched model's, answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from tunebook.chosen_run import RUN_HELP, ChosenRun, choose_run
from tunebook.errors import printable
from tunebook.records import read_json
from tunebook.reporting import typeset
from tunebook.reporting.study_folder import Run, read_run_records
from tunebook.reporting.terminal import INDENT, metrics_table, table


def shown(run: Run, base: Run, *, answers: int) -> Iterator[str]:
    """The lines of one run. `base`: the untouched model of its experiment; `answers`: how many are shown at most."""
    yield run.name
    if run.training:
        yield f"  {_trained(run)}"
        yield ""
        yield from table(_losses(run))
    yield ""
    runs = {"untouched model": base} | ({run.method: run} if run.training else {})
    yield f"  On {typeset.integer(run.evaluation['rows'])} held-out test rows, with 95 % intervals over rows:"
    yield from table(metrics_table(runs))
    if told := list(_answers(runs, answers)):
        yield ""
        yield "  Answers (greedy decoding):"
        yield from told


def _trained(run: Run) -> str:
    told = run.training
    best = f"kept are the weights of step {typeset.integer(told['best_step'])}"
    return (
        f"{typeset.integer(told['steps'])} steps in {typeset.duration(told['wall_s'])} on {told['device']}; {best}; trained "
        f"{typeset.count(told['trainable_parameters'])} of {typeset.count(told['parameters'])} parameters"
    )


def _losses(run: Run) -> list[list[str]]:
    lines = [["epoch", "training loss", "validation loss"]]
    for epoch in run.epochs.itertuples():
        values = (epoch.training_loss, epoch.validation_loss)
        lines.append([typeset.number(epoch.epoch), *(typeset.fixed(value, 4) for value in values)])
    return lines


def _answers(runs: dict[str, Run], count: int) -> Iterator[str]:
    """The experiment's prompts, or the first held-out rows where it has none, with each run's answer."""
    samples = {name: run.samples() for name, run in runs.items()}
    asked = next(iter(samples.values()))
    places = [at for at, sample in enumerate(asked) if sample["source"] in ("config", "heldout")][:count]
    for place in places:
        yield f"{INDENT}> {_one_line(asked[place]['prompt'])}"
        if asked[place]["reference"] is not None:
            yield f"{INDENT}  reference: {_one_line(asked[place]['reference'])}"
        for name, found in samples.items():
            yield f"{INDENT}  {name}: {_one_line(found[place]['completion'])}"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _records(chosen: ChosenRun, experiment: dict[str, Any]) -> Run:
    chosen.require("evaluation.json", "samples.json")
    return read_run_records(chosen.study, experiment, chosen.experiment, chosen.method, chosen.seed, chosen.name)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--answers", type=int, default=3, metavar="N", help="show N answers at most; 3 if not given")


def main(args: argparse.Namespace) -> None:
    for number, told in enumerate(args.runs):
        chosen = choose_run(told)
        experiment = read_json(chosen.study / "study.json")["experiments"][chosen.experiment]
        base = chosen.untouched()
        lines = shown(_records(chosen, experiment), _records(base, experiment), answers=args.answers)
        print("\n".join(["" for _ in range(number > 0)] + list(lines)), flush=True)
