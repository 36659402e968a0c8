"""Training: every method on every architecture, with the loss that is claimed, published whole."""

from __future__ import annotations

import json

import numpy
import pytest
import safetensors.numpy
import torch

from tests import tiny
from tests.stages import prepared, train_arguments, trained
from tunebook import __main__ as command_line
from tunebook import train
from tunebook.data.splits import read_tokens
from tunebook.digests import digests_of
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.models import load_finetuned, load_model
from tunebook.finetuning.scoring import mean_over_tokens, score
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json, write_json


@pytest.mark.parametrize("method", ["full", "lora", "int8-lora", "qlora"])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_each_method_lowers_the_loss(tmp_path, family, method):
    places = prepared(tiny.study(tmp_path, family=family, methods=[method]), tmp_path)
    record, history = trained(places, f"words/{method}/seed-0")
    validation = history[history["split"] == "validation"]
    assert validation["step"].iloc[0] == 0
    assert record["best_validation_loss"] < validation["loss"].iloc[0] - 0.05
    assert record["best_validation_loss"] == validation["loss"].iloc[1:].min()
    assert record["steps"] == 6 == (history["split"] == "train").sum()
    assert (record["quantized_layers"] > 0) == (method in ("int8-lora", "qlora"))
    assert (record["trainable_parameters"] == record["parameters"]) == (method == "full")
    assert history.loc[history["split"] == "train", ["loss", "grad_norm", "learning_rate"]].notna().all(axis=None)


@pytest.mark.parametrize("method", ["full", "lora", "int8-lora", "qlora"])
def test_a_classification_head_is_trained_and_never_quantized(tmp_path, method):
    places = prepared(tiny.study(tmp_path, family="bert", methods=[method]), tmp_path)
    record, history = trained(places, f"words/{method}/seed-0")
    assert history["loss"].between(0.01, 3).all()
    assert (record["quantized_layers"] > 0) == (method in ("int8-lora", "qlora"))
    folder = places["results"] / f"runs/words/{method}/seed-0"
    weights = next(file for file in (folder / "adapter").glob("*.safetensors"))
    assert any("classifier" in name for name in safetensors.numpy.load_file(weights))


def test_what_is_stored_shrinks_with_the_precision(tmp_path):
    places = prepared(tiny.study(tmp_path, methods=["lora", "int8-lora", "qlora"]), tmp_path)
    records = [trained(places, f"words/{method}/seed-0")[0] for method in ("lora", "int8-lora", "qlora")]
    assert records[0]["weight_bytes"] > records[1]["weight_bytes"] > records[2]["weight_bytes"]
    assert len({record["parameters"] for record in records}) == 1


@pytest.mark.parametrize("family", ["llama", "t5", "falcon", "opt"])
def test_loss_is_the_same_for_every_way_to_accumulate(tmp_path, family):
    """transformers alone gives T5 1, 2 and 4 times the loss here, and weighs short rows more than long ones."""
    losses = []
    for batch, accumulation in ((8, 1), (4, 2), (2, 4)):
        training = {"learning_rate": 1e-3, "max_steps": 2, "per_device_train_batch_size": batch, "max_length": 32}
        training |= {"gradient_accumulation_steps": accumulation, "evals_per_epoch": 1}
        folder = tmp_path / f"{batch}"
        folder.mkdir()
        if family in ("t5", "opt"):  # the others have none
            training["dropout"] = 0.0
        config = tiny.study(folder, family=family, training=training, adapter={"lora_dropout": 0.0})
        _, history = trained(prepared(config, folder), "words/lora/seed-0")
        losses.append(history.loc[history["split"] == "train", "loss"].to_numpy())
    numpy.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    numpy.testing.assert_allclose(losses[2], losses[0], rtol=2e-5)


def test_validation_comes_within_and_at_the_end_of_epochs(tmp_path):
    training = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "evals_per_epoch": 4, "max_length": 32}
    places = prepared(tiny.study(tmp_path, training=training), tmp_path)
    _, history = trained(places, "words/lora/seed-0")
    validation = history[history["split"] == "validation"]
    assert len(validation) == 1 + 2 * 4
    assert {1.0, 2.0} <= set(validation["epoch"].round(6))


