"""The short form of the tests on a real SLURM: one run, sent by the shipped profile, with nothing disturbed."""

from __future__ import annotations

import pytest

from tests.checkout import checkout, run
from tests.slurm.jobs import MARKS, SLURM, account, set_profile, told
from tunebook.records import read_json

pytestmark = [*MARKS, pytest.mark.sampled]
TOKENS = "results/tiny/tokens/words/lengths.json"
RUN = "runs/words/lora/seed-0"


def test_one_run_is_trained_and_scored_by_jobs(tmp_path_factory, slurm):
    folder = tmp_path_factory.mktemp("short").resolve()
    results = checkout(folder, methods=["lora"])
    set_profile(folder, training={"mem_mb": 2500, "max_runtime": 50})
    assert run(folder, TOKENS, "--cores", "1") == 0, told(folder)
    earlier = set(account())
    targets = [f"results/tiny/{RUN}/{name}" for name in ("evaluation.json", "samples.json")]
    assert run(folder, *targets, *SLURM) == 0, told(folder)
    jobs = [job for number, job in account().items() if number not in earlier]
    rules = sorted(job["Comment"].split("_wildcards")[0].removeprefix("rule_") for job in jobs)
    assert rules == ["evaluate", "sample", "train"]
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert read_json(results / RUN / "evaluation.json")["rows"] == 12
