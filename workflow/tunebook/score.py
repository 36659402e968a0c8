"""Command `score`: finished runs on the rows of another file, without training. `tunebook score RUN [RUN ...] --data FILE`.

The rows go the way of the experiment's own: the same templates, tokens, losses and metrics, and the untouched model on the same rows.
A row that copies one which the runs were trained or chosen on is left out and counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from tunebook.chosen_run import BASE, RUN_HELP, ChosenRun, choose_run
from tunebook.data.other_rows import OtherRows, other_rows
from tunebook.data.splits import in_blocks, read_split, read_tokens
from tunebook.digests import checked, sha256_of
from tunebook.errors import TunebookError
from tunebook.finetuning.evaluation import evaluate, prompted
from tunebook.finetuning.finished import load_run
from tunebook.finetuning.labels import classes_of
from tunebook.finetuning.room import Asked, check_room
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.finetuning.tokenizing import check_refused, tokenize_rows
from tunebook.records import read_json, write_json, write_parquet
from tunebook.reporting import typeset
from tunebook.reporting.comparison import accuracy_difference, loss_difference
from tunebook.reporting.metrics import title
from tunebook.reporting.study_folder import Run
from tunebook.reporting.terminal import metrics_table, table
from tunebook.statistics.paired import Difference

OUTPUT = "scores"  # folder below the study's


@dataclass(frozen=True)
class Encoded:
    """The rows of the file as text and as tokens. `left_out`: rows that have nothing to score within max_length."""

    rows: pandas.DataFrame
    tokens: list[dict[str, Any]]
    left_out: int


def encoded(found: OtherRows, chosen: ChosenRun) -> Encoded:
    """Encode rows as the experiment's own are. Raises TunebookError where they do not fit the model."""
    study = read_json(chosen.study / "study.json")
    spec = study["specs"]["tokenize"][chosen.experiment]
    config = read_json(chosen.model / "config.json")
    spec["labels"] = classes_of(config, spec["labels"]).labels
    tokenizer = load_tokenizer(chosen.model)
    tokens, lengths, refused = tokenize_rows(found.rows, tokenizer, spec)
    check_refused(spec, len(found.rows), [refused])
    if not tokens:
        raise TunebookError(f"no row of the file can be encoded for {chosen.experiment}'s model")
    labels = tuple(study["datasets"][chosen.dataset.name]["labels"])
    new = study["experiments"][chosen.experiment]["generation"]["max_new_tokens"]
    asked = Asked(new, heldout_samples=0, scored_rows=0, prompts=(), labels=labels, few_shot=(), chat=False)
    rows = in_blocks(found.rows, tokens)
    check_room(config, spec, asked, tokenizer, {"test": tokens}, rows)
    return Encoded(rows, tokens, lengths["dropped"] + sum(map(len, refused.values())))


def score_run(chosen: ChosenRun, given: Encoded, folder: Path, few_shot: Sequence[int]) -> Run:
    """Score one run and write evaluation.json and predictions.parquet into `folder`."""
    run, model, tokenizer = load_run(chosen)
    record, predictions = evaluate(run, model, tokenizer, given.tokens, given.rows)
    if few_shot and chosen.method == BASE:
        training = in_blocks(read_split(chosen.dataset, "train"), read_tokens(chosen.tokens, "train"))
        asked = run | {"few_shot": list(few_shot)}
        record["few_shot"], columns = prompted(asked, model, tokenizer, given.tokens, given.rows, training)
        predictions = predictions.assign(**columns)
    record |= {"split": "other", "metric_rows": {}}
    write_parquet(folder / "predictions.parquet", predictions)
    write_json(folder / "evaluation.json", record)
    return Run(
        name=chosen.name,
        experiment=chosen.experiment,
        method=chosen.method,
        seed=chosen.seed,
        folder=folder,
        spec=run,
        evaluation=record,
        training=read_json(chosen.folder / "training.json") if chosen.adapter else None,
        history=None,
    )


def seen_rows(chosen: ChosenRun) -> set[str]:
    """Ids of the rows that weights were trained or chosen on."""
    return {row for split in ("train", "validation") for row in read_split(chosen.dataset, split)["row"]}


