"""Training that was killed ends as if it never had been: same weights, same history, no step twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest
import safetensors.numpy

from tests import tiny
from tests.stages import MANY_CHECKPOINTS, prepared, train_arguments, trained
from tunebook import train

RUN = "words/lora/seed-0"
WORKFLOW = Path(__file__).parents[1] / "workflow"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights and the history of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    places = prepared(tiny.study(folder, training=MANY_CHECKPOINTS), folder)
    _, history = trained(places, RUN)
    return weights_of(places), history


def weights_of(places) -> dict:
    return safetensors.numpy.load_file(places["results"] / "runs" / RUN / "adapter" / "adapter_model.safetensors")


def start(places, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tunebook", *map(str, train_arguments(places, RUN)), *more]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_checkpoint(places, step: int, process: subprocess.Popen) -> Path:
    """Wait until a checkpoint of at least this step is sealed."""
    for _ in range(6000):
        for seal in (places["results"] / "checkpoints").glob("*/checkpoint-*/complete.json"):
            if int(seal.parent.name.split("-")[1]) >= step:
                return seal.parent
        if process.poll() is not None:
            pytest.fail(f"training ended before a checkpoint: {process.stdout.read()}")
        time.sleep(0.05)
    return pytest.fail("no checkpoint within five minutes")


def assert_as_undisturbed(places, undisturbed) -> None:
    weights, history = undisturbed
    ours = weights_of(places)
    assert ours.keys() == weights.keys()
    assert all((ours[name] == weights[name]).all() for name in weights)
    resumed = pandas.read_csv(places["results"] / "runs" / RUN / "history.csv")
    columns = ["step", "epoch", "split", "loss", "learning_rate", "grad_norm", "tokens"]
    pandas.testing.assert_frame_equal(resumed[columns], history[columns])


@pytest.mark.parametrize("step", [4, 14])
def test_killed_in_the_middle(tmp_path, undisturbed, step):
    places = prepared(tiny.study(tmp_path, training=MANY_CHECKPOINTS), tmp_path)
    process = start(places)
    wait_for_checkpoint(places, step, process)
    process.kill()
    process.communicate()
    assert not (places["results"] / "runs" / RUN / "training.json").exists()
    trained(places, RUN)
    assert_as_undisturbed(places, undisturbed)


def test_sigterm_stops_after_the_step_with_a_checkpoint(tmp_path, undisturbed):
    places = prepared(tiny.study(tmp_path, training=MANY_CHECKPOINTS), tmp_path)
    process = start(places)
    wait_for_checkpoint(places, 2, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 75, output
    assert "stopped by SIGTERM after step" in output
    assert "Traceback" not in output
    trained(places, RUN)
    assert_as_undisturbed(places, undisturbed)


def test_the_time_limit_stops_with_its_own_status(tmp_path, undisturbed):
    places = prepared(tiny.study(tmp_path, training=MANY_CHECKPOINTS), tmp_path)
    process = start(places, "--max-seconds", "1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 75, output
    assert "the time limit" in output
    trained(places, RUN)
    assert_as_undisturbed(places, undisturbed)


def test_a_second_process_waits_for_the_first_and_trains_nothing_again(tmp_path, undisturbed):
    places = prepared(tiny.study(tmp_path, training=MANY_CHECKPOINTS), tmp_path)
    first = start(places)
    wait_for_checkpoint(places, 2, first)
    first.send_signal(signal.SIGSTOP)
    second = start(places)
    assert "another process trains this very run: waiting" in next(line for line in second.stdout if "another" in line)
    first.send_signal(signal.SIGCONT)
    outputs = [process.communicate(timeout=300)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert "the other process has trained it" in outputs[1]
    assert_as_undisturbed(places, undisturbed)


@pytest.mark.parametrize("damage", ["cut", "flip", "unsealed"])
def test_a_damaged_checkpoint_is_recognised_and_the_one_before_it_used(tmp_path, undisturbed, damage, capsys):
    places = prepared(tiny.study(tmp_path, training=MANY_CHECKPOINTS), tmp_path)
    process = start(places)
    checkpoint = wait_for_checkpoint(places, 8, process)
    process.kill()
    process.communicate()
    newest = max(checkpoint.parent.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    weights = newest / "adapter_model.safetensors"
    if damage == "unsealed":
        (newest / "complete.json").unlink(missing_ok=True)
    elif weights.exists():
        data = weights.read_bytes()
        weights.write_bytes(data[: len(data) // 2] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    trained(places, RUN)
    assert f"{newest.name} is incomplete or damaged" in capsys.readouterr().out
    assert_as_undisturbed(places, undisturbed)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was killed: folder of its model and data, folder of its checkpoints."""
    sources, folder = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("stopped")
    places = prepared(tiny.study(sources, training=MANY_CHECKPOINTS), folder)
    process = start(places)
    wait_for_checkpoint(places, 4, process)
    process.kill()
    process.communicate()
    return sources, places["results"] / "checkpoints"


@pytest.mark.parametrize("changed", ["nothing", "spec", "data", "model", "code"])
def test_what_was_changed_never_resumes_stale_weights(tmp_path, stopped, changed, monkeypatch):
    learning_rate = 0.02 if changed == "spec" else MANY_CHECKPOINTS["learning_rate"]
    sources, checkpoints = stopped
    study = tiny.study(sources, training=MANY_CHECKPOINTS | {"learning_rate": learning_rate})
    if changed == "data":
        rows = sources / "rows.jsonl"
        rows.write_text(rows.read_text(encoding="utf-8").replace("rose", "fell", 1), encoding="utf-8")
    elif changed == "model":
        tiny.model(sources / "model", "llama", seed=1)
    elif changed == "code":
        monkeypatch.setattr(train, "code_identity", lambda stage: f"another {stage}")
    places = prepared(study, tmp_path)
    shutil.copytree(checkpoints, places["results"] / "checkpoints")
    record, history = trained(places, RUN)
    earlier = [folder.name for folder in checkpoints.iterdir()]
    assert (record["weights_key"] in earlier) == (changed == "nothing")
    steps = history.loc[history["split"] == "train", "step"]
    assert steps.tolist() == list(range(1, record["steps"] + 1))
    assert history["learning_rate"].max() == pytest.approx(learning_rate)
