"""Stage `rehearse`: each run of a study for a few steps, with random weights, on this machine -> rehearsal.csv, rehearsal.md.

Nothing is downloaded. A run is tried out by the stage `train` itself, in a process of its own, on made-up tokens as long
as the run allows; what it measures is what training.json would say. A run that does not fit is a row, not an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas

from tunebook.cost.advice import gigabytes
from tunebook.cost.machine import Machine, present_machine
from tunebook.cost.plan import Plan, plan_of
from tunebook.cost.rehearsal import STEPS, Rehearsal, try_out, validation_batch
from tunebook.cost.study import named_architecture
from tunebook.errors import TunebookError
from tunebook.estimate import Line, lines_of
from tunebook.records import read_json, write_csv, write_json, write_text

ENCODERS_FILES = (
    3  # an assembled model is made of the encoder's file and stands beside it: at most so many times its size
)


@dataclass(frozen=True)
class Row:
    """A line of rehearsal.csv. None where it was not measured, or where the number of rows is not known."""

    run: str
    identity: str  # of the run as it was tried out
    trainings: int
    fits: str  # yes, no, unknown
    reason: str
    device: str | None
    micro_batch: int | None
    peak_memory_bytes: int | None
    estimated_peak_bytes: int | None
    seconds_a_step: float | None
    validation_s: float | None  # a batch of `validation_rows` rows
    validation_rows: int
    other_s: float | None  # start, loading, saving
    steps: int | None
    training_rows: int | None
    test_rows: int | None
    validations: int | None
    total_s: float | None
    disk_bytes: int | None


def rehearse(study: Path, models: Path, work: Path, *, machine: Machine, max_seconds: float) -> list[Row]:
    """Try out each trained run of a study (the first of its seeds). `work`: an empty folder for weights and tokens."""
    lines = lines_of(study, models)
    _say_what_is_needed(lines, work, machine)
    rows: list[Row] = []
    for line in sorted(lines, key=lambda line: line.run["model"]["name"]):
        wanted = work / "models" / line.run["model"]["name"]
        for other in wanted.parent.glob("*"):  # one model's weights at a time
            if other != wanted:
                shutil.rmtree(other)
        tried = _refusal(line, machine) or _no_room(line, work) or _tried(line, wanted, work, max_seconds)
        rows.append(_row(line, tried, study, machine))
        _show(rows[-1])
    order = {line.run["run"]: place for place, line in enumerate(lines)}
    return sorted(rows, key=lambda row: order[row.run])


def _tried(line: Line, model: Path, work: Path, max_seconds: float) -> Rehearsal:
    if not model.exists():
        problem = _make_weights(line, model, work)
        if problem:
            return Rehearsal("unknown", problem)
    print(f"rehearse {line.run['run']}: {STEPS} steps with random weights ...", flush=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        return try_out(line.run, model, Path(folder), max_seconds=max_seconds)


def _make_weights(line: Line, folder: Path, work: Path) -> str:
    """Random weights of the run's architecture, by the stage `fetch-model`. Returns what went wrong, or nothing."""
    model = line.run["model"]
    source = {"type": "random", "architecture": named_architecture(model) or str(line.architecture.origin), "seed": 0}
    spec = {key: model[key] for key in ("name", "task", "encoder_decoder", "licence")} | {"source": source}
    write_json(work / "study.json", {"specs": {"fetch-model": {model["name"]: spec}}})
    print(f"rehearse: random weights for {model['name']}, {gigabytes(line.cpu.stored_bytes)} ...", flush=True)
    command = [sys.executable, "-m", "tunebook", "fetch-model", "--study", str(work / "study.json")]
    done = subprocess.run(
        [*command, "--model", model["name"], "--output", str(folder)], capture_output=True, text=True, check=False
    )
    print(done.stderr, file=sys.stderr)
    return f"no random weights: {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""


def _refusal(line: Line, machine: Machine) -> Rehearsal | None:
    """Why a run is not tried out at all, if so: it would not end well, and perhaps not for it alone."""
    found = line.on(machine.device)
    if found is None:
        return Rehearsal("unknown", line.problem)
    if problem := line.cannot_on(machine.device):
        return Rehearsal("no", f"{problem}; not tried out")
    needed = found.needed_bytes
    if needed > machine.memory_bytes:
        return Rehearsal(
            "no",
            f"the estimate is {gigabytes(needed)}, this machine has {gigabytes(machine.memory_bytes)}; not tried out",
        )
    free = present_machine(os.environ).free_bytes
    if needed > free:
        return Rehearsal(
            "unknown", f"the estimate is {gigabytes(needed)}, {gigabytes(free)} are free now; not tried out"
        )
    return None


def _disk_bytes(line: Line) -> int:
    """What the random weights take, at most, until the rehearsal ends."""
    return line.cpu.stored_bytes * (ENCODERS_FILES if line.run["model"]["encoder_decoder"] else 1)


def _no_room(line: Line, work: Path) -> Rehearsal | None:
    free = shutil.disk_usage(work).free
    needed = _disk_bytes(line) + plan_of(line, None).checkpoint_bytes
    made = work / "models" / line.run["model"]["name"]
    if made.exists() or needed <= free:
        return None
    return Rehearsal("unknown", f"its random weights take {gigabytes(needed)}, the disk has {gigabytes(free)} free")


def _say_what_is_needed(lines: list[Line], work: Path, machine: Machine) -> None:
    known = [line for line in lines if line.cpu is not None and _refusal(line, machine) is None]
    disk = max((_disk_bytes(line) + plan_of(line, None).checkpoint_bytes for line in known), default=0)
    print(f"rehearse: {len(lines)} runs, of which {len(known)} are tried out on {machine.name}; at most {gigabytes(disk)} of "
          f"disk, until the end ({gigabytes(shutil.disk_usage(work).free)} are free)", flush=True)  # fmt: skip


