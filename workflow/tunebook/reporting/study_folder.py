"""A study's folder as frozen records: what the stages left behind, read once and never changed.

The files and their keys are described in `results/README.md`. Nothing but completed records is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas

from tunebook.digests import checked
from tunebook.errors import TunebookError
from tunebook.records import read_json
from tunebook.reporting.curves import EPOCH_SLACK, by_epoch
from tunebook.reporting.search import Search, read_searches
from tunebook.reporting.text_metrics import Measured, measure
from tunebook.reporting.untrained import Baseline, clusters, prompted, read_baselines, whole_metrics, with_perplexity
from tunebook.runs import read_run

BASE = "base"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Run:
    """One run's records. `training` and `history` are None for the base run, which trains nothing."""

    name: str  # experiment/method/seed-1
    experiment: str
    method: str
    seed: int
    folder: Path
    spec: dict[str, Any]  # run.json
    evaluation: dict[str, Any]  # evaluation.json
    training: dict[str, Any] | None  # training.json
    history: pandas.DataFrame | None  # history.csv
    key_term: str | None = None  # the experiment's regular expression

    @property
    def text_loss(self) -> float:
        """The headline: held-out loss of the text, in nats a token."""
        return self.evaluation["text_loss"]

    @property
    def loss(self) -> float:
        """Held-out loss with end tokens, in nats a supervised token, as training and validation losses are."""
        return self.evaluation["loss"]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Losses, perplexity, bits per byte, then the metrics of the task."""
        return (
            whole_metrics(self.evaluation)
            | self.evaluation["metrics"]
            | {name: told.value for name, told in self.answered.items()}
        )

    @cached_property
    def answered(self) -> dict[str, Measured]:
        """The metrics of the answers in samples.json."""
        return measure(self.samples(), labels="labels" in self.evaluation, term=self.key_term)

    def rows_of(self, metric: str) -> int:
        """How many held-out rows, or answers, a metric of this run is over."""
        if metric in self.answered:
            return self.answered[metric].rows
        return self.evaluation["metric_rows"].get(metric, self.evaluation["rows"])

    def beside(self, metric: str) -> bool:
        """Whether a metric of this run is over something else than the test rows, be there as many of it or not."""
        return metric in self.answered or metric in self.evaluation["metric_rows"]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Metric -> its 95 % interval, where there is one."""
        known = {name: tuple(limits) for name, limits in self.evaluation["intervals"].items()}
        known |= {name: told.interval for name, told in self.answered.items() if told.interval}
        return with_perplexity(known)

    @cached_property
    def scores(self) -> pandas.DataFrame:
        """One line a test row: index row; text_loss (nats a token), text_tokens, correct (or None), cluster (rows of one prompt)."""
        columns = ["row", "text_loss", "text_tokens", "correct", "input"]
        frame = pandas.read_parquet(checked(self.folder / "predictions.parquet"), columns=columns).set_index("row")
        return frame.assign(cluster=clusters(frame.pop("input")))

    @cached_property
    def validation_scores(self) -> pandas.DataFrame:
        """One line a validation row, scored with the weights that were kept: index row; loss (nats a token), tokens."""
        return self.validation[self.validation["step"] == self.training["best_step"]].set_index("row")

    def validation_step(self, epoch: float) -> int:
        """The step of the last validation up to the end of an epoch."""
        points = self.history[(self.history["split"] == "validation") & (self.history["epoch"] <= epoch + EPOCH_SLACK)]
        return int(points["step"].iloc[-1])

    @cached_property
    def validation(self) -> pandas.DataFrame:
        """validation.parquet: step, row, loss (nats a token), tokens; a line a validation row and validation."""
        return pandas.read_parquet(checked(self.folder / "validation.parquet"))

    @cached_property
    def epochs(self) -> pandas.DataFrame:
        """Losses by epoch, see `curves.by_epoch`; not for the base run."""
        return by_epoch(self.history)

    def samples(self) -> list[dict[str, Any]]:
        """The answers to the experiment's prompts, in the order of the prompts."""
        return read_json(self.folder / "samples.json")


