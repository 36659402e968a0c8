"""A finished run as a model that other programs load: merged, read again, scored; the same as GGUF."""

import json
import math
import os
import shutil
import signal

import numpy
import pandas
import pytest
import torch
import transformers as t

from tests import tiny
from tests.stages import finished, prepared, run_stage, trained
from tests.test_scoring import run_for
from tunebook import __main__ as command_line
from tunebook import export
from tunebook.errors import TunebookError
from tunebook.export import Check, refuse_other_model
from tunebook.finetuning import gguf_files, llama_cpp
from tunebook.finetuning.encoding import chat_template_of, spec_of
from tunebook.finetuning.merging import merged_model
from tunebook.finetuning.modelfile import go_template, modelfile
from tunebook.finetuning.models import load_finetuned
from tunebook.finetuning.random_weights import write_tokenizer
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json
from tunebook.runs import read_run

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def byte_model(folder, kind="llama", *, template=CHATML, tied=True):
    """A tiny model with a byte-level tokenizer, as llama.cpp has them, and grouped keys."""
    write_tokenizer(folder)
    file = folder / "tokenizer.json"
    told = json.loads(file.read_text())
    told["model"]["vocab"]["he"] = len(told["model"]["vocab"])  # llama.cpp reads no tokenizer without merges
    told["model"]["merges"] = [["h", "e"]]
    file.write_text(json.dumps(told))
    words = t.AutoTokenizer.from_pretrained(folder)
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    words.eos_token, words.chat_template = "<|im_end|>", template
    words.save_pretrained(folder)
    configs = {"llama": t.LlamaConfig, "mistral": t.MistralConfig, "qwen2": t.Qwen2Config}
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    shape = SHAPE | {"num_key_value_heads": 2, "vocab_size": len(words) + 3, "max_position_embeddings": 256}
    config = configs[kind](**shape, **ids, tie_word_embeddings=tied)
    torch.manual_seed(0)
    model = t.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too: those of ones and zeros would hide a wrong one
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def byte_study(tmp_path_factory):
    """A finished study on a byte-level model, trained beside int8 weights. Its places."""
    folder = tmp_path_factory.mktemp("bytes")
    generation = {"max_new_tokens": 4, "heldout_samples": 1, "batch_size": 4}
    training = {
        "learning_rate": 0.01,
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "evals_per_epoch": 1,
        "max_length": 128,
    }
    config = tiny.study(folder, methods=["int8-lora"], generation=generation, training=training)
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    byte_model(folder / "model")
    return finished(config, folder)


def refused(capsys, *arguments):
    assert command_line.main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


