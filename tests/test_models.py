"""What a model is loaded from is checked; nothing is unpickled."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests import tiny
from tests.test_scoring import run_for
from tunebook.errors import TunebookError
from tunebook.fetch_model import WEIGHTS_INDEX as INDEX
from tunebook.fetch_model import fetch_model
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.heads import find_head
from tunebook.finetuning.models import load_model
from tunebook.finetuning.tokenizers import load_tokenizer


@pytest.mark.parametrize("implementation", [None, "eager", "sdpa"])
def test_attention_is_computed_as_asked(tmp_path, implementation):
    run = run_for("llama")
    run["model"]["attn_implementation"] = implementation
    model = load_model(run, tiny.model(tmp_path, "llama"))
    assert model.config._attn_implementation == (implementation or "sdpa")


def test_an_attention_that_cannot_be_had_is_an_error(tmp_path):
    run = run_for("llama")
    run["model"]["attn_implementation"] = "flash_attention_2"  # its package is not installed
    with pytest.raises(TunebookError, match="not usable as a causal-lm model"):
        load_model(run, tiny.model(tmp_path, "llama"))


def spec_of(folder, **more) -> dict:
    source = {"type": "path", "path": str(folder), "sha256": None}
    return {"name": "m", "task": "causal-lm", "source": source, "encoder_decoder": False, "licence": "none", **more}


@pytest.fixture
def source(tmp_path):
    return tiny.model(tmp_path / "source", "llama")


def test_a_fetched_model_is_whole_and_says_where_it_is_from(tmp_path, source):
    fetch_model(spec_of(source), tmp_path / "m")
    record = json.loads((tmp_path / "m" / "provenance.json").read_text())
    assert record["parameters"] == sum(p.numel() for p in load_model(run_for("llama"), tmp_path / "m").parameters())
    assert record["revision"].startswith("sha256:")


def test_an_encoder_becomes_an_encoder_decoder(tmp_path):
    tiny.model(tmp_path / "source", "bert")
    fetch_model(spec_of(tmp_path / "source", encoder_decoder=True, task="seq2seq-lm"), tmp_path / "m")
    model = load_model(run_for("t5"), tmp_path / "m")
    assert model.config.is_encoder_decoder
    tokenizer = load_tokenizer(tmp_path / "m")
    assert collator_for("seq2seq-lm", tokenizer, model).decoder_start_id == tokenizer.cls_token_id
    fetch_model(spec_of(tmp_path / "source", encoder_decoder=True, task="seq2seq-lm"), tmp_path / "again")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == (
        tmp_path / "again" / "model.safetensors"
    ).read_bytes()


def damaged(source, how: str) -> None:
    weights = source / "model.safetensors"
    config = source / "config.json"
    if how == "pickle":
        weights.rename(source / "pytorch_model.bin")
    elif how == "remote code":
        config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    elif how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how in ("missing part", "parts without an index"):
        AutoModelForCausalLM.from_pretrained(source).save_pretrained(source, max_shard_size="100kB")
        weights.unlink(missing_ok=True)
        (min(source.glob("model-*.safetensors")) if how == "missing part" else source / INDEX).unlink()
    elif how == "cut short":
        weights.write_bytes(weights.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("pickle", "pickled files are never opened"),
        ("remote code", "remote code is never run"),
        ("no weights", "no .safetensors file"),
        ("no config", "no config.json"),
        ("cut short", "model.safetensors"),
        ("missing part", r"names \d parts, model-00001-of-0000\d.safetensors among them, which is not there"),
        ("parts without an index", f"but no {INDEX}"),
    ],
)
def test_a_bad_model_is_refused_with_the_reason_and_leaves_nothing(tmp_path, source, how, message):
    damaged(source, how)
    with pytest.raises(TunebookError, match=message):
        fetch_model(spec_of(source), tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("quantization", [None, "int8", "nf4"])
@pytest.mark.parametrize("family", ["llama", "falcon", "t5"])
def test_a_weight_that_would_start_at_random_is_an_error(tmp_path, family, quantization):
    folder = tiny.model(tmp_path / "m", family)
    load_model(run_for(family, quantization), folder)
    lost = without(folder, ".0.")
    with pytest.raises(TunebookError, match=rf"lack 1 weights of a .* model, {lost} among them"):
        load_model(run_for(family, quantization), folder)


def test_a_classifier_may_have_a_new_head_and_pooler_and_nothing_else_that_is_new(tmp_path):
    folder = tiny.model(tmp_path / "m", "bert")
    with pytest.raises(TunebookError, match="or name the task that the model was made for"):
        load_model(run_for("bert"), folder)  # an encoder as causal-lm
    run = run_for("bert") | {"task": "sequence-classification", "dataset": {"labels": ["a", "b"]}}
    assert find_head(run, folder).modules == ("classifier",)
    without(folder, "pooler")
    assert find_head(run, folder).modules == ("classifier", "bert.pooler")
    load_model(run, folder)
    lost = without(folder, ".0.")
    with pytest.raises(TunebookError, match=rf"lack 1 weights of a .* model, bert.{lost} among them"):
        load_model(run, folder)


def without(folder, part: str) -> str:
    """Take a weight out of a model's file. Returns its name."""
    tensors = load_file(folder / "model.safetensors")
    lost = min(name for name in tensors if part in name)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return lost


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path, source):
    words = load_tokenizer(source)
    words.add_tokens([f"word{number}" for number in range(50)])
    words.save_pretrained(source)
    with pytest.raises(TunebookError, match="do not belong together"):
        load_tokenizer(source)
