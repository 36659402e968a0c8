"""Classifiers: whose class is whose label, what starts at random, and which token is read."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as t
from safetensors import safe_open

from tests import tiny
from tests.records import fake_study
from tests.stages import finished, prepared, trained
from tests.test_cards import snippet
from tests.test_report import TEMPLATES, finish
from tests.test_scoring import run_for
from tunebook.cards import model_card
from tunebook.errors import TunebookError
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.heads import Head, find_head
from tunebook.finetuning.labels import classes_of
from tunebook.finetuning.models import load_model
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json, write_json
from tunebook.report import render
from tunebook.reporting.head_words import head_words
from tunebook.reporting.study_folder import read_study

LABELS = ["negative", "neutral", "positive"]


@pytest.mark.parametrize(
    ("id2label", "labels", "by_name"),
    [
        ({"0": "Positive", "1": "NEGATIVE", "2": " neutral"}, ("positive", "negative", "neutral"), True),
        ({"10": "neutral", "9": "negative", "2": "positive"}, ("positive", "negative", "neutral"), True),
        ({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, tuple(LABELS), False),
        ({"0": "positive", "1": "negative", "2": "mixed"}, tuple(LABELS), False),
        ({"0": "positive", "1": "negative"}, tuple(LABELS), False),
        (None, tuple(LABELS), False),
    ],
)
def test_classes_are_matched_by_name_or_not_at_all(id2label, labels, by_name):
    classes = classes_of({"id2label": id2label}, LABELS)
    assert (classes.labels, classes.by_name) == (labels, by_name)


def test_labels_that_differ_in_case_alone_are_not_matched_by_name():
    assert not classes_of({"id2label": {"0": "a", "1": "A"}}, ["A", "a"]).by_name


def classifier(folder, names: list[str]):
    """A classifier that tells `profit rose` and the like by one weight a word. Its classes have the order of `names`."""
    words = tiny.tokenizer(folder, bert=True)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = t.BertConfig(
        **shape,
        vocab_size=len(words),
        pad_token_id=1,
        num_labels=len(names),
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )
    config.id2label, config.label2id = dict(enumerate(names)), {name: at for at, name in enumerate(names)}
    torch.manual_seed(0)
    model = t.BertForSequenceClassification(config)
    rows = tiny.texts(90)
    batch = words([row["text"] for row in rows], padding=True, return_tensors="pt", return_token_type_ids=False)
    told = torch.tensor([[name.lower() for name in names].index(row["label"]) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(30):
        model(**batch, labels=told).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (model.eval()(**batch).logits.argmax(-1) == told).all()
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def finished_classifier(tmp_path_factory):
    """A study on a classifier whose own order of labels is another than the data set's: lora and full. Its places."""
    folder = tmp_path_factory.mktemp("classifier")
    training = {"max_steps": 2, "max_length": 32, "learning_rate": 1e-4, "evals_per_epoch": 1}
    config = tiny.study(folder, family="bert", methods=["lora", "full"], training=training)
    classifier(folder / "model", ["Positive", "Negative", "Neutral"])
    return finished(config, folder)


def test_a_finished_classifier_is_measured_by_its_own_labels(finished_classifier):
    runs = finished_classifier["results"] / "runs" / "words"
    record = read_json(runs / "base/seed-0/evaluation.json")
    assert record["metrics"]["accuracy"] == 1.0
    assert record["loss"] < 0.5
    assert record["head"] == {
        "start": "checkpoint",
        "modules": ["classifier"],
        "labels": ["positive", "negative", "neutral"],
        "matched": "name",
        "checkpoint_labels": ["Positive", "Negative", "Neutral"],
    }
    for method in ("lora", "full"):
        assert read_json(runs / method / "seed-0/training.json")["head"] == record["head"]
        assert read_json(runs / method / "seed-0/evaluation.json")["metrics"]["accuracy"] == 1.0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # peft's
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_published_classifier_names_its_classes(finished_classifier, method, monkeypatch, capsys):
    study = read_study(finished_classifier["results"])
    experiment = study.experiments[0]
    run = experiment.methods[method][0]
    config = read_json(run.folder / "adapter" / "config.json")
    assert config["id2label"] == {"0": "positive", "1": "negative", "2": "neutral"}
    assert config["label2id"] == {"positive": 0, "negative": 1, "neutral": 2}
    assert "quantization_config" not in config
    code = snippet(model_card(study, experiment, run, TEMPLATES), run.folder / "adapter")
    monkeypatch.chdir(finished_classifier["model"].parents[1])
    exec(compile(code.replace("results/models", "models"), "model_card.md", "exec"), {})
    assert capsys.readouterr().out == "positive\n"  # the prompt is: profit rose


