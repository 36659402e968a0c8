"""A copy of the workflow with a tiny study in it, and its processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests import tiny

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "profiles", "workflow", "report", "envs", "config")
TRAINING = {  # ten steps an epoch, each with a validation and a checkpoint
    "learning_rate": 0.01,
    "max_steps": 400,
    "per_device_train_batch_size": 4,
    "evals_per_epoch": 1,
    "max_length": 32,
}


def copy_workflow(folder: Path) -> None:
    """Copy the workflow to a folder, with an empty folder `sources` in it."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copy(ROOT / part, folder / part)
    (folder / "sources").mkdir()


def checkout(folder: Path, **experiment: Any) -> Path:
    """Copy the workflow to a folder, with the study config/tiny.yaml. Returns the folder of the study's results."""
    copy_workflow(folder)
    config = tiny.study(folder / "sources", **{"training": TRAINING, **experiment})
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return folder / "results" / "tiny"


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Snakemake on the tiny study, in a process group of its own, as a terminal would start it; it writes snakemake.log."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "config/tiny.yaml"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with log_of(folder).open("a") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def run(folder: Path, *arguments: str, **environment: str) -> int:
    """Snakemake on the tiny study, waited for. Returns its exit status."""
    return start(folder, *arguments, **environment).wait()


def log_of(folder: Path) -> Path:
    return folder / "snakemake.log"


def stages(folder: Path, *names: str) -> list[int]:
    """Ids of the processes of stages, all or those named, that run in a checkout."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[1:3] != ["-m", "tunebook"] or (names and words[3] not in names):
                continue
            if (place / "cwd").readlink() == folder:
                found.append(int(place.name))
        except OSError:
            continue
    return found
