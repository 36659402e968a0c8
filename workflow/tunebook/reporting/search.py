"""What a search found: its trials, what was chosen, what it cost, and what fewer trials would have brought."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.records import read_json
from tunebook.reporting.typeset import plain

EDGE_VALUES = 3  # a numeric argument with fewer values always has its best one at an edge


@dataclass(frozen=True)
class Trial:
    """One trial. `loss`: its lowest validation loss, in nats a supervised token; None where it diverged."""

    key: str
    values: dict[str, Any]  # by path: training.learning_rate
    share: float  # of a final run's steps that it was trained for; below 1 in the first rungs of successive halving
    loss: float | None
    initial_loss: float  # before training
    best_step: int | None
    steps: int
    tokens: int
    wall_s: float


@dataclass(frozen=True)
class Search:
    """The search of one method."""

    method: str
    sampler: str
    trials: tuple[Trial, ...]  # in the order of the draws
    chosen: Trial

    @property
    def paths(self) -> tuple[str, ...]:
        """The arguments that were searched."""
        return tuple(self.chosen.values)

    @property
    def drawn(self) -> int:
        """How many choices of values were tried."""
        return len({repr(trial.values) for trial in self.trials})

    @property
    def losses(self) -> list[float]:
        """Of the trials that did not diverge."""
        return [trial.loss for trial in self.trials if trial.loss is not None]

    @property
    def diverged(self) -> int:
        return sum(trial.loss is None for trial in self.trials)

    @property
    def wall_s(self) -> float:
        """Seconds of training of all trials."""
        return sum(trial.wall_s for trial in self.trials)

    @property
    def steps(self) -> int:
        return sum(trial.steps for trial in self.trials)

    @property
    def edges(self) -> dict[str, str]:
        """Numeric argument -> lowest or highest, where no trial lies beyond the chosen value on one side: the best value may
        lie outside of what was searched."""
        found = {}
        for path in self.paths:
            values = sorted({trial.values[path] for trial in self.trials if is_number(trial.values[path])})
            if len(values) >= EDGE_VALUES and self.chosen.values[path] in (values[0], values[-1]):
                found[path] = "lowest" if self.chosen.values[path] == values[0] else "highest"
        return found

    @property
    def expected(self) -> list[float]:
        """The lowest validation loss to be expected of 1, 2, ... trials drawn as these were (Dodge et al. 2019, equation 6, for
        a minimum); a trial that diverged counts with the loss before training. Empty for a grid, whose trials are not drawn.
        """
        if self.sampler != "random":
            return []
        losses = sorted(trial.initial_loss if trial.loss is None else trial.loss for trial in self.trials)
        count = len(losses)
        return [
            sum(
                loss * (((count - place) / count) ** budget - ((count - place - 1) / count) ** budget)
                for place, loss in enumerate(losses)
            )
            for budget in range(1, count + 1)
        ]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_text(value: Any) -> str:
    return plain(value) if is_number(value) else str(value)


def values_in_words(values: dict[str, Any]) -> str:
    """Arguments and their values: `learning_rate 0.0002, r 16`."""
    return ", ".join(f"{argument(path)} {value_text(value)}" for path, value in values.items())


def argument(path: str) -> str:
    """The argument's own name."""
    return path.split(".", 1)[1]


def read_searches(runs: Path, experiment: str, spec: dict[str, Any]) -> dict[str, Search]:
    """Method -> its search; none where the experiment has no search. `runs`: the folder of the study's runs."""
    if spec["search"] is None:
        return {}
    records = (read_json(runs / experiment / method / "search.json") for method in spec["methods"])
    return {record["method"]: _search(record) for record in records}


def _search(record: dict[str, Any]) -> Search:
    trials = {
        told["trial"]: Trial(
            key=told["trial"],
            values=told["values"],
            share=told["share"],
            loss=told["best_validation_loss"],
            initial_loss=told["initial_validation_loss"],
            best_step=told["best_step"],
            steps=told["steps"],
            tokens=told["tokens"],
            wall_s=told["wall_s"],
        )
        for told in record["trials"]
    }
    return Search(record["method"], record["sampler"], tuple(trials.values()), trials[record["chosen"]])