def test_the_best_checkpoint_is_published(tmp_path):
    """The published weights have the lowest validation loss of the history, computed again from the files."""
    training = {"learning_rate": 1.0, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 7}
    training |= {"max_steps": 8, "max_length": 32}
    training |= {"per_device_train_batch_size": 4, "evals_per_epoch": 10}
    places = prepared(tiny.study(tmp_path, training=training), tmp_path)
    record, history = trained(places, "words/lora/seed-0")
    validation = history[(history["split"] == "validation") & (history["step"] > 0)]
    assert record["best_step"] == validation.loc[validation["loss"].idxmin(), "step"]
    run = read_json(places["results"] / "runs/words/lora/seed-0/run.json")
    model = load_finetuned(run, places["model"], places["results"] / "runs/words/lora/seed-0/adapter")
    rows = read_tokens(places["tokens"], "validation")
    collate = collator_for(run["task"], load_tokenizer(places["model"]), model)
    assert mean_over_tokens(score(model, rows, collate, 4)) == pytest.approx(record["best_validation_loss"], abs=1e-5)
    assert not list((places["results"] / "checkpoints").glob("*/checkpoint-*"))


@pytest.mark.parametrize("family", ["opt", "falcon"])
def test_float16_is_float16_on_a_cpu_too(tmp_path, monkeypatch, family):
    """Fails where accelerate leaves it out; losses are near those of float32."""
    computed, load = set(), train.load_model

    def watched(*arguments, **options):
        model = load(*arguments, **options)
        model.lm_head.register_forward_hook(lambda module, given, output: computed.add(output.dtype))
        return model

    losses = []
    for fp16 in (False, True):
        folder = tmp_path / str(fp16)
        folder.mkdir()
        training = {"fp16": fp16, "max_steps": 3, "max_length": 32, "learning_rate": 1e-3, "evals_per_epoch": 1}
        config = tiny.study(
            folder, family=family, methods=["int8-lora"], training=training, adapter={"lora_dropout": 0}
        )
        monkeypatch.setattr(train, "load_model", watched if fp16 else load)
        _, history = trained(prepared(config, folder), "words/int8-lora/seed-0")
        losses.append(history.loc[history["split"] == "train", "loss"].to_numpy())
    assert torch.float16 in computed
    numpy.testing.assert_allclose(losses[1], losses[0], rtol=5e-3)


def test_early_stopping_stops(tmp_path):
    training = {
        "learning_rate": 1.0,
        "max_steps": 40,
        "per_device_train_batch_size": 4,
        "evals_per_epoch": 10,
        "max_length": 32,
    }
    places = prepared(tiny.study(tmp_path, training={**training, "early_stopping_patience": 2}), tmp_path)
    record, _ = trained(places, "words/lora/seed-0")
    assert record["stopped_early"]
    assert record["steps"] < 40


@pytest.mark.parametrize("packing", ["never", "auto"])
def test_golden_loss(tmp_path, packing):
    """A change of this figure is a change of what training computes: explain it in the changelog. Packed rows draw other
    masks of the adapter's dropout."""
    config = tiny.study(tmp_path)
    config["experiments"]["words"]["training"]["packing"] = packing
    record, _ = trained(prepared(config, tmp_path), "words/lora/seed-0")
    assert record["best_validation_loss"] == pytest.approx(GOLDEN_LOSS[packing], abs=2e-3)


GOLDEN_LOSS = {"never": 4.1016, "auto": 4.0636}


