"""Memory that runs out: fewer rows at a time, the same losses and weights; an end only where one row is too much."""

from __future__ import annotations

import weakref

import numpy
import pytest
import safetensors.numpy
import torch

from tests import tiny
from tests.stages import prepared, run_stage, train_arguments, trained
from tests.test_scoring import run_for
from tunebook import __main__ as command_line
from tunebook import train
from tunebook.errors import TunebookError
from tunebook.finetuning import finished
from tunebook.finetuning.memory import in_batches, is_out_of_memory, smaller_divisor
from tunebook.finetuning.models import load_model
from tunebook.records import read_json

TRAINING = {"learning_rate": 0.01, "max_steps": 4, "evals_per_epoch": 3, "max_length": 32}
TRAINING |= {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 16}


def of_the_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def of_the_cpu() -> None:
    torch.empty(2**58)  # torch's own words


def rows_in(options) -> int:
    """Rows of a model's input; packed ones begin where positions do."""
    positions = options.get("position_ids")
    return len(options["input_ids"]) if positions is None else int((positions == 0).sum())


def with_memory_for(rows: int, run_out, load):
    """A loader whose models run out of memory with more than `rows` rows. Raises if an earlier model is still there."""
    loaded = []

    def check(module, arguments, options):
        if rows_in(options) > rows:
            run_out()

    def loader(*arguments, **options):
        assert all(model() is None for model in loaded), "the model that did not fit is still in memory"
        model = load(*arguments, **options)
        model.register_forward_pre_hook(check, with_kwargs=True)
        loaded.append(weakref.ref(model))
        return model

    return loader


def configured(folder, family: str, **training):
    places = {"t5": {"dropout": 0.0}}.get(family, {})
    folder.mkdir()
    config = tiny.study(
        folder, family=family, training={**TRAINING, **places, **training}, adapter={"lora_dropout": 0.0}
    )
    return prepared(config, folder)


def weights_of(places) -> dict:
    return safetensors.numpy.load_file(places["results"] / "runs/words/lora/seed-0/adapter/adapter_model.safetensors")


@pytest.mark.parametrize("run_out", [of_the_gpu, of_the_cpu])
def test_what_says_that_memory_ran_out(run_out):
    with pytest.raises(RuntimeError) as caught:
        run_out()
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(("family", "run_out"), [("llama", of_the_gpu), ("t5", of_the_cpu)])
def test_training_goes_on_with_fewer_rows_and_the_same_losses(tmp_path, monkeypatch, capsys, family, run_out):
    places = configured(tmp_path / "small", family)
    with monkeypatch.context() as patch:
        patch.setattr(train, "load_model", with_memory_for(3, run_out, train.load_model))
        record, history = trained(places, "words/lora/seed-0")
    told = capsys.readouterr().out
    assert "out of memory with 8 rows at a time: going on with 4, accumulated" in told
    assert "out of memory with 4 rows at a time: going on with 2, accumulated" in told
    assert record["micro_batch"] == 2
    start = configured(tmp_path / "start", family, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    _, expected = trained(start, "words/lora/seed-0")
    columns = ["step", "epoch", "loss", "learning_rate", "grad_norm", "tokens"]
    numpy.testing.assert_allclose(history[columns], expected[columns], rtol=1e-4)
    ours, theirs = weights_of(places), weights_of(start)
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        numpy.testing.assert_allclose(ours[name], weight, atol=1e-5)


def test_one_row_that_does_not_fit_is_an_error_with_its_cure(tmp_path, monkeypatch, capsys):
    places = configured(tmp_path / "none", "llama")
    monkeypatch.setattr(train, "load_model", with_memory_for(0, of_the_gpu, train.load_model))
    assert command_line.main([str(part) for part in train_arguments(places, "words/lora/seed-0")]) == 2
    told = capsys.readouterr().err
    assert "out of memory with one row at a time; shorten max_length" in told
    assert "Traceback" not in told
    assert not (places["results"] / "runs/words/lora/seed-0/adapter").exists()


@pytest.mark.parametrize("run_out", [of_the_gpu, of_the_cpu])
def test_weights_that_do_not_fit_are_an_error_with_its_cure(tmp_path, monkeypatch, run_out):
    tiny.model(tmp_path, "llama")
    monkeypatch.setattr(torch.nn.Module, "to", lambda *_: run_out())
    with pytest.raises(TunebookError, match="weights alone do not fit; quantize them"):
        load_model(run_for("llama"), tmp_path)


def test_another_error_is_not_taken_for_it(tmp_path, monkeypatch, capsys):
    def broken():
        raise RuntimeError("expected scalar type Float but found Half")

    places = configured(tmp_path / "broken", "llama")
    monkeypatch.setattr(train, "load_model", with_memory_for(0, broken, train.load_model))
    assert command_line.main([str(part) for part in train_arguments(places, "words/lora/seed-0")]) == 2
    told = capsys.readouterr().err
    assert "RuntimeError: expected scalar type Float but found Half" in told
    assert "out of memory" not in told


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_evaluation_halves_its_batches_and_finds_the_same(tmp_path, monkeypatch, capsys, family):
    places = configured(tmp_path / "study", family)
    folder = places["results"] / "runs/words/base/seed-0"
    records, told = [], []
    for rows in (100, 3):
        with monkeypatch.context() as patch:
            patch.setattr(finished, "load_finetuned", with_memory_for(rows, of_the_gpu, finished.load_finetuned))
            arguments = ["--model", places["model"], "--tokens", places["tokens"], "--dataset", places["dataset"]]
            run_stage("evaluate", "--run", folder / "run.json", *arguments, "--output", folder)
        records.append(read_json(folder / "evaluation.json"))
        told.append(capsys.readouterr().out)
    assert "out of memory" not in told[0]
    assert "going on with 3" in told[1]
    assert records[1]["loss"] == pytest.approx(records[0]["loss"], abs=1e-6)
    assert records[1]["metrics"] == pytest.approx(records[0]["metrics"])


def test_batches_are_halved_once_and_stay_so():
    asked = []

    def compute(indices):
        asked.append(len(indices))
        if len(indices) > 3:
            of_the_gpu()
        return [index * 2 for index in indices]

    found = dict(
        pair
        for indices, result in in_batches(list(range(10)), 8, compute)
        for pair in zip(indices, result, strict=True)
    )
    assert found == {index: 2 * index for index in range(10)}
    assert asked == [8, 4, 2, 2, 2, 2, 2]


def test_a_micro_batch_divides_the_batch():
    assert [smaller_divisor(rows) for rows in (2, 6, 8, 9, 7)] == [1, 3, 4, 3, 1]
    with pytest.raises(TunebookError, match="one row at a time"):
        smaller_divisor(1)
