"""A study that is interrupted, run twice at once, or run by a clock that jumps, ends as an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.checkout import TRAINING, checkout, log_of, run, stages, start
from tests.faults.artefacts import artefacts, differences

pytestmark = pytest.mark.faults
PATIENCE_S = 600
DAY_S = 86_400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout whose study has run once."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # one core: tiny models are slower on several that are busy
    folder = tmp_path_factory.mktemp("study").resolve()
    checkout(folder, training={**TRAINING, "max_steps": 100})
    assert run(folder, "--cores", "1") == 0, told(folder)
    yield folder
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def undisturbed(folder) -> dict[str, object]:
    return artefacts(folder / "results" / "tiny")


@pytest.fixture
def anew(folder, undisturbed):
    """The checkout, with nothing of the study left but the fetched model: its provenance has the time of fetching."""
    shutil.rmtree(folder / "results" / "tiny", ignore_errors=True)
    yield folder
    for number in stages(folder):
        os.kill(number, signal.SIGKILL)


def told(folder: Path) -> str:
    return log_of(folder).read_text()[-3000:]


def trainer(folder: Path, snakemake: subprocess.Popen) -> int:
    """Wait for a trainer that has written a checkpoint. Returns its process id."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and snakemake.poll() is None:
        if list(folder.glob("results/tiny/checkpoints/*/checkpoint-*/complete.json")):
            return stages(folder, "train")[0]
        time.sleep(0.02)
    return pytest.fail(f"no checkpoint: {told(folder)}")


def test_ctrl_c_stops_with_a_checkpoint_and_the_next_start_goes_on(anew, undisturbed):
    snakemake = start(anew, "--cores", "1")
    trainer(anew, snakemake)
    os.killpg(snakemake.pid, signal.SIGINT)  # a terminal sends it to the whole group
    assert snakemake.wait(timeout=PATIENCE_S) != 0
    assert stages(anew) == []
    seals = list(anew.glob("results/tiny/checkpoints/*/checkpoint-*/complete.json"))
    stopped_at = max(int(seal.parent.name.split("-")[1]) for seal in seals)
    assert f"stopped by SIGINT after step {stopped_at} of 100" in told(anew)
    assert run(anew, "--cores", "1") == 0, told(anew)
    assert differences(artefacts(anew / "results" / "tiny"), undisturbed) == []


def test_a_second_snakemake_is_refused(anew, undisturbed):
    first = start(anew, "--cores", "1")
    trainer(anew, first)
    assert run(anew, "--cores", "1") != 0
    assert "Directory cannot be locked" in log_of(anew).read_text()
    assert first.wait(timeout=PATIENCE_S) == 0, told(anew)
    assert differences(artefacts(anew / "results" / "tiny"), undisturbed) == []


def test_two_at_once_that_were_forced_to_do_no_harm(anew, undisturbed):
    first = start(anew, "--cores", "1", "--nolock")
    trainer(anew, first)
    second = start(anew, "--cores", "1", "--nolock")
    for snakemake in (first, second):
        snakemake.wait(timeout=PATIENCE_S)
    assert run(anew, "--cores", "1", "--nolock") == 0, told(anew)
    assert differences(artefacts(anew / "results" / "tiny"), undisturbed) == []


def test_a_clock_that_jumps_does_no_harm(anew, undisturbed):
    snakemake = start(anew, "--cores", "1")
    trainer(anew, snakemake)
    snakemake.kill()
    for number in stages(anew):
        os.kill(number, signal.SIGKILL)
    snakemake.wait()
    now = time.time()
    seals = sorted(anew.glob("results/tiny/checkpoints/*/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for days, checkpoint in enumerate(reversed(seals)):  # the newest is the oldest by its time
        for file in (*checkpoint.rglob("*"), checkpoint):
            os.utime(file, (now + days * DAY_S,) * 2)
    for file in anew.glob("sources/*"):
        os.utime(file, (now + 365 * DAY_S,) * 2)  # made in the future
    for file in anew.glob("results/tiny/tokens/*/*"):
        os.utime(file, (0, 0))  # and these before all that they were made of
    assert run(anew, "--cores", "1", "--nolock") == 0, told(anew)
    assert differences(artefacts(anew / "results" / "tiny"), undisturbed) == []
    record = json.loads((anew / "results/tiny/runs/words/lora/seed-0/training.json").read_text())
    assert 0 < record["wall_s"] < PATIENCE_S