# the merged model


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_exported_folder_is_the_run_for_transformers_alone(finished_study, tmp_path, method, capsys):
    place = finished_study["results"] / "runs" / "words" / method / "seed-0"
    run_stage("export", place, "--output", tmp_path / "out")
    run = read_run(place / "run.json")
    ours = load_finetuned(run, finished_study["model"], place / "adapter")
    theirs = t.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    ids = torch.tensor([[4, 5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=ids).logits, ours(input_ids=ids).logits, atol=1e-5, rtol=0)
    assert t.AutoTokenizer.from_pretrained(tmp_path / "out")("profit rose")["input_ids"]
    record = read_json(tmp_path / "out" / "export.json")
    (check,) = record["checks"]
    assert check["rows"] == 12
    assert check["run_text_loss"] == pytest.approx(read_json(place / "evaluation.json")["text_loss"])
    assert check["largest"] < 1e-5
    assert check["same"] == check["answers"] == len(read_json(place / "samples.json"))
    said = capsys.readouterr().out
    assert "model.safetensors, read by transformers: loss of the text" in said
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"| {check['same']} of {check['answers']} |" in text
    assert "AutoModelForCausalLM.from_pretrained" in text


def test_a_classifier_is_exported_with_its_labels(tmp_path):
    training = {"max_steps": 2, "max_length": 32, "learning_rate": 1e-3, "evals_per_epoch": 1}
    places = finished(tiny.study(tmp_path, family="bert", methods=["lora"], training=training), tmp_path)
    run_stage("export", places["results"] / "runs/words/lora/seed-0", "--output", tmp_path / "out")
    model = t.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert set(model.config.label2id) == {"negative", "neutral", "positive"}
    assert read_json(tmp_path / "out/export.json")["checks"][0]["largest"] < 1e-5


def test_what_quantization_rounded_away_comes_back_and_is_measured(byte_study, tmp_path):
    place = byte_study["results"] / "runs/words/int8-lora/seed-0"
    run_stage("export", place, "--output", tmp_path / "out", "--tolerance", 1)
    (check,) = read_json(tmp_path / "out/export.json")["checks"]
    assert 1e-6 < check["largest"] < 0.2  # int8 weights are not the unquantized ones, and not far from them
    assert "It is merged into the weights that these were made from" in (tmp_path / "out/README.md").read_text()


def test_beyond_the_tolerance_nothing_is_exported(byte_study, tmp_path, capsys):
    place = byte_study["results"] / "runs/words/int8-lora/seed-0"
    said = refused(capsys, "export", place, "--output", tmp_path / "out", "--tolerance", 1e-9)
    assert "is more than the tolerance of 1e-09 nats a token, and nothing was exported" in said
    assert not (tmp_path / "out").exists()


def test_a_difference_that_is_no_number_is_refused():
    check = Check("a", "b", 1, math.nan, 1.0, math.nan, math.nan, math.nan, math.nan, 0, 0)
    with pytest.raises(TunebookError, match="more than the tolerance"):
        refuse_other_model(check, 1.0)


def test_a_row_without_text_takes_no_part_and_one_that_is_no_number_refuses():
    own = pandas.DataFrame({"text_loss": [1.0, math.nan, 3.0], "text_tokens": [2, 0, 2]})
    check = export.Own(own, [], [], own).check("f", "r", iter([1.5, math.nan, 3.5]), [])
    assert (check.rows, check.text_loss, check.run_text_loss, check.largest) == (2, 2.5, 2.0, 0.5)
    check = export.Own(own, [], [], own).check("f", "r", iter([math.nan, math.nan, 3.0]), [])
    with pytest.raises(TunebookError, match="more than the tolerance"):
        refuse_other_model(check, 1.0)


def test_other_tokens_are_refused():
    check = Check("a", "b", 1, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0, 0, texts=5, tokenized_alike=4)
    with pytest.raises(TunebookError, match="other tokens of 1 of 5 test rows"):
        refuse_other_model(check, 1.0)


def test_the_untouched_model_is_no_export(finished_study, capsys):
    said = refused(capsys, "export", finished_study["results"] / "runs/words/base/seed-0")
    assert "export a finetuned run" in said


def test_an_adapter_that_changes_no_weight_cannot_be_merged(tmp_path):
    config = tiny.study(tmp_path, methods=["p"], training={"max_steps": 1, "max_length": 32})
    config["methods"] = {"p": {"adapter": "prompt_tuning"}}
    places = prepared(config, tmp_path)
    trained(places, "words/p/seed-0")
    folder = places["results"] / "runs/words/p/seed-0"
    with pytest.raises(TunebookError, match="prompt_tuning puts trained vectors before the input"):
        merged_model(read_run(folder / "run.json"), places["model"], folder / "adapter")


# GGUF


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_reads_the_gguf_file_as_the_same_model(tmp_path, kind, tied):
    byte_model(tmp_path, kind, tied=tied)
    model = t.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    gguf_files.write_gguf(model, load_tokenizer(tmp_path), "m", "f32", tmp_path / "m.gguf")
    theirs = t.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf").eval()
    ids = torch.arange(4, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "within"), [("f16", 1e-3), ("q8_0", 0.01)])
def test_matrices_are_rounded_as_the_kind_says(tmp_path, kind, within):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    byte_model(tmp_path)
    model = t.AutoModelForCausalLM.from_pretrained(tmp_path)
    gguf_files.write_gguf(model, load_tokenizer(tmp_path), "m", kind, tmp_path / "m.gguf")
    read = {
        tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(tmp_path / "m.gguf").tensors
    }
    up = model.model.layers[1].mlp.up_proj.weight.detach().numpy()
    norm = model.model.layers[0].input_layernorm.weight.detach().numpy()
    error = numpy.abs(read["blk.1.ffn_up.weight"] - up).max() / numpy.abs(up).max()
    assert 0 < error < within
    assert (read["blk.0.attn_norm.weight"] == norm).all()  # vectors stay in float32


def test_the_files_tokens_are_the_tokenizers(tmp_path):
    byte_model(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    found = gguf_files.vocabulary_of(tokenizer, len(tokenizer) + 3)
    assert found.pre == "gpt-2"
    assert [found.tokens.index(token) for token in ("<s>", "a", "<|im_end|>")] == tokenizer.convert_tokens_to_ids(
        ["<s>", "a", "<|im_end|>"]
    )
    assert found.kinds[tokenizer.convert_tokens_to_ids("<|im_end|>")] == 3  # control
    assert found.kinds[tokenizer.convert_tokens_to_ids("a")] == 1
    assert found.kinds[-3:] == [5, 5, 5]  # rows of the embedding without a token


@pytest.mark.parametrize(
    ("config", "task", "said"),
    [
        (
            {"model_type": "opt"},
            "causal-lm",
            "found a causal-lm model of the architecture opt; written are causal models of llama",
        ),
        ({"model_type": "llama"}, "sequence-classification", "found a sequence-classification model"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "yarn"}}, "causal-lm", "scaled positions"),
    ],
)
def test_models_that_cannot_be_written_are_refused(config, task, said):
    with pytest.raises(TunebookError, match=said):
        gguf_files.check_architecture(config, task)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    tiny.model(tmp_path, "llama")
    with pytest.raises(TunebookError, match="kind WordLevel; written are byte-level BPE"):
        gguf_files.vocabulary_of(load_tokenizer(tmp_path), 200)


