"""A tiny study on a real SLURM, disturbed in every way that a cluster knows, ends as a local run does.

One study is run once, and disturbed; each test then looks at one side of what happened. A trainer that is about to be
disturbed is held (SIGSTOP) at a checkpoint, so that it does not end before.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.checkout import checkout, run, stages, start
from tests.faults.artefacts import artefacts, differences
from tests.slurm import cluster
from tests.slurm.jobs import MARKS, SLURM, account, environment_of, held, logs_say, set_profile, told, wait_for

pytestmark = MARKS
TOO_LITTLE_MB, ENOUGH_MB = 500, 2500
TRAINING = {
    "mem_mb": f"{TOO_LITTLE_MB} if wildcards.method == 'full' and attempt == 1 else {ENOUGH_MB}",
    "runtime": 50,
}
WAITS = "another process trains this very run"


@dataclass
class Disturbed:
    """What was seen of a disturbed study."""

    folder: Path
    local: dict[str, object]  # the artefacts of the local run
    preempted: str = ""  # ids of the jobs that it was done to
    cancelled: str = ""
    outlived: set[str] = field(default_factory=set)  # jobs that went on when Snakemake was killed
    samples: list[dict[str, tuple[str, str]]] = field(default_factory=list)  # each: job -> node, CUDA_VISIBLE_DEVICES
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)  # SLURM's own account, in the end
    started: list[subprocess.Popen] = field(default_factory=list)  # Snakemakes
    status: int | None = None  # of the last Snakemake


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, slurm) -> Disturbed:
    folder = tmp_path_factory.mktemp("cluster").resolve()
    results = checkout(folder, methods=["lora", "full"])
    set_profile(folder, training=TRAINING)
    assert run(folder, "--cores", "1") == 0, told(folder)
    seen = Disturbed(folder, artefacts(results))
    shutil.rmtree(results / "runs")
    shutil.rmtree(results / "tables")
    (results / "report.html").unlink()
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(seen, done))
    watcher.start()
    try:
        disturb(seen)
    finally:
        for snakemake in seen.started:
            snakemake.kill()
            snakemake.wait()
        done.set()
        watcher.join()
        seen.jobs = account()
    return seen


def disturb(seen: Disturbed) -> None:
    """Preempt one job, cancel another, kill Snakemake, start it again and let it end."""
    folder = seen.folder
    snakemake = start(folder, *SLURM)
    seen.started.append(snakemake)
    lora = held(folder, "lora", snakemake)
    full = held(folder, "full", snakemake)  # its second try: the first one was killed for its memory
    seen.preempted, node = lora["SLURM_JOB_ID"], lora["SLURMD_NODENAME"]
    seen.cancelled = full["SLURM_JOB_ID"]
    subprocess.run(["scancel", seen.cancelled], check=True)
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-w", node, "--exclusive", "--mem=100", "-o", "/dev/null"]
    subprocess.run([*urgent, "--wrap", "true"], check=True, stdout=subprocess.DEVNULL)
    with ThreadPoolExecutor() as pool:  # whichever runs again first
        again = list(
            pool.map(lambda before: held(folder, before["method"], snakemake, other_than=before["id"]), (lora, full))
        )
    seen.outlived = {environment["SLURM_JOB_ID"] for environment in again}
    snakemake.kill()
    snakemake.wait()
    assert run(folder, "--unlock", "--cores", "1") == 0, told(folder)
    snakemake = start(folder, *SLURM)
    seen.started.append(snakemake)
    wait_for("two jobs that wait for those of before", lambda: logs_say(folder, WAITS) == 2, folder, snakemake)
    for environment in again:
        os.kill(int(environment["id"]), signal.SIGCONT)
    seen.status = snakemake.wait()


def watch(seen: Disturbed, done: threading.Event) -> None:
    """See, five times a second, which job computes on which device."""
    while not done.wait(0.2):
        now = {}
        for number in stages(seen.folder, "train", "evaluate", "sample"):
            environment = environment_of(number)
            if "SLURM_JOB_ID" in environment:
                place = environment.get("SLURMD_NODENAME", ""), environment.get("CUDA_VISIBLE_DEVICES", "")
                now[environment["SLURM_JOB_ID"]] = place
        if now and now not in seen.samples[-1:]:
            seen.samples.append(now)


def test_gpu_jobs_have_devices_of_their_own(disturbed):
    assert any(len(sample) > 1 for sample in disturbed.samples)
    for sample in disturbed.samples:
        places = list(sample.values())
        assert all(device in ("0", "1") for _, device in places), sample
        assert len(set(places)) == len(places), sample


def test_a_job_that_was_killed_for_its_memory_succeeds_with_more(disturbed):
    tries = {
        job["MinMemoryNode"]: number
        for number, job in disturbed.jobs.items()
        if "train_wildcards_words_full" in job.get("Comment", "")
    }
    small, enough = tries[f"{TOO_LITTLE_MB}M"], tries[f"{ENOUGH_MB}M"]
    assert disturbed.jobs[small]["JobState"] in ("OUT_OF_MEMORY", "FAILED")
    logs = "".join(log.read_text() for log in (disturbed.folder / ".snakemake/slurm_logs").rglob(f"{small}.log"))
    assert "oom" in logs.lower() or "memory limit" in logs
    assert disturbed.jobs[enough]["JobState"] == "COMPLETED"


def test_a_job_that_was_cancelled_by_hand_runs_again(disturbed):
    assert disturbed.jobs[disturbed.cancelled]["JobState"] == "CANCELLED"
    assert disturbed.cancelled not in disturbed.outlived


def test_a_preempted_job_is_requeued_and_goes_on(disturbed):
    job = disturbed.jobs[disturbed.preempted]
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert "preempted" in (cluster.FOLDER / "log/slurmctld.log").read_text()


def test_jobs_outlive_snakemake_and_nothing_is_trained_twice(disturbed):
    assert disturbed.status == 0, told(disturbed.folder)
    assert {disturbed.jobs[number]["JobState"] for number in disturbed.outlived} == {"COMPLETED"}
    assert logs_say(disturbed.folder, "the other process has trained it") == len(disturbed.outlived) == 2


def test_the_study_ends_as_a_local_one(disturbed):
    assert differences(artefacts(disturbed.folder / "results" / "tiny"), disturbed.local) == []