def against_base(base: Run, run: Run) -> dict[str, Difference]:
    """Metric -> difference to the untouched model on the same rows, paired: run less base."""
    found = {"text_loss": loss_difference((run,), (base,))}
    if "labels" in run.evaluation:
        found["accuracy"] = accuracy_difference((run,), (base,))
    return found


def _told(difference: Difference) -> dict[str, Any]:
    known = {key: getattr(difference, key) for key in ("mean", "low", "high", "p")}
    finite = {key: value if abs(value) < float("inf") else None for key, value in known.items()}
    return finite | {"rows": difference.rows, "shown": difference.shown}


def _verdict(name: str, metric: str, difference: Difference) -> str:
    limits = typeset.interval(difference.low, difference.high)
    shown = "" if difference.shown else ": no difference shown"
    return f"  {name} less the untouched model, {title(metric)}: {typeset.signed(difference.mean)} (95 % interval {limits}){shown}"


def _lines(found: OtherRows, given: Encoded, runs: Sequence[Run], file: Path) -> Iterator[str]:
    yield (
        f"{file}: {found.read} rows, {len(given.tokens)} scored; {len(found.refused)} refused, {len(found.copies)} left out as copies "
        f"(of rows that the runs were trained or chosen on, or of each other), {given.left_out} without room for what is scored"
    )
    yield from table(metrics_table({_name(run): run for run in runs}, answers=False))
    for told in runs[0].evaluation.get("few_shot", []):
        if "not_run" in told:
            came = f"not run: {told['not_run']}"
        else:
            low, high = told["range"]["text_loss"]
            came = f"loss of the text {typeset.score(told['mean']['text_loss'])}, mean of {len(told['draws'])} draws ({typeset.interval(low, high)})"
        yield f"  untouched model with {told['examples']} examples before each row: {came}"


def _name(run: Run) -> str:
    return "untouched model" if run.method == BASE else run.name.split("/", 1)[1]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help=f"{RUN_HELP}; several of one experiment")
    parser.add_argument(
        "--data", type=Path, required=True, help="a file of rows with the columns of the experiment's data set"
    )
    parser.add_argument(
        "--few-shot",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="score the untouched model with N training rows before each row, too",
    )
    parser.add_argument(
        "--output", type=Path, help="folder for the records; results/STUDY/scores/EXPERIMENT/FILE if not given"
    )


def main(args: argparse.Namespace) -> None:
    chosen = list(dict.fromkeys(map(choose_run, args.runs)))
    first = chosen[0]
    if others := [run for run in chosen if (run.study, run.experiment) != (first.study, first.experiment)]:
        raise TunebookError(
            f"{others[0].name} is not of the experiment {first.experiment}, whose data the rows are read for; score it by itself"
        )
    if wrong := [count for count in args.few_shot if count < 1]:
        raise TunebookError(f"--few-shot: found {wrong[0]}; give numbers of examples from 1")
    study = read_json(first.study / "study.json")
    name = first.dataset.name
    specs = {stage: study["specs"][stage][name] for stage in ("fetch-dataset", "prepare")}
    raw = pandas.read_parquet(checked(first.study.parent / "datasets" / name / "raw.parquet"))
    found = other_rows(args.data, specs, raw, seen_rows(first))
    given = encoded(found, first)
    output = args.output or first.study / OUTPUT / first.experiment / args.data.stem
    runs = [
        score_run(run, given, output / run.within, args.few_shot) for run in dict.fromkeys([first.untouched(), *chosen])
    ]
    base, *trained = runs
    differences = {run.name: against_base(base, run) for run in trained}
    record = {
        "file": str(args.data),
        "sha256": sha256_of(args.data),
        "rows_read": found.read,
        "rows": len(given.tokens),
        "refused": len(found.refused),
        "copies": [pair.record() for pair in found.copies],
        "left_out": given.left_out,
        "runs": [run.name for run in runs],
        "against_base": {
            name: {metric: _told(one) for metric, one in of_run.items()} for name, of_run in differences.items()
        },
    }
    write_json(output / "score.json", record)
    print("\n".join(_lines(found, given, runs, args.data)))
    for run in trained:
        print("\n".join(_verdict(_name(run), metric, one) for metric, one in differences[run.name].items()))
    print(f"records: {output}", flush=True)
