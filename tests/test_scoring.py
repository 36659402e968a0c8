"""The loss is token-weighted and does not depend on the batch it was computed in."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaForCausalLM

from tests import tiny
from tunebook.finetuning import metrics
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.models import load_model
from tunebook.finetuning.scoring import mean_over_tokens, score, supervised_losses, token_losses
from tunebook.finetuning.tokenizers import load_tokenizer


def run_for(family: str, quantization: str | None = None) -> dict:
    task = "seq2seq-lm" if family == "t5" else "causal-lm"
    model = {
        "dtype": "float32",
        "attn_implementation": None,
        "skip_modules": [],
        "system_prompt": None,
        "chat_template": True,
    }
    model["template_date"] = None
    return {
        "task": task,
        "model": model,
        "quantization": quantization,
        "seed": 0,
        "dataset": {"labels": [], "learn": "assistant", "prompt": None, "completion": None, "text": None},
        "adapter": None,
        "trains": "all",
    }


def test_token_losses_against_a_case_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3]]]))  # (1, 3, 3)
    labels = torch.tensor([[NO_LOSS, 0, 1]])
    losses = token_losses(logits, labels, "causal-lm")
    assert losses.tolist() == pytest.approx([math.log(2), -math.log(0.8)])
    losses = token_losses(logits, torch.tensor([[0, NO_LOSS, 2]]), "seq2seq-lm")
    assert losses.tolist() == pytest.approx([math.log(2), math.log(3)])


def test_the_mean_weighs_tokens_not_rows():
    assert mean_over_tokens([(10.0, 10), (2.0, 1)]) == pytest.approx(12 / 11)


def with_outliers(folder):
    """A tiny Llama whose activations exceed the threshold of LLM.int8() in some columns, as large models' do."""
    tiny.model(folder, "llama")
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.input_layernorm.weight[::4] *= 3
            layer.post_attention_layernorm.weight[::4] *= 3
            for linear in (layer.self_attn.v_proj, layer.self_attn.o_proj, layer.mlp.up_proj, layer.mlp.down_proj):
                linear.weight *= 6
    model.save_pretrained(folder)


@pytest.mark.parametrize(("quantization", "depends"), [(None, False), ("nf4", False), ("int8", True)])
def test_losses_of_int8_alone_depend_on_the_batch(tmp_path, quantization, depends):
    """Fails once int8 losses are independent of the batch: then the report's sentence on it may go."""
    with_outliers(tmp_path)
    model, tokenizer = load_model(run_for("llama", quantization), tmp_path), load_tokenizer(tmp_path)
    rows = [{"input_ids": ids, "labels": ids} for ids in ([number + 4, *range(20 + number, 30)] for number in range(8))]
    collate = collator_for("causal-lm", tokenizer, model)
    alone, together = (mean_over_tokens(score(model, rows, collate, size)) for size in (1, 8))
    assert (abs(alone - together) > 1e-4) == depends
    assert alone == pytest.approx(together, abs=0.02)


@pytest.mark.parametrize("family", ["llama", "t5", "opt", "falcon"])
def test_the_batch_size_changes_no_loss(tmp_path, family):
    tiny.model(tmp_path, family)
    model, tokenizer = load_model(run_for(family), tmp_path), load_tokenizer(tmp_path)
    rows = []
    for text in ("profit rose", "the first day of the time that you make water", "sales", "it is hot"):
        ids = tokenizer(text)["input_ids"] + [3]
        rows.append({"input_ids": ids, "labels": [NO_LOSS, *ids[1:]] if family != "t5" else ids})
    collate = collator_for(run_for(family)["task"], tokenizer, model)
    losses = [mean_over_tokens(score(model, rows, collate, size)) for size in (1, 2, 3, 4)]
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-5)
    by_row = [score(model, [row], collate, 1)[0] for row in rows]
    assert [loss for loss, _ in score(model, rows, collate, 3)] == pytest.approx([loss for loss, _ in by_row], abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "t5", "opt", "falcon"])
def test_rows_of_a_batch_do_not_see_each_other(tmp_path, family):
    """Rows are padded and never packed: each token's loss is the one that its row has alone, whatever stands beside it."""
    tiny.model(tmp_path, family)
    model, tokenizer = load_model(run_for(family), tmp_path).eval(), load_tokenizer(tmp_path)
    collate = collator_for(run_for(family)["task"], tokenizer, model)

    def losses(*texts: str) -> list[list[float]]:
        rows = []
        for text in texts:
            ids = tokenizer(text)["input_ids"] + [3]
            rows.append({"input_ids": ids, "labels": ids if family == "t5" else [NO_LOSS, *ids[1:]]})
        found, places = supervised_losses(model, collate(rows), collate.task)
        return [found[places == row].tolist() for row in range(len(rows))]

    with torch.no_grad():
        short, long = "profit rose", "the first day of the time that you make water"
        alone = losses(short)[0]
        assert len(alone) >= 2
        for neighbours in ([long], ["sales", "it is hot"], [long, long, short]):
            for place in range(len(neighbours) + 1):
                beside = losses(*neighbours[:place], short, *neighbours[place:])[place]
                assert beside == pytest.approx(alone, abs=1e-5)


def test_the_loss_is_that_of_transformers(tmp_path):
    tiny.model(tmp_path, "llama")
    model, tokenizer = load_model(run_for("llama"), tmp_path), load_tokenizer(tmp_path)
    ids = tokenizer("the first day of the time that you make water")["input_ids"]
    theirs = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
    ours = score(
        model, [{"input_ids": ids, "labels": [NO_LOSS, *ids[1:]]}], collator_for("causal-lm", tokenizer, model), 1
    )
    assert mean_over_tokens(ours) == pytest.approx(theirs, abs=1e-5)


def test_bits_per_byte_divides_by_bytes():
    assert metrics.bits_per_byte([math.log(2) * 6], [3]) == pytest.approx(2.0)
    assert metrics.bits_per_byte([1.0], [0]) is None  # a class has none
    assert metrics.perplexity(math.log(7)) == pytest.approx(7)
