"""More than one GPU for a run: processes that share the rows of each step compute what one process computes.

On the CPU, with gloo. torchrun starts the same command as the rule does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pandas
import pytest
import safetensors.numpy

from tests import tiny
from tests.stages import prepared, train_arguments, trained
from tunebook.configuration.study import runs_of
from tunebook.configuration.validation import validate
from tunebook.errors import TunebookError
from tunebook.finetuning import processes, schedule
from tunebook.records import read_json

ROOT = Path(__file__).parents[1]
RUN = "words/{}/seed-0"
TRAINING = {"learning_rate": 0.01, "num_train_epochs": 2, "evals_per_epoch": 2, "max_length": 32}
TRAINING |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "per_device_eval_batch_size": 4}
CASES = {"llama": "int8-lora", "t5": "lora"}


def together(*jobs: list[object], rows: int | None = None, count: int = 2, **options) -> subprocess.Popen:
    """Start stages under torchrun, in `count` processes."""
    told = json.dumps([rows, [[str(part) for part in job] for job in jobs]])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command += ["--shutdown-timeout", "120", "-m", "tests.processes_job", told]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **options)


def configured(folder: Path, family: str = "llama", **training) -> dict[str, Path]:
    folder.mkdir()
    method = CASES[family]
    values = {**TRAINING, **({"dropout": 0.0} if family == "t5" else {}), **training}
    # 37 training rows: the last step of an epoch is short, and its rows have no equal halves
    config = tiny.study(
        folder, family=family, rows=59, methods=[method], training=values, adapter={"lora_dropout": 0.0}
    )
    return prepared(config, folder)


def history_of(places, method: str) -> pandas.DataFrame:
    return pandas.read_csv(places["results"] / "runs" / RUN.format(method) / "history.csv")


def weights_of(places, method: str) -> dict:
    folder = places["results"] / "runs" / RUN.format(method) / "adapter"
    return safetensors.numpy.load_file(folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Family -> places of a run of one process, and of one that two processes trained together."""
    folder = tmp_path_factory.mktemp("processes")
    alone = {family: configured(folder / f"{family}-alone", family) for family in CASES}
    shared = {family: configured(folder / f"{family}-shared", family) for family in CASES}
    for family, method in CASES.items():
        trained(alone[family], RUN.format(method))
    job = together(*(train_arguments(shared[family], RUN.format(method)) for family, method in CASES.items()))
    output, _ = job.communicate(timeout=400)
    assert job.returncode == 0, output
    return alone, shared, output


@pytest.mark.parametrize("family", CASES)
def test_two_processes_have_the_losses_of_one(finished, family):
    alone, shared, _ = finished
    ours, theirs = history_of(shared[family], CASES[family]), history_of(alone[family], CASES[family])
    assert (ours["split"] == theirs["split"]).all()
    assert set(ours["split"]) == {"train", "validation"}
    columns = ["step", "epoch", "learning_rate", "tokens"]
    pandas.testing.assert_frame_equal(ours[columns], theirs[columns])
    numpy.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)
    numpy.testing.assert_allclose(ours["grad_norm"], theirs["grad_norm"], rtol=1e-3)


@pytest.mark.parametrize("family", CASES)
def test_two_processes_end_in_the_adapter_of_one(finished, family):
    alone, shared, _ = finished
    ours, theirs = weights_of(shared[family], CASES[family]), weights_of(alone[family], CASES[family])
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        numpy.testing.assert_allclose(ours[name], weight, atol=1e-4)
        assert numpy.abs(weight).max() > 1e-3  # there is something to compare


def test_the_record_tells_how_many_they_were_and_each_line_is_said_once(finished):
    _, shared, output = finished
    for family, method in CASES.items():
        folder = shared[family]["results"] / "runs" / RUN.format(method)
        record = read_json(folder / "training.json")
        assert (record["processes"], record["micro_batch"]) == (2, 2)
        assert output.count(f"train words/{method}/seed-0: done in") == 1
        assert not list((shared[family]["results"] / "checkpoints").glob("*/*"))


def test_two_processes_stop_together_and_one_goes_on(finished, tmp_path):
    """A signal reaches both; they leave one whole checkpoint, from which any number of processes may go on."""
    alone, _, _ = finished
    places, run = configured(tmp_path / "stopped"), RUN.format(CASES["llama"])
    job = together([*train_arguments(places, run), "--max-seconds", "1"])
    output, _ = job.communicate(timeout=200)
    assert job.returncode != 0
    assert "stopped by the time limit after step" in output
    assert not (places["results"] / "runs" / run / "training.json").exists()
    assert list((places["results"] / "checkpoints").glob("*/checkpoint-*/complete.json"))
    record, history = trained(places, run)
    assert record["processes"] == 1
    expected = history_of(alone["llama"], CASES["llama"])
    pandas.testing.assert_series_equal(history["step"], expected["step"])
    numpy.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.sampled
@pytest.mark.slow
def test_a_signal_to_torchrun_stops_all_with_a_checkpoint(tmp_path):
    places, run = configured(tmp_path / "signal", num_train_epochs=40), RUN.format(CASES["llama"])
    job = together(train_arguments(places, run))
    for line in job.stdout:
        if line.startswith("step 10 "):
            job.send_signal(signal.SIGTERM)
            break
    output, _ = job.communicate(timeout=100)
    assert job.returncode != 0
    assert "stopped by SIGTERM after step" in output
    assert list((places["results"] / "checkpoints").glob("*/checkpoint-*/complete.json"))


@pytest.mark.slow
def test_one_of_two_that_runs_out_of_memory_leaves_word_for_the_next_try(tmp_path):
    places, run = configured(tmp_path / "little"), RUN.format(CASES["llama"])
    job = together(train_arguments(places, run), rows=1)
    output, _ = job.communicate(timeout=200)
    assert job.returncode != 0
    assert "out of memory with 2 rows at a time; run again to go on with 1, accumulated" in output
    again = together(train_arguments(places, run), rows=1)
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    assert read_json(places["results"] / "runs" / run / "training.json")["micro_batch"] == 1


@pytest.mark.parametrize(
    ("batch", "accumulation", "count", "micro_batch"),
    [(8, 1, 1, 8), (8, 1, 2, 4), (2, 8, 2, 2), (4, 3, 2, 3), (6, 1, 4, 0)],
)
def test_processes_share_a_step_equally(monkeypatch, batch, accumulation, count, micro_batch):
    monkeypatch.setattr(processes, "count", lambda: count)
    run = {"training": {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}}
    if micro_batch:
        assert schedule.largest_micro_batch(run) == micro_batch
        assert batch * accumulation % (micro_batch * count) == 0
        assert schedule.largest_micro_batch(run, 3) <= 3
    else:
        with pytest.raises(TunebookError, match="found 4 processes for a step of 6 rows"):
            schedule.largest_micro_batch(run)


def test_the_number_of_gpus_is_no_part_of_what_a_run_is(tmp_path):
    config = tiny.study(tmp_path)
    identities = [[run.spec["identity"] for run in runs_of(validate(config))]]
    config["experiments"]["words"]["gpus"] = 2
    identities.append([run.spec["identity"] for run in runs_of(validate(config))])
    assert identities[0] == identities[1]