def test_a_head_by_position_a_replaced_and_a_new_one_are_told_apart(tmp_path):
    run = run_for("bert") | {"task": "sequence-classification", "dataset": {"labels": LABELS}}
    tiny.model(tmp_path / "new", "bert")
    classifier(tmp_path / "own", ["positive", "negative", "neutral"])
    plain = read_json(tmp_path / "own" / "config.json")
    plain["id2label"] = {str(number): f"LABEL_{number}" for number in range(3)}
    (tmp_path / "position").mkdir()
    for file in (tmp_path / "own").iterdir():
        (tmp_path / "position" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "position" / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    heads = {name: find_head(run, tmp_path / name) for name in ("new", "own", "position")}
    heads["replaced"] = find_head(run | {"dataset": {"labels": ["a", "b"]}}, tmp_path / "own")
    told = {name: (head.start, head.matched) for name, head in heads.items()}
    assert told == {
        "new": ("new", "position"),
        "own": ("checkpoint", "name"),
        "position": ("checkpoint", "position"),
        "replaced": ("replaced", "position"),
    }
    words = {name: head_words(vars(head)) for name, head in heads.items()}
    assert "classes are named LABEL_0, LABEL_1 and LABEL_2" in words["position"]
    assert "hold only if this order is right" in words["position"]
    assert "a head of 3 classes (positive, negative and neutral), and the data set has 2 labels" in words["replaced"]
    assert len(set(words.values())) == 4
    model = load_model(run | {"dataset": {"labels": ["a", "b"]}}, tmp_path / "own")
    assert model.config.id2label == {0: "a", 1: "b"}


def test_the_report_says_whose_head_it_is(tmp_path):
    folder = fake_study(tmp_path, experiments=1)
    file = folder / "runs/experiment-0/base/seed-0/evaluation.json"
    head = Head("checkpoint", ("classifier",), tuple(LABELS), "position", ("LABEL_0", "LABEL_1", "LABEL_2"))
    assert head_words(vars(head)) not in " ".join(render(finish(folder), TEMPLATES).split())
    write_json(file, read_json(file) | {"head": vars(head)})
    assert head_words(vars(head)) in " ".join(render(read_study(folder), TEMPLATES).split())


def test_what_starts_at_random_is_in_the_adapter(tmp_path):
    """DistilBERT's classifier and the layer before it, whose names end alike; no other receiver could have either."""
    config = tiny.study(tmp_path, family="bert", methods=["lora"])
    words = load_tokenizer(tmp_path / "model")
    t.DistilBertModel(
        t.DistilBertConfig(dim=64, hidden_dim=64, n_layers=1, n_heads=2, vocab_size=len(words), pad_token_id=1)
    ).save_pretrained(tmp_path / "model")
    places = prepared(config, tmp_path)
    record, _ = trained(places, "words/lora/seed-0")
    assert record["head"]["modules"] == ["pre_classifier", "classifier"]
    file = places["results"] / "runs/words/lora/seed-0/adapter/adapter_model.safetensors"
    with safe_open(file, "pt") as tensors:
        names = set(tensors.keys())
    for module in record["head"]["modules"]:
        assert f"base_model.model.{module}.weight" in names
        assert not any(f"{module}.lora_A" in name for name in names)


def decoder(folder, family: str, pad_in_config: int | None):
    words = tiny.tokenizer(folder)
    shared = {"vocab_size": len(words), "pad_token_id": pad_in_config, "bos_token_id": 2, "eos_token_id": 3}
    size = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    models = {
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(n_embd=64, n_layer=1, n_head=2, n_positions=64, **shared)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**size, **shared)),
        "xlnet": lambda: t.XLNetLMHeadModel(t.XLNetConfig(d_model=64, d_inner=64, n_layer=1, n_head=2, **shared)),
    }
    torch.manual_seed(0)
    models[family]().save_pretrained(folder)


