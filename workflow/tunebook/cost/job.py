"""What a job of a stage (`train`, `evaluate`, `sample`) asks a scheduler for: memory by the run's estimate, minutes by the
study's rehearsal, where there is one."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.cost.memory import RUNTIME_BYTES, estimate, inference_bytes, stored_bytes
from tunebook.cost.study import architecture_of
from tunebook.errors import TunebookError
from tunebook.finetuning.names import FEW_SHOT_DRAWS

SPARE = 1.25  # the lowest estimate was 18 % below the measured peak, docs/estimate.md
SNAKEMAKE_BYTES = 330_000_000  # of the Snakemake inside of each job
CUDA_BYTES = (
    3_000_000_000  # of a process that computes on a GPU: CUDA's libraries and what they pin; generous, not measured
)
UNKNOWN_MB = 24_000  # where a model's architecture is not known before it is fetched
SPARE_TIME, SPARE_MINUTES = 1.5, 10  # another node may be slower than the rehearsal's, a file system busier


def memory_mb(
    stage: str, run: dict[str, Any], models: Path, *, max_length: int, max_target_length: int, gpus: int
) -> int:
    """Megabytes of a node's memory for a stage of a run (run.json); the lengths are the experiment's; `gpus`: how many the
    stage is given, 0: the CPU.

    With GPUs each process reads the weights as they are stored and computes elsewhere.
    """
    try:
        architecture = architecture_of(run["model"], models)
        if gpus:
            needed = gpus * (RUNTIME_BYTES["cpu"] + CUDA_BYTES + stored_bytes(run, architecture))
        elif stage == "train":
            needed = estimate(run, architecture, gpu=False).peak_bytes
        else:
            needed = inference_bytes(run, architecture, max_length=max_length, max_target_length=max_target_length)
    except (TunebookError, KeyError):  # a family or a key that the estimate does not know
        return UNKNOWN_MB
    return math.ceil((SPARE * needed + SNAKEMAKE_BYTES) / 1e6)


@dataclass(frozen=True)
class Pace:
    """How fast a run went when it was rehearsed: a line of rehearsal.csv."""

    training_s: float
    validation_s: float  # a batch of `validation_rows` rows of full length
    validation_rows: int
    other_s: float
    test_rows: int


def paces(rehearsal: Path, identities: dict[str, str]) -> dict[str, Pace]:
    """The pace of each run that was measured. `rehearsal`: rehearsal.csv; `identities`: those of the study's runs by name:
    what was rehearsed under an earlier config says nothing."""
    if not rehearsal.exists():
        return {}
    with rehearsal.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line.get("identity", "") == identities.get(line["run"])]
    return {
        line["run"]: Pace(
            training_s=float(line["total_s"]),
            validation_s=float(line["validation_s"]),
            validation_rows=int(line["validation_rows"]),
            other_s=float(line["other_s"]),
            test_rows=int(float(line["test_rows"])),
        )
        for line in lines
        if line["total_s"] and line["test_rows"]
    }


def runtime_minutes(stage: str, run: dict[str, Any], measured: dict[str, Pace]) -> int | None:
    """Minutes to ask for: an upper bound from what was measured (see `paces`), and some to spare. None where the run was not.

    One seed of a run is measured for all. The untouched model goes at the pace of the slowest run of its experiment.
    """
    alike = f"{run['experiment']}/" if run["method"] == "base" else f"{run['experiment']}/{run['method']}/"
    found = [pace for name, pace in measured.items() if name.startswith(alike)]
    if not found:
        return None
    pace = max(found, key=lambda pace: pace.validation_s + pace.other_s)
    if stage == "train":
        seconds = pace.training_s
    else:
        seconds = _evaluation_s(run, pace) if stage == "evaluate" else _sampling_s(run, pace)
    return math.ceil(SPARE_TIME * seconds / 60) + SPARE_MINUTES


def _evaluation_s(run: dict[str, Any], pace: Pace) -> float:
    rows, counts = pace.test_rows, run["few_shot"]
    scored = rows * (1 + FEW_SHOT_DRAWS * sum(1 + count for count in counts))
    scored += 2 * run["generation"]["memorisation_rows"]
    answered = rows * (1 + FEW_SHOT_DRAWS * len(counts)) if run["dataset"]["labels"] else 0
    return pace.other_s + _forward_s(scored, run, pace) + _answers_s(answered, run, pace)


def _sampling_s(run: dict[str, Any], pace: Pace) -> float:
    generation = run["generation"]
    shown = generation["heldout_samples"] * max(1, len(run["dataset"]["labels"]))
    return pace.other_s + _answers_s(len(run["prompts"]) + shown + generation["scored_rows"], run, pace)


def _forward_s(rows: int, run: dict[str, Any], pace: Pace) -> float:
    """Seconds of a forward pass of so many rows, in batches of `generation.batch_size`."""
    size = run["generation"]["batch_size"]
    return math.ceil(rows / size) * max(1, size / pace.validation_rows) * pace.validation_s


def _answers_s(rows: int, run: dict[str, Any], pace: Pace) -> float:
    """Seconds of so many answers, at most: a token takes less than a forward pass over rows of full length."""
    return run["generation"]["max_new_tokens"] * _forward_s(rows, run, pace)