def _row(line: Line, tried: Rehearsal, study: Path, machine: Machine) -> Row:
    plan = plan_of(line, study) if line.cpu is not None else Plan()
    record, found = tried.record or {}, line.on(machine.device)
    return Row(
        run=line.run["run"],
        identity=line.run["identity"],
        trainings=line.trainings,
        fits=tried.fits,
        reason=tried.reason,
        device=record.get("device"),
        micro_batch=record.get("micro_batch"),
        peak_memory_bytes=record.get("peak_memory_bytes"),
        estimated_peak_bytes=found.peak_bytes if found else None,
        seconds_a_step=tried.seconds_a_step,
        validation_s=tried.validation_s,
        validation_rows=validation_batch(line.run["training"]),
        other_s=tried.other_s,
        steps=plan.steps,
        training_rows=plan.training_rows,
        test_rows=plan.test_rows,
        validations=plan.validations,
        total_s=plan.seconds(tried),
        disk_bytes=plan.disk_bytes,
    )


def _show(row: Row) -> None:
    measured = ""
    if row.peak_memory_bytes:
        measured = (
            f"; peak {gigabytes(row.peak_memory_bytes)} (estimated {gigabytes(row.estimated_peak_bytes)}), "
            f"{row.seconds_a_step:.2f} s a step"
        )
    print(f"rehearse {row.run}: fits: {row.fits}, {row.reason}{measured}", flush=True)


def report(title: str, rows: list[Row], lines: list[Line], machine: Machine) -> str:
    """rehearsal.md: what fits, peaks, times, and what the whole study takes."""
    head = ("run", "fits", "peak", "estimated", "difference", "s a step", "steps", "training", "why")
    text = [f"# Rehearsal of the study {title}", ""]
    text += [
        f"On {machine.name} with {gigabytes(machine.memory_bytes)}; {STEPS} steps a run with random weights and made-up rows"
    ]
    text += [
        "as long as max_length allows. Rows of real data are shorter: times and peaks are upper bounds, and often far above. The",
        "difference is the estimated peak less the measured one, as a share of the measured one.",
        "",
    ]
    text += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    text += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join([*text, "", *_totals(rows, lines), ""])


def _cells(row: Row) -> list[str]:
    def told(value: Any, words: str) -> str:
        return "" if value is None else words

    peak, estimated = row.peak_memory_bytes, row.estimated_peak_bytes
    return [
        row.run if row.trainings == 1 else f"{row.run} (x {row.trainings} trainings)",
        row.fits,
        told(peak, gigabytes(peak)),
        told(estimated, gigabytes(estimated)),
        f"{estimated / peak - 1:+.1%}" if peak and estimated else "",
        told(row.seconds_a_step, f"{row.seconds_a_step or 0:.2f}"),
        told(row.steps, str(row.steps)),
        told(row.total_s, _hours(row.total_s or 0)),
        row.reason,
    ]


def _totals(rows: list[Row], lines: list[Line]) -> list[str]:
    """Time and disk of the whole study, and what they leave out."""
    times = [row for row in rows if row.total_s is not None]
    seconds = sum(row.total_s * row.trainings for row in times)
    left = [row.run for row in rows if row.total_s is None]
    share = "all runs" if not left else f"{len(times)} of {len(rows)} runs"
    text = [f"Training of {share}: {_hours(seconds)}, at most." if times else "How long training takes is not known."]
    unknown = f"; {', '.join(left)} (not measured here, or the number of rows is not known: datasets.NAME.rows)"
    text.append(f"Left out: downloads; answers and scores of untouched and trained models{unknown if left else ''}.")
    models = {line.run["model"]["name"]: line for line in lines if line.cpu is not None}
    stored = sum(line.cpu.stored_bytes for line in models.values())
    cached = sum(line.cpu.stored_bytes for line in models.values() if line.run["model"]["source"]["type"] == "hub")
    runs = sum(row.disk_bytes * row.trainings for row in rows if row.disk_bytes is not None)
    work = max((plan_of(line, None).checkpoint_bytes for line in lines if line.cpu is not None), default=0)
    text.append(f"Disk: {gigabytes(stored)} of models, {gigabytes(cached)} in the hub's cache, {gigabytes(runs)} of what is "
                f"trained, {gigabytes(work)} of checkpoints while a run trains.")  # fmt: skip
    return text


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--models", type=Path, required=True, help="folder of the fetched models, where there are any")
    parser.add_argument("--output", type=Path, required=True, help="folder for rehearsal.csv and rehearsal.md")
    parser.add_argument("--max-seconds", type=float, default=3600, help="give up a run after so many seconds")


def main(args: argparse.Namespace) -> None:
    machine = present_machine(os.environ)
    work = args.output / "rehearsal"
    shutil.rmtree(work, ignore_errors=True)  # what a killed rehearsal left
    work.mkdir(parents=True)
    try:
        rows = rehearse(args.study, args.models, work, machine=machine, max_seconds=args.max_seconds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not rows:
        raise TunebookError(f"{args.study}: no run trains anything; there is nothing to rehearse")
    text = report(read_json(args.study)["study"], rows, lines_of(args.study, args.models), machine)
    columns = [each.name for each in fields(Row)]
    write_csv(args.output / "rehearsal.csv", pandas.DataFrame([asdict(row) for row in rows], columns=columns))
    write_text(args.output / "rehearsal.md", text)
    print(text, flush=True)