def test_a_tokenizer_without_merges_is_refused(tmp_path):
    write_tokenizer(tmp_path)
    with pytest.raises(TunebookError, match="without merges"):
        gguf_files.vocabulary_of(t.AutoTokenizer.from_pretrained(tmp_path), 300)


def test_two_tokens_of_one_id_are_refused(tmp_path):
    byte_model(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.get_vocab = lambda: {"a": 0, "b": 1, "c": 1}
    with pytest.raises(TunebookError, match="2 ids for 3 tokens"):
        gguf_files.vocabulary_of(tokenizer, 2)


def test_an_unknown_way_of_parting_texts_is_refused(tmp_path):
    byte_model(tmp_path)
    file = tmp_path / "tokenizer.json"
    told = json.loads(file.read_text())
    told["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "a+"}, "behavior": "Isolated", "invert": False},
            told["pre_tokenizer"],
        ],
    }
    file.write_text(json.dumps(told))
    with pytest.raises(TunebookError, match="way of parting texts is not known"):
        gguf_files.vocabulary_of(load_tokenizer(tmp_path), 262)


def test_export_with_gguf_writes_a_modelfile_and_says_what_was_not_checked(byte_study, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(llama_cpp, "is_installed", lambda: False)
    place = byte_study["results"] / "runs/words/int8-lora/seed-0"
    run_stage("export", place, "--output", tmp_path / "out", "--gguf", "q8_0", "--tolerance", 1)
    assert "model-q8_0.gguf was written and NOT checked" in capsys.readouterr().out
    assert "`model-q8_0.gguf` was written and not checked" in (tmp_path / "out/README.md").read_text()
    assert len(read_json(tmp_path / "out/export.json")["checks"]) == 1
    assert (tmp_path / "out/Modelfile").read_text().startswith("FROM ./model-q8_0.gguf\n")


@pytest.mark.parametrize("kind", gguf_files.TYPES)
def test_llama_cpp_reads_the_file_as_the_same_model(byte_study, tmp_path, kind):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is built when it is installed: pip install .[gguf]")
    place = byte_study["results"] / "runs/words/int8-lora/seed-0"
    run_stage("export", place, "--output", tmp_path / "out", "--gguf", kind, "--tolerance", 0.2)
    merged, check = read_json(tmp_path / "out/export.json")["checks"]
    assert check["read_by"] == "llama.cpp"
    assert check["texts"] == check["tokenized_alike"] == 12
    assert check["text_loss"] == pytest.approx(merged["text_loss"], abs={"f32": 1e-3, "f16": 2e-3, "q8_0": 0.02}[kind])


def crash(*_):
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_of_llama_cpp_is_told_and_nothing_is_exported(byte_study, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(llama_cpp, "is_installed", lambda: True)
    monkeypatch.setattr(export, "check_gguf", crash)
    place = byte_study["results"] / "runs/words/int8-lora/seed-0"
    said = refused(capsys, "export", place, "--output", tmp_path / "out", "--gguf", "f16", "--tolerance", 1)
    assert "llama.cpp crashed when it read the file, and nothing was exported" in said
    assert not (tmp_path / "out").exists()


# Modelfile


def test_the_modelfiles_template_writes_what_the_chat_template_writes(tmp_path):
    byte_model(tmp_path)
    run = run_for("llama")
    run["model"]["system_prompt"] = "Be brief."
    tokenizer = load_tokenizer(tmp_path)
    told = go_template(run, tokenizer)
    head, _, rest = told.partition("{{ range $at, $_ := .Messages }}")
    assert head == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    between = rest.partition("{{ if $at }}")[2].partition("{{ end }}")[0]
    asked = rest.partition("{{ .Content }}")[2].partition("{{ else if")[0]
    prompt = chat_template_of(tokenizer, spec_of(run)).prompt("What now?")
    assert prompt == f"{head}What now?{asked}"
    assert between == "<|im_end|>\n<|im_start|>user\n"
    text = modelfile(run, tokenizer, "m.gguf", 7)
    assert 'PARAMETER stop "<|im_end|>"\n' in text
    assert "PARAMETER num_predict 7\n" in text


def test_a_model_without_a_chat_template_is_asked_with_the_text_itself(tmp_path):
    byte_model(tmp_path, template=None)
    assert go_template(run_for("llama"), load_tokenizer(tmp_path)) == "{{ .Prompt }}"


def test_a_template_that_writes_turns_in_two_ways_is_refused(tmp_path):
    odd = "{% for m in messages %}{{ m['content'] + '<|im_end|>' * loop.index }}{% endfor %}"
    byte_model(tmp_path, template=odd)
    with pytest.raises(TunebookError, match="two turns in different ways"):
        go_template(run_for("llama"), load_tokenizer(tmp_path))
