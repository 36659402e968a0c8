"""The likeliest label: against one forward pass a label, for any batch size, and as the data have it learnt."""

import pandas
import pytest
import torch

from tests import tiny
from tests.stages import prepared, run_stage
from tests.test_scoring import run_for
from tunebook.finetuning import metrics
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS, encode, spec_of
from tunebook.finetuning.likelihood import completions_of, likeliest
from tunebook.finetuning.models import load_model
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json
from tunebook.reporting.metrics import known

NAMES = ["negative", "neutral", "positive two"]  # of one and of two tokens


def encoded(tokenizer, task):
    spec = spec_of(run_for("llama") | {"task": task}) | {"max_length": 32, "max_target_length": 8}
    texts = ["profit rose", "the first day of the time", "sales fell so many times", "it is hot"]
    rows = [
        {"text": None, "messages": None, "prompt": text, "completion": NAMES[at % 3]} for at, text in enumerate(texts)
    ]
    lines = [encode(row, tokenizer, spec) for row in rows]
    return [{"input_ids": one.input_ids, "labels": one.labels} for one in lines], [row["completion"] for row in rows]


def probability(model, tokens, completion, task):
    """log p(completion | row) from a single forward pass."""
    end = [*completion, 3]
    if task == "seq2seq-lm":
        start = model.config.decoder_start_token_id
        logits = model(input_ids=torch.tensor([tokens]), decoder_input_ids=torch.tensor([[start, *completion]])).logits[
            0
        ]
    else:
        logits = model(input_ids=torch.tensor([[*tokens, *completion]])).logits[0, len(tokens) - 1 :]
    return logits.log_softmax(-1)[range(len(end)), end].sum().item()


@pytest.mark.parametrize(("family", "task"), [("llama", "causal-lm"), ("t5", "seq2seq-lm")])
@torch.no_grad()
def test_it_is_the_label_of_the_highest_probability(tmp_path, family, task):
    tiny.model(tmp_path, family)
    model, tokenizer = load_model(run_for(family), tmp_path).eval(), load_tokenizer(tmp_path)
    for parameter in model.parameters():
        parameter.mul_(3)  # a random model prefers hardly anything
    tokens, labels = encoded(tokenizer, task)
    expected = []
    for line in tokens:
        prompt = line["input_ids"] if task == "seq2seq-lm" else line["input_ids"][: line["labels"].count(NO_LOSS)]
        ids = {name: tokenizer(name, add_special_tokens=False)["input_ids"] for name in NAMES}
        chances = {name: probability(model, prompt, ids[name], task) for name in NAMES}
        expected.append(max(chances, key=chances.__getitem__))
    collate = collator_for(task, tokenizer, model)
    for size in (1, 2, 12):
        assert likeliest(model, tokenizer, tokens, labels, NAMES, collate=collate, batch_size=size) == expected


def test_completions_are_those_that_were_learnt(tmp_path):
    tokenizer = tiny.tokenizer(tmp_path)
    tokens = [{"input_ids": [5, 6, 7, 3], "labels": [NO_LOSS, NO_LOSS, 7, 3]}] * 2
    tokens = [*tokens, {"input_ids": [5, 6, 8], "labels": [NO_LOSS, NO_LOSS, 8]}]  # cut short: not what most have
    found = completions_of(tokenizer, tokens, ["the", "the", "the"], ["the", "of"])
    assert found == {"the": [7, 3], "of": [tokenizer.get_vocab()["of"], 3]}


def test_its_metrics_by_hand():
    record = {"labels": ["a", "b"], "metrics": {}, "intervals": {}}
    metrics.add_likelihood(record, ["a", "a", "b", "b"], ["a", "b", "b", "b"])
    assert record["metrics"] == pytest.approx({"likelihood_accuracy": 0.75, "likelihood_macro_f1": (2 / 3 + 4 / 5) / 2})
    assert all(low < record["metrics"][name] < high for name, (low, high) in record["intervals"].items())


def test_the_untouched_model_is_scored_by_likelihood_too(tmp_path):
    places = prepared(tiny.study(tmp_path, family="t5", few_shot=3), tmp_path)
    run = places["results"] / "runs/words/base/seed-0"
    run_stage("evaluate", "--run", run / "run.json", "--model", places["model"], "--tokens", places["tokens"],
              "--dataset", places["dataset"], "--output", run)  # fmt: skip
    record = read_json(run / "evaluation.json")
    assert set(record["metrics"]) == {
        "accuracy", "macro_f1", "invalid_answer_rate", "likelihood_accuracy", "likelihood_macro_f1",
    }  # fmt: skip
    assert set(record["metrics"]) <= set(known())
    (told,) = record["few_shot"]  # three examples, one of each label, judged in the same ways
    answers = pandas.read_parquet(run / "predictions.parquet")
    for draw in told["draws"]:
        assert set(draw["metrics"]) == set(record["metrics"])
        assert sum(map(sum, draw["confusion"])) == draw["rows"] == record["rows"]
        correct = answers[f"few_shot_3_{draw['seed']}_correct"]
        assert correct.mean() == pytest.approx(draw["metrics"]["accuracy"])
        assert not answers[f"few_shot_3_{draw['seed']}_loss"].equals(answers["loss"])
    assert record["few_shot"][0]["mean"]["accuracy"] == pytest.approx(
        sum(draw["metrics"]["accuracy"] for draw in told["draws"]) / 5
    )
