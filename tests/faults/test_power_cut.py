"""The power goes after any rename: what was not flushed is lost, and the next start ends as an undisturbed one."""

from __future__ import annotations

import shutil

import pandas
import pytest
import safetensors.numpy

from tests import tiny
from tests.powercut import recorded
from tests.stages import prepared, run_stage, train_arguments
from tunebook.verify import verify

pytestmark = pytest.mark.faults
RUN = "words/lora/seed-0"
TRAINING = {
    "learning_rate": 0.01,
    "max_steps": 8,
    "per_device_train_batch_size": 4,
    "evals_per_epoch": 5,
    "max_length": 32,
}


def outcome(places) -> tuple[dict[str, bytes], pandas.DataFrame]:
    folder = places["results"] / "runs" / RUN
    weights = safetensors.numpy.load_file(folder / "adapter" / "adapter_model.safetensors")
    history = pandas.read_csv(folder / "history.csv").drop(columns="wall_s")
    return {name: tensor.tobytes() for name, tensor in weights.items()}, history


def test_after_any_rename_of_training(tmp_path):
    places = prepared(tiny.study(tmp_path, training=TRAINING), tmp_path)
    with recorded(places["results"], tmp_path / "pictures") as recorder:
        run_stage(*train_arguments(places, RUN))
        recorder.picture()
    weights, history = outcome(places)
    assert len(recorder.pictures) > 10
    for picture in recorder.pictures:
        shutil.rmtree(places["results"])
        shutil.copytree(picture, places["results"])
        assert verify(places["results"]).problems == []
        run_stage(*train_arguments(places, RUN))
        ours, ours_history = outcome(places)
        assert ours == weights, picture
        pandas.testing.assert_frame_equal(ours_history, history)
        assert [path.name for path in places["results"].rglob("*") if path.suffix in (".part", ".lock")] == []
