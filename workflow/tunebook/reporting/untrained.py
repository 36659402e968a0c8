"""What finetuned runs are held against beside the untouched model: simple classifiers, and examples in the model's prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas

from tunebook.digests import checked
from tunebook.records import read_json
from tunebook.reporting.text_metrics import against_references


@dataclass(frozen=True)
class Baseline:
    """A simple classifier on the same rows, told as a run is: metrics, intervals, right and wrong by row."""

    method: str  # its name
    experiment: str
    folder: Path
    evaluation: dict[str, Any]  # its part of baselines/{experiment}.json

    seed = 0  # no baseline draws random numbers

    @property
    def versions(self) -> dict[str, str]:
        """Package -> version, of what it was made with beside what the runs were."""
        return self.evaluation["versions"]

    @property
    def metrics(self) -> dict[str, float]:
        return self.evaluation["metrics"]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        return {name: tuple(limits) for name, limits in self.evaluation["intervals"].items()}

    def rows_of(self, metric: str) -> int:
        return self.evaluation["rows"]

    def beside(self, metric: str) -> bool:
        return False

    @cached_property
    def scores(self) -> pandas.DataFrame:
        """One line a held-out row: index row; correct."""
        frame = pandas.read_parquet(checked(self.folder / f"{self.experiment}.parquet")).set_index("row")
        return pandas.DataFrame({"correct": frame[self.method] == frame["reference"]})


class Prompted(Baseline):
    """The untouched model with one draw of examples in its prompt; `evaluation` is that draw's in evaluation.json."""

    @property
    def seed(self) -> int:
        """The draw."""
        return self.evaluation["seed"]

    @property
    def examples(self) -> int:
        return self.evaluation["examples"]

    @property
    def metrics(self) -> dict[str, float | None]:
        return whole_metrics(self.evaluation) | self.evaluation["metrics"]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        return with_perplexity(super().intervals)

    @cached_property
    def scores(self) -> pandas.DataFrame:
        """One line a held-out row: index row; text_loss (nats a token), text_tokens, correct (or None)."""
        mine = f"few_shot_{self.examples}_{self.seed}"
        columns = {
            "row": "row",
            f"{mine}_text_loss": "text_loss",
            "text_tokens": "text_tokens",
            f"{mine}_correct": "correct",
        }
        frame = pandas.read_parquet(checked(self.folder / "predictions.parquet"), columns=[*columns, "input"])
        frame = frame.rename(columns=columns).set_index("row")
        return frame.assign(cluster=clusters(frame.pop("input")))


def clusters(inputs: pandas.Series) -> pandas.Series:
    """A name for each row, the same for rows of one prompt; a row without a prompt stands alone. Both indexed by row."""
    prompts = inputs.str.casefold()
    return prompts.where(prompts != "", "row " + inputs.index.to_series().astype(str))


def whole_metrics(evaluation: dict[str, Any]) -> dict[str, float | None]:
    """The figures of evaluation.json that stand outside of `metrics`."""
    return {name: evaluation[name] for name in ("text_loss", "loss", "perplexity", "bits_per_byte")}


def with_perplexity(known: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Perplexity rises with the loss, and so do the limits of its interval."""
    return {"perplexity": tuple(math.exp(min(limit, 700.0)) for limit in known["loss"])} | known


def prompted(folder: Path, experiment: str, evaluation: dict[str, Any]) -> tuple[Prompted, ...]:
    """Every draw of examples that the base run was scored with. Args: folder, evaluation: the base run's."""
    found = []
    for told in evaluation.get("few_shot", []):
        count, draws = told["examples"], told.get("draws", [])
        definition = (
            f"The untouched model with {count} training rows before each test row, written as in training: mean and range over "
            f"{len(draws)} draws of the rows; it is scored by the same code, over the same tokens."
        )
        for draw in draws:
            more = {"examples": count, "definition": definition, "versions": {}}
            found.append(Prompted(f"base, {count} example{'s' if count > 1 else ''}", experiment, folder, draw | more))
    return tuple(found)


class Retrieval(Baseline):
    """The answer of the nearest training row, in the place of a run's answers to the same held-out rows."""

    def __init__(
        self, experiment: str, folder: Path, evaluation: dict[str, Any], samples: list[dict[str, Any]], term: str | None
    ):
        """Args: samples: samples.json of a run, of which the held-out questions count; term: the experiment's `key_term`."""
        super().__init__("retrieval", experiment, folder, evaluation)
        frame = pandas.read_parquet(checked(folder / f"{experiment}.parquet"))
        answers = dict(zip(zip(frame["question"], frame["reference"], strict=True), frame["retrieval"], strict=True))
        asked = [
            (sample, answers.get((sample["prompt"], sample["reference"]))) for sample in samples if sample["reference"]
        ]
        given = [sample | {"completion": answer} for sample, answer in asked if answer is not None]
        object.__setattr__(self, "answered", against_references(given, term))

    @property
    def metrics(self) -> dict[str, float]:
        return {name: told.value for name, told in self.answered.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        return {name: told.interval for name, told in self.answered.items() if told.interval}

    def rows_of(self, metric: str) -> int:
        return self.answered[metric].rows if metric in self.answered else self.evaluation["rows"]

    def beside(self, metric: str) -> bool:
        return metric in self.answered


def read_baselines(
    folder: Path, experiment: str, samples: list[dict[str, Any]], term: str | None
) -> tuple[Baseline, ...]:
    """The baselines of an experiment with labels, or with prompts. Args: folder: baselines/ of the study; samples: the base
    run's answers; term: the experiment's `key_term`."""
    record = read_json(folder / f"{experiment}.json")
    rows = {"rows": record["rows"], "versions": record["versions"]}
    return tuple(
        Retrieval(experiment, folder, told | rows, samples, term)
        if name == "retrieval"
        else Baseline(name, experiment, folder, told | rows)
        for name, told in record["baselines"].items()
    )
