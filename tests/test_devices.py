"""A GPU for each local job: distinct ones, freed when a job dies; choices of others are obeyed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.configs import write_config
from tests.stages import prepared, train_arguments, trained
from tunebook import __main__ as command_line
from tunebook.configuration.config import Training
from tunebook.errors import TunebookError
from tunebook.finetuning import devices, trainer

WORKFLOW = Path(__file__).parents[1] / "workflow"
JOB = """
import os
import sys
from pathlib import Path
from tunebook.finetuning.devices import claim_device
environment = {key: value for key, value in os.environ.items() if "LOCAL_" in key}
claim_device(environment, ids=sys.argv[2:], folder=Path(sys.argv[1]))
print(environment["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""
LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-1)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb-2)
  MIG 1g.10gb     Device  0: (UUID: MIG-cccc-3)
  MIG 1g.10gb     Device  1: (UUID: MIG-dddd-4)
"""


@pytest.fixture
def start(tmp_path):
    """Start a job that claims one of the given devices and holds it until it is killed or its input is closed."""
    jobs = []

    def start(*ids: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-c", JOB, str(tmp_path), *ids]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        jobs.append(subprocess.Popen(command, env={"PYTHONPATH": str(WORKFLOW), **environment}, **pipes))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.wait()
        job.stdin.close()
        job.stdout.close()


def test_jobs_get_distinct_devices(start):
    jobs = [start("0", "1", "2", "3") for _ in range(4)]
    assert sorted(job.stdout.readline().strip() for job in jobs) == ["0", "1", "2", "3"]


def test_one_job_more_than_devices_waits_and_says_so(start):
    first, second = start("0", "1"), start("0", "1")
    taken = {first.stdout.readline().strip(), second.stdout.readline().strip()}
    assert taken == {"0", "1"}
    third = start("0", "1")
    assert "waiting for a free GPU: other jobs hold all 2" in third.stdout.readline()
    first.stdin.close()
    assert third.stdout.readline().strip() in taken


def test_the_device_of_a_killed_job_is_free_again(start):
    first = start("0")
    assert first.stdout.readline().strip() == "0"
    first.kill()
    first.wait()
    assert start("0").stdout.readline().strip() == "0"


def test_processes_of_torchrun_hold_all_their_devices_or_none(start, tmp_path):
    single = start("0", "1", "2")
    assert single.stdout.readline().strip() == "0"
    pair = [start("0", "1", "2", LOCAL_RANK=rank, LOCAL_WORLD_SIZE="2") for rank in ("1", "0")]
    assert [job.stdout.readline().strip() for job in pair] == ["1,2", "1,2"]
    trio = start("0", "1", "2", LOCAL_RANK="0", LOCAL_WORLD_SIZE="3", TORCHELASTIC_RUN_ID="other")
    assert "waiting for 3 free GPUs: other jobs hold too many of the 3" in trio.stdout.readline()
    single.stdin.close()
    single.wait()
    assert start("0", "1", "2").stdout.readline().strip() == "0"  # the one that waits holds none meanwhile
    with pytest.raises(TunebookError, match="found 3 GPUs for 4 processes"):
        devices.claim_device({"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}, ids=["0", "1", "2"], folder=tmp_path)


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"])
def test_what_others_chose_is_kept(tmp_path, name):
    environment = {name: "3"}
    assert devices.claim_device(environment, ids=["0", "1"], folder=tmp_path) is None
    assert environment == {name: "3"}
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_nothing_is_set(tmp_path):
    environment = {}
    assert devices.claim_device(environment, ids=[], folder=tmp_path) is None
    assert environment == {}


def test_the_listing_of_the_driver():
    assert devices.devices_in(LISTING) == ["GPU-aaaa-1", "MIG-cccc-3", "MIG-dddd-4"]
    assert devices.devices_in("No devices found.\n") == []


def test_the_folder_of_locks_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    assert devices._lock_folder().stat().st_mode & 0o777 == 0o700
    next(tmp_path.iterdir()).rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"tunebook-devices-{devices.os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TunebookError, match="belongs to somebody else"):
        devices._lock_folder()


@pytest.mark.parametrize(
    ("training", "device", "message"),
    [
        ({"optim": "paged_adamw_8bit"}, {"gpu": False}, "no GPU whose memory could be paged.*optim: adamw_8bit"),
        ({"bf16": True}, {"gpu": True, "has_bf16": False}, "no bfloat16; set bf16: false"),
    ],
)
def test_what_a_device_cannot_do_is_an_error_with_its_cure(training, device, message):
    with pytest.raises(TunebookError, match=message):
        devices.check_device(Training(**training).model_dump(), **device)


@pytest.mark.parametrize("training", [{}, {"bf16": True}, {"fp16": True}, {"optim": "adamw_8bit"}])
def test_what_a_cpu_can_do_is_let_through(training):
    devices.check_device(Training(**training).model_dump(), gpu=False)


def test_training_says_so_before_it_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    places = prepared(tiny.study(tmp_path, training={"optim": "paged_adamw_8bit"}), tmp_path)
    assert command_line.main([str(part) for part in train_arguments(places, "words/lora/seed-0")]) == 2
    assert "training.optim: found paged_adamw_8bit" in capsys.readouterr().err
    assert not (places["results"] / "checkpoints").exists()


def test_a_study_that_needs_a_gpu_is_refused_where_there_is_none_before_any_job(tmp_path):
    config = tiny.study(
        tmp_path, methods=["lora", "full"], overrides={"full": {"training": {"optim": "paged_adamw_8bit"}}}
    )
    file = write_config(tmp_path, config)
    command = [Path(sys.executable).with_name("snakemake"), "--snakefile", WORKFLOW.parent / "Snakefile", "--dry-run"]
    command += ["--cores", "1", "--configfile", file]
    done = {}
    for gpus in (0, 1):
        ask = [*command, "--resources", f"gpu={gpus}"]
        done[gpus] = subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    told = done[0].stdout + done[0].stderr
    assert done[0].returncode != 0
    assert "1 of 2 runs cannot be trained without a GPU (--resources gpu=0); nothing was run" in told
    assert "words/full/seed-0: training.optim: found paged_adamw_8bit" in told
    assert "Traceback" not in told
    assert done[1].returncode == 0, done[1].stderr


@pytest.mark.parametrize(("gpu", "able", "expected"), [(True, True, True), (True, False, None), (False, False, None)])
def test_tf32_is_asked_of_a_gpu_that_has_it(monkeypatch, gpu, able, expected):
    monkeypatch.setattr(trainer.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(trainer, "is_torch_tf32_available", lambda: able)
    assert trainer.uses_tf32(Training().model_dump()) is expected
    assert not trainer.uses_tf32(Training(tf32=False).model_dump())


def test_a_fused_optimizer_trains_the_same(tmp_path):
    """torch has it on the CPU, too."""
    losses = []
    for optim in ("adamw_torch", "adamw_torch_fused"):
        folder = tmp_path / optim
        folder.mkdir()
        training = {"learning_rate": 0.01, "max_steps": 4, "max_length": 32, "optim": optim}
        _, history = trained(prepared(tiny.study(folder, training=training), folder), "words/lora/seed-0")
        losses.append(history["loss"].tolist())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