@pytest.mark.parametrize("pad", ["<pad>", None])
@pytest.mark.parametrize(("family", "pad_in_config"), [("gpt2", None), ("llama", None), ("llama", 7), ("xlnet", 5)])
def test_the_last_token_of_a_row_is_classified_whatever_stands_beside_it(tmp_path, family, pad_in_config, pad):
    decoder(tmp_path, family, pad_in_config)
    run = run_for("bert") | {"task": "sequence-classification", "dataset": {"labels": LABELS}}
    model, tokenizer = load_model(run, tmp_path).eval(), load_tokenizer(tmp_path)
    tokenizer.pad_token = pad
    collate = collator_for(run["task"], tokenizer, model)
    rows = [{"input_ids": ids, "labels": [0]} for ids in ([9, 7], [9, 8, 7, 6, 5, 7, 7], [7])]
    with torch.no_grad():
        alone = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in rows])
        batch = collate(rows)
        together = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(together, alone)
    assert (alone[0] - alone[2]).abs().max() > 1e-4  # the rows end alike: one place alone does not tell them apart
    if family == "llama":  # what others pad on the left is read at the same token
        left = {name: torch.stack([row.roll(int((mask == 0).sum())) for row, mask in zip(batch[name], batch["attention_mask"], strict=True)])
                for name in ("input_ids", "attention_mask")}  # fmt: skip
        with torch.no_grad():
            torch.testing.assert_close(model(**left).logits, alone)


def test_a_tokenizer_that_ends_texts_with_its_only_filler_gets_another(tmp_path):
    from tokenizers.processors import TemplateProcessing

    decoder(tmp_path, "llama", None)
    run = run_for("bert") | {"task": "sequence-classification", "dataset": {"labels": LABELS}}
    model, tokenizer = load_model(run, tmp_path), load_tokenizer(tmp_path)
    tokenizer.pad_token = None
    assert collator_for(run["task"], tokenizer, model).pad_id == tokenizer.eos_token_id == model.config.pad_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 3)])
    assert collator_for(run["task"], tokenizer, model).pad_id == tokenizer.unk_token_id == model.config.pad_token_id


def test_a_classifier_that_cannot_be_padded_is_refused(tmp_path):
    decoder(tmp_path, "xlnet", 5)
    values = read_json(tmp_path / "config.json") | {"summary_type": "mean"}
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    run = run_for("bert") | {"task": "sequence-classification", "dataset": {"labels": LABELS}}
    with pytest.raises(TunebookError, match="a row's class depends on its batch; set summary_type to last or first"):
        collator_for(run["task"], load_tokenizer(tmp_path), load_model(run, tmp_path))


def test_an_encoder_decoder_needs_the_token_that_its_class_is_read_at(tmp_path):
    tiny.model(tmp_path, "t5")
    run = run_for("t5") | {"task": "sequence-classification", "dataset": {"labels": LABELS}}
    model = load_model(run, tmp_path)
    collate = collator_for(run["task"], load_tokenizer(tmp_path), model)
    collate([{"input_ids": [5, 6, 3], "labels": [0]}])
    for ids in ([5, 6], [5, 3, 6, 3]):
        with pytest.raises(TunebookError, match=rf"found a row with {ids.count(3)} end tokens \(id 3\)"):
            collate([{"input_ids": ids, "labels": [0]}])


@pytest.mark.parametrize("task", ["seq2seq-lm", "sequence-classification"])
def test_a_decoder_without_a_start_begins_as_generate_does_or_is_refused(tmp_path, task):
    tiny.model(tmp_path, "t5")
    run = run_for("t5") | {"task": task, "dataset": {"labels": LABELS}}
    model, tokenizer = load_model(run, tmp_path), load_tokenizer(tmp_path)
    model.generation_config = None
    model.config.decoder_start_token_id = None
    model.config.bos_token_id = 2
    collator_for(task, tokenizer, model)
    if task == "seq2seq-lm":
        assert collator_for(task, tokenizer, model).decoder_start_id == 2
    model.config.decoder_start_token_id = model.config.bos_token_id = None
    with pytest.raises(TunebookError, match=r"neither decoder_start_token_id nor bos_token_id .* t5 model"):
        collator_for(task, tokenizer, model)
