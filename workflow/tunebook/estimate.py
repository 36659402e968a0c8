"""Stage `estimate`: what each run of a study will hold in memory, and whether it fits, from the config alone."""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunebook.cost.advice import advice, gigabytes
from tunebook.cost.architectures import Architecture
from tunebook.cost.machine import Machine, present_machine
from tunebook.cost.memory import Estimate, estimate
from tunebook.cost.study import architecture_of, download_bytes, trained_runs, trainings_of
from tunebook.cost.traces import is_traced
from tunebook.errors import TunebookError
from tunebook.finetuning.devices import check_device
from tunebook.records import read_json, write_text

SIZES = (16, 24, 80)  # GB (10^9 bytes) of the GPUs that people have
COLUMNS = (
    "parameters",
    "trained",
    "weights",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "peak, CPU",
    "peak, GPU",
)


@dataclass(frozen=True)
class Line:
    """A run's estimates for both kinds of device, or the reason why there are none."""

    run: dict[str, Any]
    trainings: int
    architecture: Architecture | None = None
    cpu: Estimate | None = None
    gpu: Estimate | None = None
    download: int | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        name = f"{self.run['experiment']}/{self.run['method']}"
        return name if self.trainings == 1 else f"{name} (x {self.trainings} trainings)"

    def on(self, device: str) -> Estimate | None:
        return self.gpu if device == "gpu" else self.cpu

    def cannot_on(self, device: str) -> str:
        """Why a device of this kind cannot train the run as it is asked for, if so."""
        try:
            check_device(self.run["training"], gpu=device == "gpu")
        except TunebookError as error:
            return str(error)
        return ""


