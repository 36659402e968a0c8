"""One run, tried out: the stage `train` itself, in a process of its own, on made-up tokens and for a few steps."""

from __future__ import annotations

import contextlib
import copy
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.data.splits import write_tokens
from tunebook.digests import digests_of
from tunebook.records import read_json, write_json

STEPS = 3  # the first warms up; the others are timed
END_TOKEN = 2  # where an encoder-decoder reads the class
FIRST_TOKEN = 4  # below stand the special tokens of the random source's tokenizer
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "memoryerror")  # of CUDA, of torch on a CPU, of Python
KILLED = (-9, 137)  # by the kernel, where memory ran out
STOPPED = 75


@dataclass(frozen=True)
class Rehearsal:
    """What a few steps found. `fits`: yes, no, or unknown where it could not be tried; the rest is None where it failed."""

    fits: str
    reason: str
    record: dict[str, Any] | None = None  # training.json
    seconds_a_step: float | None = None
    validation_s: float | None = None  # one batch of validation rows
    other_s: float | None = None  # start, loading, saving


def trial_spec(run: dict[str, Any]) -> dict[str, Any]:
    """The run's spec with a few steps and one validation, all else as it is."""
    spec = copy.deepcopy(run)
    spec["training"] |= {"max_steps": STEPS, "evals_per_epoch": 1, "early_stopping_patience": None, "warmup_steps": 0}
    return spec


def made_up_rows(run: dict[str, Any], count: int, vocabulary: int) -> list[dict[str, Any]]:
    """Rows of random tokens, as long as the run allows; every other one is a token shorter, so that there is padding and
    with it a mask, as in real batches."""
    training, draw = run["training"], random.Random(run["seed"])
    rows = []
    for number in range(count):
        ids = [draw.randrange(FIRST_TOKEN, vocabulary) for _ in range(training["max_length"] - number % 2)]
        labels = ids
        if run["task"] == "seq2seq-lm":
            labels = [draw.randrange(FIRST_TOKEN, vocabulary) for _ in range(training["max_target_length"])]
        elif run["task"] == "sequence-classification":
            labels, ids[-1] = [number % len(run["dataset"]["labels"])], END_TOKEN
        rows.append({"row": f"{number}", "input_ids": ids, "labels": labels})
    return rows


def write_made_up_tokens(run: dict[str, Any], vocabulary: int, folder: Path) -> None:
    """Made-up tokens as the stage `tokenize` leaves them: rows for the steps of the trial, and one validation batch."""
    training = run["training"]
    step = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    counts = {"train": STEPS * step, "validation": validation_batch(training)}
    for split, count in counts.items():
        write_tokens(folder / split, made_up_rows(run, count, vocabulary))
    write_json(folder / "lengths.json", {"digests": digests_of(folder)})


def validation_batch(training: dict[str, Any]) -> int:
    """Rows of a validation batch."""
    return min(training["per_device_eval_batch_size"], training["max_validation_rows"] or 10**9)


def try_out(run: dict[str, Any], model: Path, work: Path, *, max_seconds: float) -> Rehearsal:
    """Train a run for a few steps on made-up tokens. `model`: folder of random weights; `work`: an empty folder.

    A run that fails is a finding, not an error.
    """
    config = read_json(model / "config.json")
    write_json(work / "run.json", trial_spec(run))
    write_made_up_tokens(run, config.get("vocab_size") or config["encoder"]["vocab_size"], work / "tokens")
    places = {"run": work / "run.json", "model": model, "tokens": work / "tokens", "checkpoints": work / "checkpoints"}
    options = [part for name, place in places.items() for part in (f"--{name}", str(place))]
    command = [sys.executable, "-m", "tunebook", "train", *options, "--output", str(work / "out")]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--max-seconds", str(max_seconds)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_killed_first,
    )
    wall_s = time.monotonic() - started
    if done.returncode:
        return _failed(done, max_seconds)
    return _measured(read_json(work / "out" / "training.json"), work / "out" / "history.csv", wall_s)


def _killed_first() -> None:
    """Let the kernel end this process before any other, where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _failed(done: subprocess.CompletedProcess, max_seconds: float) -> Rehearsal:
    output = (done.stdout + done.stderr).strip()
    last = output.splitlines()[-1] if output else f"exit status {done.returncode}"
    if done.returncode in KILLED:
        return Rehearsal("no", "killed by the kernel when memory ran out")
    if done.returncode == STOPPED:
        return Rehearsal("unknown", f"{STEPS} steps take longer than {max_seconds:.0f} s here")
    if done.returncode == 2:
        words = last.removeprefix("tunebook train: ")
        return Rehearsal("no" if _ran_out(words) else "unknown", words)
    return Rehearsal("no" if _ran_out(output) else "unknown", f"training failed: {last[:300]}")


def _ran_out(words: str) -> bool:
    return any(mark in words.lower() for mark in OUT_OF_MEMORY)


def _measured(record: dict[str, Any], history: Path, wall_s: float) -> Rehearsal:
    import pandas

    lines = pandas.read_csv(history)
    steps, validations = (
        lines[lines["split"] == split].set_index("step")["wall_s"] for split in ("train", "validation")
    )
    batch = record["micro_batch"]
    return Rehearsal(
        fits="yes",
        reason=f"with {batch} rows at a time",
        record=record,
        seconds_a_step=float(steps.iloc[-1] - steps.iloc[0]) / (len(steps) - 1),
        validation_s=float(validations.iloc[-1] - steps.iloc[-1]),
        other_s=max(0.0, wall_s - record["wall_s"]),
    )