@pytest.mark.parametrize(("family", "packed"), [("llama", True), ("opt", False), ("falcon", False)])
def test_packing_changes_no_loss_and_no_count(tmp_path, family, packed):
    """Without dropout each step has the same loss, gradient and tokens with packed rows, and the record tells of them."""
    found = []
    for packing in ("never", "auto"):
        training = {"learning_rate": 0.01, "max_steps": 4, "per_device_train_batch_size": 4, "max_length": 32}
        training |= {"gradient_accumulation_steps": 2, "packing": packing}
        training |= {"dropout": 0.0} if family == "opt" else {}
        folder = tmp_path / packing
        folder.mkdir()
        config = tiny.study(folder, family=family, training=training, adapter={"lora_dropout": 0.0})
        record, history = trained(prepared(config, folder), "words/lora/seed-0")
        assert record["packed"] is (packed and packing == "auto")
        found.append(history[["step", "epoch", "loss", "learning_rate", "grad_norm", "tokens"]])
    numpy.testing.assert_allclose(found[1], found[0], rtol=2e-4)


def test_adapter_targets_that_match_nothing_name_those_there_are(tmp_path, capsys):
    places = prepared(tiny.study(tmp_path, adapter={"target_modules": ["c_attn"]}), tmp_path)
    assert command_line.main([str(a) for a in _train(places)]) == 2
    message = capsys.readouterr().err
    assert "c_attn" in message
    assert "q_proj" in message
    assert "Traceback" not in message


def test_a_loss_that_is_no_number_stops_with_its_step_and_publishes_nothing(tmp_path, capsys):
    places = prepared(tiny.study(tmp_path), tmp_path)
    weights = places["model"] / "model.safetensors"
    tensors = safetensors.numpy.load_file(weights)
    tensors["model.norm.weight"][:] = numpy.nan
    safetensors.numpy.save_file(tensors, weights, metadata={"format": "pt"})
    provenance = places["model"] / "provenance.json"  # as if these weights had been fetched
    write_json(provenance, read_json(provenance) | {"digests": digests_of(places["model"])})
    assert command_line.main([str(a) for a in _train(places)]) == 2
    assert "the validation loss is nan before the first step" in capsys.readouterr().err
    assert not (places["results"] / "runs/words/lora/seed-0/adapter").exists()


def _broken(training: bool):
    """load_model, whose models answer with NaN after two steps, as an exploding run does: in training, or in validation."""
    seen = []

    def load(*arguments, **options):
        model = load_model(*arguments, **options)

        def hook(module, given, output):
            seen.append(module.training)
            return output * numpy.nan if sum(seen) > 2 and module.training is training else None

        model.lm_head.register_forward_hook(hook)
        return model

    return load


@pytest.mark.parametrize("training", [True, False])
def test_a_run_that_diverges_is_an_error_and_a_trial_that_does_is_a_finding(tmp_path, monkeypatch, capsys, training):
    search = {"trials": 2, "training": {"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}}}
    config = tiny.study(tmp_path, methods=["lora"], search=search)
    places = prepared(config, tmp_path)
    trial = read_json(places["results"] / "study.json")["trials"][0]["run"]
    monkeypatch.setattr(train, "load_model", _broken(training))
    record, history = trained(places, trial)
    assert record["diverged"].startswith("the ")
    assert (record["best_step"], record["best_validation_loss"]) == (None, None)
    assert record["initial_validation_loss"] > 0
    assert record["steps"] == (history["split"] == "train").sum() > 0
    assert numpy.isfinite(history["loss"]).all()
    assert list((places["results"] / "runs" / trial / "adapter").iterdir()) == []
    assert not list((places["results"] / "checkpoints").glob("*/checkpoint-*"))

    spec = places["results"] / "runs" / trial / "run.json"  # the same, outside of a search
    write_json(spec, read_json(spec) | {"trial": None})
    monkeypatch.setattr(train, "load_model", _broken(training))
    assert command_line.main([str(part) for part in train_arguments(places, trial)]) == 2
    assert "nothing is published" in capsys.readouterr().err


def test_the_record_says_what_determined_the_weights(tmp_path):
    places = prepared(tiny.study(tmp_path), tmp_path)
    record, _ = trained(places, "words/lora/seed-0")
    spec = json.loads((places["results"] / "runs/words/lora/seed-0/run.json").read_text())
    assert record["identity"] == spec["identity"]
    assert record["versions"]["transformers"]
    assert len(record["data"]["model"]) == len(record["data"]["tokens"]) == 64


def _train(places):
    return train_arguments(places, "words/lora/seed-0")
