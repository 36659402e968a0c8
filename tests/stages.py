"""Run the stages up to training as functions, on a tiny study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas

from tunebook import __main__ as command_line
from tunebook.configuration.validation import validate
from tunebook.records import read_json
from tunebook.resolve import resolve

MANY_CHECKPOINTS = {  # training arguments: fifteen validations, each with a checkpoint
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "evals_per_epoch": 5,
    "max_length": 32,
    "learning_rate": 0.01,
}


def run_stage(*arguments: object) -> None:
    """`python -m tunebook ...`, in this process; any failure fails the test."""
    assert command_line.main([str(argument) for argument in arguments]) == 0


def prepared(config: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Everything up to the tokens of the first experiment. Returns the places that later stages are given."""
    results = folder / "results"
    resolve(validate(config), results)
    study, (name, experiment) = results / "study.json", next(iter(config["experiments"].items()))
    dataset, model = experiment["dataset"], experiment["model"]
    places = {
        "results": results,
        "study": study,
        "model": folder / "models" / model,
        "tokens": results / "tokens" / name,
    }
    places["dataset"] = results / "datasets" / dataset
    run_stage("fetch-model", "--study", study, "--model", model, "--output", places["model"])
    raw = folder / "datasets" / dataset
    run_stage("fetch-dataset", "--study", study, "--dataset", dataset, "--output", raw)
    run_stage(
        "prepare", "--study", study, "--dataset", dataset, "--raw", raw / "raw.parquet", "--output", places["dataset"]
    )
    tokenize = ["--dataset", places["dataset"], "--model", places["model"], "--output", places["tokens"]]
    run_stage("tokenize", "--study", study, "--experiment", name, *tokenize)
    return places


def train_arguments(places: dict[str, Path], run: str) -> list[object]:
    """Arguments of the stage `train` for a run."""
    folder = places["results"] / "runs" / run
    arguments = ["train", "--run", folder / "run.json", "--model", places["model"], "--tokens", places["tokens"]]
    return [*arguments, "--checkpoints", places["results"] / "checkpoints", "--output", folder]


def trained(places: dict[str, Path], run: str) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Train a run to its end. Returns training.json and history.csv."""
    run_stage(*train_arguments(places, run))
    folder = places["results"] / "runs" / run
    return read_json(folder / "training.json"), pandas.read_csv(folder / "history.csv")


def finished(config: dict[str, Any], folder: Path) -> dict[str, Path]:
    """A study of one experiment with labels, all its records made, as the rules make them. Returns its places."""
    places = prepared(config, folder)
    name, study = next(iter(config["experiments"])), places["study"]
    for run in (line["run"] for line in read_json(study)["runs"]):
        place = places["results"] / "runs" / run
        scored = ["--run", place / "run.json", "--model", places["model"], "--tokens", places["tokens"]]
        if "/base/" not in run:
            trained(places, run)
            scored += ["--adapter", place / "adapter"]
        for stage in ("evaluate", "sample"):
            run_stage(stage, *scored, "--dataset", places["dataset"], "--output", place)
    baselines = places["results"] / "baselines"
    run_stage("baseline", "--study", study, "--experiment", name, "--dataset", places["dataset"], "--output", baselines)
    return places