@dataclass(frozen=True)
class Experiment:
    """One experiment: its spec, its data's figures, the untouched model and the finetuned runs."""

    name: str
    spec: dict[str, Any]
    dataset: dict[str, Any]  # the data set's entry in the study
    model: dict[str, Any]  # the model's entry in the study
    profile: dict[str, Any]  # profile.json
    lengths: dict[str, Any]  # lengths.json
    base: Run
    runs: tuple[Run, ...]  # finetuned, by method as in the study, then by seed
    baselines: tuple[Baseline, ...] = ()  # where the data have labels, or examples were put into the prompt
    searches: dict[str, Search] = field(default_factory=dict)  # method -> its search, where the experiment has one

    @property
    def title(self) -> str:
        return self.spec["title"] or self.name

    @property
    def smallest_difference(self) -> float:
        """Nats a token: a smaller difference in loss is too small to matter."""
        return self.spec["smallest_relevant_difference"]

    @property
    def has_labels(self) -> bool:
        return "confusion" in self.base.evaluation

    @property
    def few_shot(self) -> list[dict[str, Any]]:
        """What evaluation.json tells of examples in the base model's prompt, an entry a number of examples."""
        return self.base.evaluation.get("few_shot", [])

    @property
    def untrained(self) -> tuple[Run | Baseline, ...]:
        """What the finetuned runs are held against: the untouched model, then the baselines."""
        return (self.base, *self.baselines)

    @property
    def untrained_groups(self) -> dict[str, tuple[Run | Baseline, ...]]:
        """The same by name: of examples in the prompt, all draws."""
        names = dict.fromkeys(one.method for one in self.untrained)
        return {name: tuple(one for one in self.untrained if one.method == name) for name in names}

    @property
    def methods(self) -> dict[str, tuple[Run, ...]]:
        """Method -> its runs, one a seed."""
        names = dict.fromkeys(run.method for run in self.runs)
        return {name: tuple(run for run in self.runs if run.method == name) for name in names}

    def validated_rows(self, run: Run) -> int:
        """How many rows a run's validation losses are over: the first ones of the split, where its config says so."""
        rows = self.lengths["validation"]["rows"]
        return min(rows, run.spec["training"]["max_validation_rows"] or rows)

    def split_lengths(self) -> dict[str, dict[str, Any]]:
        """Split -> its figures of token lengths, for the splits that were tokenized."""
        return {split: self.lengths[split] for split in SPLITS if split in self.lengths}


@dataclass(frozen=True)
class Study:
    """Everything below `results/{study}/` that the report reads."""

    folder: Path
    record: dict[str, Any]  # study.json
    experiments: tuple[Experiment, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for experiment in self.experiments for run in experiment.runs)

    def provenance(self, kind: str, name: str) -> dict[str, Any]:
        """provenance.json of a model or a data set. Args: kind: "models" or "datasets"."""
        return read_json(self.folder.parent / kind / name / "provenance.json")


def read_study(folder: Path) -> Study:
    """Read a study's records.

    Raises: TunebookError: a record is missing or broken.
    """
    record = read_json(folder / "study.json")
    experiments = tuple(read_experiment(folder, record, name) for name in record["experiments"])
    return Study(folder=folder, record=record, experiments=experiments)


def read_experiment(folder: Path, record: dict[str, Any], name: str) -> Experiment:
    """Read one experiment's records. Args: record: the study's study.json."""
    if name not in record["experiments"]:
        known = ", ".join(record["experiments"])
        raise TunebookError(f"experiment {name!r} is not in {folder / 'study.json'}; it has: {known}")
    spec = record["experiments"][name]
    trained = [run for run in record["runs"] if run["experiment"] == name and run["method"] != BASE]
    _require_finished(folder, [run["run"] for run in trained])
    base = read_run_records(folder, spec, name, BASE, 0, f"{name}/{BASE}/seed-0")
    dataset = record["datasets"][spec["dataset"]]
    baselines = dataset["labels"] or dataset["text"] is None  # what is no text has prompts
    return Experiment(
        name=name,
        spec=spec,
        dataset=dataset,
        model=record["models"][spec["model"]],
        profile=read_json(folder / "datasets" / spec["dataset"] / "profile.json"),
        lengths=read_json(folder / "tokens" / name / "lengths.json"),
        base=base,
        runs=tuple(read_run_records(folder, spec, name, run["method"], run["seed"], run["run"]) for run in trained),
        baselines=(
            *prompted(base.folder, name, base.evaluation),
            *(read_baselines(folder / "baselines", name, base.samples(), base.key_term) if baselines else ()),
        ),
        searches=read_searches(folder / "runs", name, spec),
    )


def _require_finished(folder: Path, names: list[str]) -> None:
    """Name all unfinished runs at once, so that a person need not find them one by one."""
    missing = [name for name in names if not (folder / "runs" / name / "evaluation.json").exists()]
    if missing:
        listed = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise TunebookError(
            f"{len(missing)} of {len(names)} runs below {folder / 'runs'} have no evaluation.json ({listed}); "
            "let the study finish (run snakemake again: it goes on where it stopped), then repeat this command"
        )


def read_run_records(folder: Path, spec: dict[str, Any], experiment: str, method: str, seed: int, name: str) -> Run:
    """Read the records of one run."""
    place = folder / "runs" / name
    trained = method != BASE
    return Run(
        name=name,
        experiment=experiment,
        method=method,
        seed=seed,
        folder=place,
        spec=read_run(place / "run.json"),
        evaluation=read_json(place / "evaluation.json"),
        training=read_json(place / "training.json") if trained else None,
        history=pandas.read_csv(checked(place / "history.csv")) if trained else None,
        key_term=spec["key_term"],
    )
