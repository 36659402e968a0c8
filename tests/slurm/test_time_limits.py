"""A run that takes longer than a job may: it stops in time, is sent again, and goes on, until its study has a report."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checkout import checkout, run, start
from tests.faults.artefacts import artefacts, differences
from tests.slurm import cluster
from tests.slurm.jobs import MARKS, SLURM, account, held, set_profile, told
from tunebook.cost.job import memory_mb
from tunebook.records import read_json

pytestmark = MARKS
MINUTES, LIMIT_S = 2, 60  # of a job, and what training is told of it (workflow/rules/common.smk, time_limit)
CUT_SHORT = 2  # allocations that end before training does


@dataclass
class InPieces:
    """What was seen of a study whose training took several allocations."""

    folder: Path
    local: dict[str, object]  # the artefacts of the local run
    status: int  # of the one Snakemake
    jobs: list[dict[str, str]]  # SLURM's account of the jobs, in their order

    def of(self, rule: str) -> list[dict[str, str]]:
        """The jobs of a rule."""
        return [job for job in self.jobs if f"{rule}_wildcards" in job.get("Comment", "")]


@pytest.fixture(scope="module")
def in_pieces(tmp_path_factory, slurm) -> InPieces:
    """A trainer is held (SIGSTOP) until its time is over, so that the allocations are as many on any machine."""
    folder = tmp_path_factory.mktemp("pieces").resolve()
    results = checkout(folder, methods=["lora"])
    by_gres = {"slurm_partition": "scoring", "gres": f"gpu:{cluster.GPU}:1", "gpu": 0}
    set_profile(folder, training={"mem_mb": 2500, "max_runtime": MINUTES}, **by_gres)
    assert run(folder, "--cores", "1") == 0, told(folder)
    local = artefacts(results)
    shutil.rmtree(results / "runs")
    shutil.rmtree(results / "tables")
    (results / "report.html").unlink()
    earlier = set(account())
    snakemake, trainer = start(folder, *SLURM), ""
    try:
        for _ in range(CUT_SHORT):
            trainer = held(folder, "lora", snakemake, other_than=trainer)["id"]
            time.sleep(LIMIT_S)
            os.kill(int(trainer), signal.SIGCONT)
        status = snakemake.wait()
    finally:
        snakemake.kill()
        snakemake.wait()
    found = {int(number): job for number, job in account().items() if number not in earlier}
    return InPieces(folder, local, status, [found[number] for number in sorted(found)])


def test_a_study_of_long_runs_ends_through_several_allocations(in_pieces):
    assert in_pieces.status == 0, told(in_pieces.folder)
    training = in_pieces.of("train")
    assert [job["JobState"] for job in training] == ["FAILED"] * CUT_SHORT + ["COMPLETED"]
    assert {job["TimeLimit"] for job in training} == {f"00:0{MINUTES}:00"}
    assert differences(artefacts(in_pieces.folder / "results" / "tiny"), in_pieces.local) == []


def test_each_allocation_goes_on_where_the_one_before_it_stopped(in_pieces):
    logs = (in_pieces.folder / ".snakemake" / "slurm_logs" / "rule_train").rglob("*.log")
    text = "\n".join(log.read_text() for log in sorted(logs, key=lambda log: int(log.stem)))
    stops = [int(step) for step in re.findall(r"stopped by the time limit after step (\d+)", text)]
    assert len(stops) == CUT_SHORT
    assert 0 < stops[0] < stops[1]


def test_rules_may_have_a_partition_and_ask_for_gpus_by_gres(in_pieces):
    training, scoring = in_pieces.of("train"), in_pieces.of("evaluate") + in_pieces.of("sample")
    assert len(scoring) == 4  # the untouched model's, and the trained one's
    assert {(job["Partition"], job.get("TresPerJob")) for job in training} == {("main", "gres:gpu:1")}
    by_gres = ("scoring", f"gres:gpu:{cluster.GPU}:1")
    assert {(job["Partition"], job.get("TresPerNode")) for job in scoring} == {by_gres}


def test_memory_is_what_the_estimate_says(in_pieces):
    asked = {job["MinMemoryNode"] for job in in_pieces.of("evaluate")}
    spec = read_json(in_pieces.folder / "results/tiny/runs/words/lora/seed-0/run.json")
    lengths = {key: spec["training"][key] for key in ("max_length", "max_target_length")}
    models = in_pieces.folder / "results" / "models"
    assert f"{memory_mb('evaluate', spec, models, **lengths, gpus=1)}M" in asked
