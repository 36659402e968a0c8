"""Jobs of a tiny study on the test cluster: the profile for it, trainers that are held, what SLURM and the logs say."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkout import log_of, stages
from tests.slurm import cluster

MARKS = [pytest.mark.slurm, pytest.mark.skipif(bool(cluster.reason_not_to()), reason=str(cluster.reason_not_to()))]
SLURM = ("--workflow-profile", "workflow/profiles/slurm")
PATIENCE_S = 600
# The profile itself, but for what this cluster has less of: time, memory, cores; and no shared file system to wait for.
SITE = {
    "latency-wait": 5,
    "slurm-init-seconds-before-status-checks": 2,
    "slurm-keep-successful-logs": True,  # tests read them
    "default-resources": {"slurm_partition": "main", "nodes": 1, "mem_mb": 1500, "runtime": 50},
    "set-threads": {"train": 1, "evaluate": 1, "sample": 1},
}


def set_profile(folder: Path, *, training: dict[str, Any], **scoring: Any) -> None:
    """Fit the profile of a checkout to the test cluster. `training`, `scoring`: resources of `train`; of `evaluate` and
    `sample`."""
    profile = folder / "workflow" / "profiles" / "slurm" / "config.yaml"
    scoring = {"max_runtime": 50, **scoring}
    resources = {"set-resources": {"train": training, "evaluate": scoring, "sample": scoring}}
    profile.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | SITE | resources, sort_keys=False))


def wait_for(what: str, condition: Callable[[], Any], folder: Path, snakemake: subprocess.Popen) -> Any:
    """The condition's value, once there is one."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if value := condition():
            return value
        if snakemake.poll() is not None:
            pytest.fail(f"Snakemake ended before {what}: {told(folder)}")
        time.sleep(0.05)
    return pytest.fail(f"no {what} within {PATIENCE_S} s: {told(folder)}")


def logs_say(folder: Path, words: str) -> int:
    """How many jobs' logs have these words."""
    logs = (folder / ".snakemake" / "slurm_logs").rglob("*.log")
    return sum(words in text_of(log) for log in logs)


def held(folder: Path, method: str, snakemake: subprocess.Popen, *, other_than: str = "") -> dict[str, str]:
    """Wait for the trainer of a method to have a checkpoint, and stop it there. Returns its environment, and its `id`."""
    log = folder / f"results/tiny/logs/train/words/{method}.seed-0.log"

    def trainer() -> dict[str, str] | None:
        if text_of(log).count("eval_loss") < 2:  # then the checkpoint of the first is whole
            return None
        for number in stages(folder, "train"):
            if f"/{method}/" in " ".join(command_of(number)) and str(number) != other_than:
                os.kill(number, signal.SIGSTOP)
                return environment_of(number) | {"method": method}
        return None

    return wait_for(f"a checkpoint of {method}", trainer, folder, snakemake)


def command_of(number: int) -> list[str]:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def environment_of(number: int) -> dict[str, str]:
    """A process's environment, and its `id`; no more than the id once it has ended."""
    try:
        lines = Path(f"/proc/{number}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        lines = []
    return dict(line.split("=", 1) for line in lines if "=" in line) | {"id": str(number)}


def account() -> dict[str, dict[str, str]]:
    """What SLURM says of each job: id -> JobState, Restarts, Comment (rule and wildcards), MinMemoryNode ..."""
    done = subprocess.run(["scontrol", "show", "job", "-o"], capture_output=True, text=True, check=True, timeout=60)
    lines = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in done.stdout.splitlines()]
    return {line["JobId"]: line for line in lines if "JobId" in line}


def text_of(file: Path) -> str:
    """A log's text; none while there is no such file."""
    try:
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def told(folder: Path) -> str:
    return text_of(log_of(folder))[-4000:]
