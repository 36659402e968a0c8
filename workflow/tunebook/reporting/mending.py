"""An experiment beside the one that it mends: what was changed, and what that did on the same held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunebook.reporting.comparison import loss_difference
from tunebook.reporting.curves import split_rows
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import exact, integer, plain
from tunebook.statistics.paired import Difference

NO_NEWS = ("per_device_eval_batch_size",)  # changes neither weights nor which of them are kept


@dataclass(frozen=True)
class Mending:
    """`before` is the run that was to be mended, `after` the one that does it better."""

    before: Run
    after: Run
    changes: tuple[tuple[str, str, str], ...]  # what, before, after
    difference: Difference | None  # held-out loss of after minus before; None where the test rows are not the same


def mending(before: Experiment, after: Experiment, run_before: Run, run_after: Run) -> Mending:
    """Set two experiments side by side, by one run each."""
    alike = before.dataset["source"] == after.dataset["source"] and set(run_before.scores.index) == set(
        run_after.scores.index
    )
    return Mending(
        run_before,
        run_after,
        tuple(_changes(before, after, run_before, run_after)),
        loss_difference((run_after,), (run_before,)) if alike else None,
    )


def _changes(before: Experiment, after: Experiment, run_before: Run, run_after: Run) -> list[tuple[str, str, str]]:
    """What differs in rows, steps and arguments; an argument that changes no weights is left out."""
    told = [
        ("method", run_before.method, run_after.method),
        *[(name, *(integer(value) for value in pair)) for name, pair in {
            "training rows": [one.profile["splits"]["train"] for one in (before, after)],
            "steps": [run.training["steps"] for run in (run_before, run_after)],
        }.items()],
        ("epochs", *(plain(round(run.training["epochs"], 2)) for run in (run_before, run_after))),
    ]  # fmt: skip
    for section in ("training", "adapter"):
        old, new = (run.spec[section] or {} for run in (run_before, run_after))
        told += [
            (f"`{name}`", _shown(old.get(name)), _shown(new.get(name)))
            for name in dict.fromkeys([*old, *new])
            if name not in (*NO_NEWS, "num_train_epochs", "max_steps")  # steps and epochs stand above
        ]
    return [line for line in told if line[1] != line[2]]


def _shown(value: Any) -> str:
    if isinstance(value, float) and not isinstance(value, bool):
        return exact(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


@dataclass(frozen=True)
class Turn:
    """Where a run's validation loss turned up: epoch and loss at its lowest, loss at the end; nats a token."""

    epoch: float
    lowest: float
    last: float


def turn(run: Run) -> Turn:
    """Args: run: one whose validation loss was measured at least once."""
    validation = split_rows(run.history, "validation")
    best = validation.loc[validation["loss"].idxmin()]
    return Turn(float(best["epoch"]), float(best["loss"]), float(validation["loss"].iloc[-1]))
