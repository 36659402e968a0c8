"""How long a run is and what it leaves: steps, validations, seconds and disk, from its spec and the rows it will have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunebook.cost.rehearsal import Rehearsal, validation_batch
from tunebook.records import read_json

if TYPE_CHECKING:
    from tunebook.estimate import Line

KEPT = 3  # checkpoints at once: the two newest and the best


@dataclass(frozen=True)
class Plan:
    """What is known of a run's length before it runs; None where the number of rows is not known."""

    training_rows: int | None = None
    test_rows: int | None = None
    validation_batches: int | None = None
    steps: int | None = None
    validations: int | None = None
    disk_bytes: int | None = None
    checkpoint_bytes: int = 0

    def seconds(self, tried: Rehearsal) -> float | None:
        """Seconds of the whole run, at most: start, steps and validations as the rehearsal took them; None where their number
        is not known."""
        if tried.seconds_a_step is None or self.steps is None or self.validations is None:
            return None
        validation_s = self.validations * self.validation_batches * tried.validation_s
        return tried.other_s + self.steps * tried.seconds_a_step + validation_s


def plan_of(line: Line, study: Path | None) -> Plan:
    """A run's plan. `study`: study.json, beside which prepared data sets may tell their rows."""
    from tunebook.finetuning.schedule import schedule_of

    run, training = line.run, line.run["training"]
    rows = rows_of(run["dataset"], study)
    published = line.cpu.gradient_bytes  # what is trained, as it is stored
    facts: dict[str, Any] = {
        "disk_bytes": published,
        "checkpoint_bytes": KEPT * (published + line.cpu.optimizer_bytes),
    }
    if rows is None:
        return Plan(steps=training["max_steps"] if training["max_steps"] > 0 else None, **facts)
    train, validation, test = rows
    schedule = schedule_of(train, run)
    validated = min(validation, training["max_validation_rows"] or validation)
    return Plan(
        training_rows=train,
        test_rows=test,
        validation_batches=math.ceil(validated / validation_batch(training)),
        steps=schedule.total,
        validations=len(schedule.evals) + 1,  # and one before the first step
        **facts,
    )


def rows_of(dataset: dict[str, Any], study: Path | None) -> tuple[int, int, int] | None:
    """(training rows, validation rows, test rows): of the prepared data set if there is one, else what the config expects, before
    copies and unusable rows are taken away; None where it does not say, or where texts are cut into blocks first."""
    if dataset["long_texts"] == "blocks":
        return None
    profile = study.parent / "datasets" / dataset["name"] / "profile.json" if study else None
    if profile and profile.exists():
        splits = read_json(profile)["splits"]
        return splits["train"], splits["validation"], splits["test"]
    rows = dataset["source"]["rows"] if dataset["source"]["type"] == "generated" else dataset["rows"]
    if rows is None:
        return None
    split = dataset["split"]
    if split["column"] or any(isinstance(split[name], str) for name in ("train", "validation", "test")):
        return None  # the files say, once they are read
    validation, test = (_share(split[name], rows) for name in ("validation", "test"))
    rest = max(1, rows - validation - test)
    return min(rest, _share(split["train"], rest)) if split["train"] else rest, validation, test


def _share(size: float, rows: int) -> int:
    """A share of the rows (below 1), or a number of them, as a number."""
    return round(size * rows) if size < 1 else int(size)
