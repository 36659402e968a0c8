"""A disk without space: a clear error, and what was there before is still there, whole."""

from __future__ import annotations

import contextlib

import pandas
import pytest
import safetensors.numpy

from tests import tiny
from tests.stages import MANY_CHECKPOINTS, prepared, run_stage, train_arguments, trained
from tunebook import __main__ as command_line
from tunebook.configuration.validation import validate
from tunebook.finetuning import checkpoints
from tunebook.resolve import resolve

pytestmark = pytest.mark.faults
RUN = "words/lora/seed-0"
TWO_CHECKPOINTS_KIB = 1200  # one has about 480
PLENTY_KIB = 20_000


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The places of a tiny study that is trained."""
    folder = tmp_path_factory.mktemp("undisturbed")
    places = prepared(tiny.study(folder, training=MANY_CHECKPOINTS), folder)
    trained(places, RUN)
    return places


def outcome(places) -> tuple[dict[str, bytes], pandas.DataFrame]:
    folder = places["results"] / "runs" / RUN
    weights = safetensors.numpy.load_file(folder / "adapter" / "adapter_model.safetensors")
    return {name: tensor.tobytes() for name, tensor in weights.items()}, pandas.read_csv(folder / "history.csv")


def test_training_goes_on_from_the_last_whole_checkpoint(tmp_path, undisturbed, disk, capfd):
    places = prepared(tiny.study(tmp_path, training=MANY_CHECKPOINTS), tmp_path)
    small = disk(TWO_CHECKPOINTS_KIB)
    (places["results"] / "checkpoints").symlink_to(small)
    assert command_line.main([str(part) for part in train_arguments(places, RUN)]) == 2
    message = capfd.readouterr().err
    assert "no space left while a checkpoint was written" in message
    assert "free some space and run again" in message
    assert "Traceback" not in message
    (work,) = small.glob("[0-9a-f]*")
    assert checkpoints.latest_whole(work).name == "checkpoint-4"
    disk(PLENTY_KIB)
    trained(places, RUN)
    (weights, history), (expected, expected_history) = outcome(places), outcome(undisturbed)
    assert weights == expected
    pandas.testing.assert_frame_equal(history.drop(columns="wall_s"), expected_history.drop(columns="wall_s"))


def stage_arguments(stage: str, places, output) -> list[object]:
    """Arguments of a stage that writes to the folder `output`, or below it."""
    study = ["--study", places["study"]]
    scored = ["--run", places["results"] / "runs" / RUN / "run.json", "--model", places["model"]]
    scored += ["--adapter", places["results"] / "runs" / RUN / "adapter"]
    scored += ["--tokens", places["tokens"], "--dataset", places["dataset"]]
    raw = places["results"].parent / "datasets" / "lines" / "raw.parquet"
    return {
        "fetch-model": [*study, "--model", "tiny", "--output", output / "model"],
        "fetch-dataset": [*study, "--dataset", "lines", "--output", output / "raw"],
        "prepare": [*study, "--dataset", "lines", "--raw", raw, "--output", output],
        "tokenize": [*study, "--experiment", "words", "--dataset", places["dataset"], "--model", places["model"],
                     "--output", output / "tokens"],
        "evaluate": [*scored, "--output", output],
        "sample": [*scored, "--output", output],
        "baseline": [*study, "--experiment", "words", "--dataset", places["dataset"], "--output", output],
    }[stage]  # fmt: skip


def content_below(folder) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("filler", "provenance.json")  # which has the time of fetching
    }


def fill(folder) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


STAGES = ["fetch-model", "fetch-dataset", "prepare", "tokenize", "evaluate", "sample", "baseline"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_the_last_good_state(undisturbed, disk, stage, capfd):
    output = disk(PLENTY_KIB)
    arguments = [str(part) for part in (stage, *stage_arguments(stage, undisturbed, output))]
    run_stage(*arguments)
    good = content_below(output)
    fill(output)
    capfd.readouterr()
    assert command_line.main(arguments) == 2
    message = capfd.readouterr().err
    assert "no space left" in message
    assert "free some space and run again" in message
    assert "Traceback" not in message
    assert content_below(output) == good
    (output / "filler").unlink()
    run_stage(*arguments)
    assert set(content_below(output)) == set(good)


def test_a_model_that_is_too_large_once_it_is_assembled(tmp_path, disk, capfd):
    """safetensors has an error of its own for a full disk."""
    config = tiny.study(tmp_path, family="bert")
    config["models"]["tiny"] |= {"task": "seq2seq-lm", "encoder_decoder": True}
    resolve(validate(config), tmp_path / "results")
    encoder_kib = (tmp_path / "model" / "model.safetensors").stat().st_size // 1024
    output = disk(encoder_kib + 200) / "model"
    fetch = ["fetch-model", "--study", tmp_path / "results" / "study.json", "--model", "tiny", "--output", output]
    assert command_line.main([str(part) for part in fetch]) == 2
    message = capfd.readouterr().err
    assert "no space left" in message
    assert "Traceback" not in message
    assert list(output.parent.iterdir()) == []