def lines_of(study: Path, models: Path) -> list[Line]:
    """A line for each trained method of a study; of a search, its largest trial. `study`: study.json; `models`: folder of the fetched models.

    Models that were not traced yet are traced in a process of its own, which may import torch.
    """
    runs = trained_runs(study)
    if not all(_is_traced(run, models) for run in runs):
        command = [sys.executable, "-m", "tunebook", "trace", "--study", str(study), "--models", str(models)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TunebookError(
                f"the models could not be traced: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
            )
    trainings = trainings_of(study)
    lines = [_line(run, trainings[run["experiment"], run["method"]], models) for run in runs]
    largest: dict[str, Line] = {}
    for line in lines:
        before = largest.setdefault(line.name, line)
        if line.cpu and before.cpu and line.cpu.peak_bytes > before.cpu.peak_bytes:
            largest[line.name] = line
    return list(largest.values())


def _is_traced(run: dict[str, Any], models: Path) -> bool:
    try:
        architecture = architecture_of(run["model"], models)
    except TunebookError:  # nothing to trace
        return True
    return is_traced(architecture, run["task"], encoder_decoder=run["model"]["encoder_decoder"])


def _line(run: dict[str, Any], trainings: int, models: Path) -> Line:
    try:
        architecture = architecture_of(run["model"], models)
        cpu, gpu = (estimate(run, architecture, gpu=gpu) for gpu in (False, True))
    except (TunebookError, KeyError) as error:
        problem = str(error) if isinstance(error, TunebookError) else f"its architecture does not say {error}"
        return Line(run, trainings, download=download_bytes(run["model"], None), problem=problem)
    return Line(run, trainings, architecture, cpu, gpu, download_bytes(run["model"], cpu.stored_bytes))


def table(lines: list[Line]) -> str:
    """The estimates as text, a run a line."""
    rows = [("run", *COLUMNS)]
    for line in lines:
        if line.cpu is None or line.gpu is None:
            rows.append((line.name, f"not known: {line.problem}"))
            continue
        found = line.cpu
        sizes = (found.weight_bytes, found.adapter_bytes, found.gradient_bytes, found.optimizer_bytes)
        rows.append(
            (
                line.name,
                f"{found.parameters / 1e6:.1f} M",
                f"{found.trainable_parameters / 1e6:.2f} M",
                *map(gigabytes, (*sizes, found.activation_bytes, found.peak_bytes, line.gpu.peak_bytes)),
            )
        )
    whole = [row for row in rows if len(row) > 2]
    widths = [max(len(row[column]) for row in whole) for column in range(len(whole[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    text = [row[0].ljust(widths[0]) + "  " + _cells(row[1:], widths[1:]) for row in rows]
    return "\n".join(line.rstrip() for line in text)


def _cells(cells: tuple[str, ...], widths: list[int]) -> str:
    if len(cells) == 1:
        return cells[0]
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def fitting(lines: list[Line]) -> str:
    """Which runs fit a GPU of each of the usual sizes."""
    text = []
    known = [line for line in lines if line.gpu is not None]
    unknown = ", ".join(line.name for line in lines if line.gpu is None)
    for size in SIZES:
        fit = [line.name for line in known if line.gpu.needed_bytes <= size * 10**9]
        too_large = [f"{line.name} ({gigabytes(line.gpu.needed_bytes)})" for line in known if line.name not in fit]
        told = ["all" if len(fit) == len(lines) else ", ".join(fit) or "none"] if known else []
        told += [f"too large: {', '.join(too_large)}"] if too_large else []
        told += [f"not known: {unknown}"] if unknown else []
        text.append(f"fits a GPU of {size} GB: {'; '.join(told)}")
    return "\n".join(text)


def fits_this_machine(lines: list[Line]) -> str:
    """The last line, where no run is refused."""
    unknown = ", ".join(line.name for line in lines if line.gpu is None)
    if not unknown:
        return "every run fits this machine"
    known = "every run whose size is known fits this machine; " if any(line.gpu for line in lines) else ""
    return f"{known}whether these fit is not known: {unknown}"


def downloads(lines: list[Line]) -> str:
    """What is downloaded for the models of a study; data sets come on top."""
    sizes = {line.run["model"]["name"]: line.download for line in lines}
    known = {name: size for name, size in sizes.items() if size is not None}
    unknown = [f"{name} (models.{name}.download_bytes can say it)" for name in sizes if name not in known]
    told = []
    if known:
        each = ", ".join(f"{name} {gigabytes(size) if size else 'none'}" for name, size in known.items())
        told.append(f"{gigabytes(sum(known.values()))} ({each})")
    if unknown:
        told.append(f"not known for {', '.join(unknown)}")
    return f"download: {'; '.join(told)}; data sets come on top"


def refusals(lines: list[Line], machine: Machine) -> list[str]:
    """Runs that this machine cannot train: what was found, what is allowed, and changes that would make them fit."""
    text = []
    for line in lines:
        found = line.on(machine.device)
        if found is None or line.architecture is None:
            continue
        gpu = machine.device == "gpu"
        if problem := line.cannot_on(machine.device):
            text.append(f"{line.name}: {problem}")
        if found.needed_bytes > machine.memory_bytes:
            changes = advice(line.run, line.architecture, gpu=gpu, room=machine.memory_bytes)
            text.append(
                f"{line.name}: needs {gigabytes(found.needed_bytes)}, this machine has {gigabytes(machine.memory_bytes)}; "
                f"{'any of these makes it fit' if len(changes) > 1 else 'to make it fit'}:"
                + "".join(f"\n    - {change}" for change in changes)
            )
    return text


def as_csv(lines: list[Line]) -> str:
    """estimate.csv: a line a run and device."""
    found = [(line, each) for line in lines for each in (line.cpu, line.gpu) if each is not None]
    columns = ["run", "device", "peak_bytes", "needed_bytes", "download_bytes"]
    columns += [key for key in asdict(found[0][1]) if key not in columns] if found else []
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for line, each in found:
        sums = {"peak_bytes": each.peak_bytes, "needed_bytes": each.needed_bytes, "download_bytes": line.download}
        writer.writerow({**asdict(each), **sums})
    return text.getvalue()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--models", type=Path, required=True, help="folder of the fetched models, where there are any")
    parser.add_argument("--output", type=Path, required=True, help="estimate.csv")


def main(args: argparse.Namespace) -> None:
    machine = present_machine(os.environ)
    lines = lines_of(args.study, args.models)
    title = read_json(args.study)["study"]
    write_text(args.output, as_csv(lines))
    print(f"Estimate for the study {title}, from its config; written to {args.output}\n")
    print(table(lines))
    print(
        "\nPeaks are of training with every row as long as max_length allows. A CPU's holds the libraries, too; a GPU's is what"
    )
    print("torch allocates, and the lines below add a context of 0.6 GB and 5 % that is lost between blocks.\n")
    print(downloads(lines))
    print(fitting(lines))
    print(
        f"this machine: {machine.name} with {gigabytes(machine.memory_bytes)}, {gigabytes(machine.free_bytes)} free now",
        flush=True,
    )
    refused = refusals(lines, machine)
    if refused:
        names = {each.split(": ")[0] for each in refused}
        count = f"{len(names)} of {len(lines)} runs"
        raise TunebookError(
            f"{count} cannot be trained on this machine\n" + "\n".join(f"  - {each}" for each in refused)
        )
    print(fits_this_machine(lines))
