"""A tiny study on a real SLURM, disturbed, ends in the artefacts of a local run.

Not passing yet: jobs are submitted, start and train, but the trainers' environment showed no CUDA_VISIBLE_DEVICES, so the
test stops at the distinct devices; what follows in it has not been seen to work.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tests.faults.artefacts import artefacts, differences
from tests.slurm import cluster

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(cluster.reason_not_to()), reason=str(cluster.reason_not_to()))]
ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "profiles", "workflow", "report", "envs", "config")
TRAINING = {
    "learning_rate": 0.01,
    "max_steps": 400,
    "per_device_train_batch_size": 4,
    "evals_per_epoch": 1,
    "max_length": 32,
}
# Of the two runs that train, one is short of memory at its first try.
OVERRIDES = {
    "latency-wait": 5,
    "slurm-init-seconds-before-status-checks": 2,
    "default-resources": {"slurm_partition": "main", "nodes": 1, "mem_mb": 1500, "runtime": 10},
    "set-threads": {"train": 1, "evaluate": 1, "sample": 1},
    "set-resources": {
        "train": {"mem_mb": "(500 if wildcards.method == 'full' else 2000) + 2000 * (attempt - 1)", "runtime": 10},
        "evaluate": {"mem_mb": 2000, "runtime": 10},
        "sample": {"mem_mb": 2000, "runtime": 10},
    },
}


@pytest.fixture(scope="module")
def slurm():
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # as many threads here as there
    cluster.up()
    yield
    cluster.down()
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, slurm):
    """A checkout with a tiny study, and the artefacts that it has after a local run."""
    folder = tmp_path_factory.mktemp("cluster")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copy(ROOT / part, folder / part)
    (folder / "sources").mkdir()
    config = tiny.study(folder / "sources", methods=["lora", "full"], training=TRAINING)
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    profile = folder / "workflow" / "profiles" / "slurm" / "config.yaml"
    profile.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | OVERRIDES, sort_keys=False))
    assert start(folder, "--cores", "1").wait() == 0, (folder / "snakemake.log").read_text()[-3000:]
    local = artefacts(folder / "results" / "tiny")
    shutil.rmtree(folder / "results" / "tiny" / "runs")
    shutil.rmtree(folder / "results" / "tiny" / "tables")
    return folder, local


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "config/tiny.yaml"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "snakemake.log").open("a") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def trainers() -> dict[int, tuple[str, str, str]]:
    """Processes that train inside of SLURM jobs: id -> job, node, CUDA_VISIBLE_DEVICES."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cmdline").read_bytes().split(b"\0")[1:4] != [b"-m", b"tunebook", b"train"]:
                continue
            lines = (place / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        environment = dict(line.split("=", 1) for line in lines if "=" in line)
        if "SLURM_JOB_ID" in environment:
            names = ("SLURM_JOB_ID", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES")
            found[int(place.name)] = tuple(environment.get(name, "") for name in names)
    return found


def wait_for(what: str, condition, snakemake: subprocess.Popen, log: Path, seconds: float = 240):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        if snakemake.poll() is not None:
            pytest.fail(f"Snakemake ended before {what}: {log.read_text()[-3000:]}")
        time.sleep(0.1)
    return pytest.fail(f"no {what} within {seconds:.0f} s: {log.read_text()[-3000:]}")


def test_a_disturbed_study_ends_as_a_local_one(checkout):
    folder, local = checkout
    log, profile = folder / "snakemake.log", ("--workflow-profile", "workflow/profiles/slurm")
    snakemake = start(folder, *profile)
    together = wait_for("two trainers at once", lambda: len(now := trainers()) == 2 and now, snakemake, log)
    places = [place[1:] for place in together.values()]
    assert len(set(places)) == 2, places
    assert all(device for _, device in places), places
    job = next(iter(together.values()))[0]
    subprocess.run(["scontrol", "requeue", job], check=True)  # what preemption does to it
    again = wait_for("a trainer after the requeue", lambda: set(trainers()) - set(together), snakemake, log)
    subprocess.run(["scancel", trainers()[next(iter(again))][0]], check=True)
    wait_for("a trainer after scancel", lambda: set(trainers()) - set(together) - again, snakemake, log)
    snakemake.send_signal(signal.SIGKILL)
    snakemake.wait()
    assert start(folder, "--unlock", "--cores", "1").wait() == 0
    assert start(folder, *profile).wait() == 0, log.read_text()[-3000:]
    assert differences(artefacts(folder / "results" / "tiny"), local) == []
