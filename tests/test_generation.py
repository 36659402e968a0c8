"""Answers: the same alone and in a batch for every kind of encoder-decoder, and greedy whatever the model came with."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as t

from tests import tiny
from tests.test_scoring import run_for
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS, prompt_of
from tunebook.finetuning.generation import answer, decoding_of
from tunebook.finetuning.likelihood import likeliest
from tunebook.finetuning.scoring import token_losses

NAMES = ["positive", "negative", "neutral"]
ENDS = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
SHAPE = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "decoder_start_token_id": 2}  # fmt: skip
FAMILIES = ("bart", "mbart", "pegasus", "marian", "blenderbot", "led", "t5", "bert2bert")
# A summariser's: what BART and its kin come with, and a penalty
FORCING = {"min_length": 12, "no_repeat_ngram_size": 3, "repetition_penalty": 1.7, "forced_bos_token_id": 0,
           "forced_eos_token_id": 3, "num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "max_length": 142,
           "suppress_tokens": [100, 101], "begin_suppress_tokens": [102, 103], "encoder_no_repeat_ngram_size": 4}  # fmt: skip


def encoder_decoder(family: str, vocabulary: int) -> torch.nn.Module:
    """A model of a few thousand weights, whose positions matter."""
    torch.manual_seed(0)
    if family == "t5":
        shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 2}
        model = t.T5ForConditionalGeneration(t.T5Config(vocab_size=vocabulary, **shape, **ENDS))
    elif family == "bert2bert":
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        reads = t.BertConfig(vocab_size=vocabulary, pad_token_id=1, **shape)
        writes = t.BertConfig(vocab_size=vocabulary, pad_token_id=1, is_decoder=True, add_cross_attention=True, **shape)
        pair = t.EncoderDecoderConfig.from_encoder_decoder_configs(reads, writes, decoder_start_token_id=2, **ENDS)
        model = t.EncoderDecoderModel(pair)
    else:
        kinds = {"bart": "Bart", "mbart": "MBart", "pegasus": "Pegasus", "blenderbot": "Blenderbot", "led": "LED"}
        shape = SHAPE | {"vocab_size": vocabulary, **ENDS}
        shape |= {"attention_window": [8]} if family == "led" else {"max_position_embeddings": 64}
        if family == "marian":
            model = t.MarianMTModel(t.MarianConfig(**shape))
        else:
            name = kinds[family]
            model = getattr(t, f"{name}ForConditionalGeneration")(getattr(t, f"{name}Config")(**shape))
    return model.eval()


def rows_of(tokenizer, count=9):
    """Prompts of different lengths with a label of one token each: (lines, labels)."""
    lines, labels = [], []
    for at in range(count):
        label = NAMES[at % 3]
        ids = tokenizer(f"profit {' '.join(tiny.WORDS[at * 5 : at * 5 + 1 + 3 * (at % 4)])} {tiny.WORDS[90 + at]}")
        lines.append({"input_ids": [*ids["input_ids"], 3], "labels": [*tokenizer(label)["input_ids"], 3]})
        labels.append(label)
    return lines, labels


def learn(model, lines, collate, steps=40):
    """Train until the labels are known, in one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch = collate(lines)
    labels = batch.pop("labels")
    for _ in range(steps):
        token_losses(model(**batch).logits, labels, collate.task).sum().div((labels != NO_LOSS).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_the_same_alone_and_in_a_batch_and_the_likeliest_label(tmp_path, family):
    tokenizer = tiny.tokenizer(tmp_path)
    model = encoder_decoder(family, len(tokenizer))
    lines, labels = rows_of(tokenizer)
    prompts = [line["input_ids"] for line in lines]
    loud = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in loud.parameters():
            parameter.mul_(5)  # a random model prefers hardly anything
    alone, together = (
        answer(loud, prompts, tokenizer, max_new_tokens=6, batch_size=size) for size in (1, len(prompts))
    )
    assert together == alone
    collate = collator_for("seq2seq-lm", tokenizer, model)
    learn(model, lines, collate)
    given = [told.text for told in answer(model, prompts, tokenizer, max_new_tokens=4, batch_size=4)]
    options = {"collate": collate, "batch_size": 4}
    assert given == likeliest(model, tokenizer, lines, labels, NAMES, **options)
    assert len(set(given)) >= 2


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's
@pytest.mark.parametrize("family", ["bart", "llama"])
@pytest.mark.parametrize("adapted", [False, True])
def test_nothing_that_the_model_came_with_changes_its_answers(tmp_path, family, adapted):
    tiny.model(tmp_path, "llama")
    tokenizer = tiny.tokenizer(tmp_path)
    run = run_for("t5" if family == "bart" else "llama")
    model = (
        encoder_decoder("bart", len(tokenizer))
        if family == "bart"
        else t.AutoModelForCausalLM.from_pretrained(tmp_path)
    )
    lines, _ = rows_of(tokenizer)
    if family == "llama":
        lines = [
            {
                "input_ids": line["input_ids"] + line["labels"],
                "labels": [NO_LOSS] * len(line["input_ids"]) + line["labels"],
            }
            for line in lines
        ]
    learn(model, lines, collator_for(run["task"], tokenizer, model))
    if adapted:
        model = make_trainable(model, run | {"adapter": tiny.LORA}).eval()
    prompts = [prompt_of(run, line) for line in lines]
    greedy = answer(model, prompts, tokenizer, max_new_tokens=14, batch_size=3)
    assert [told.tokens for told in greedy] == [1] * len(prompts)
    base = model.get_base_model() if adapted else model
    own = t.GenerationConfig(**FORCING, decoder_start_token_id=2, **ENDS)
    base.generation_config = own
    assert answer(model, prompts, tokenizer, max_new_tokens=14, batch_size=3) == greedy
    assert base.generation_config is own  # as it was
    told = decoding_of(model, tokenizer, 14)
    assert told.set_aside == FORCING
    assert told.in_force["max_new_tokens"] == 14
    assert told.in_force["eos_token_id"] == [3]


def test_an_answer_that_is_cut_did_not_stop(tmp_path):
    tiny.model(tmp_path, "llama")
    tokenizer, model = tiny.tokenizer(tmp_path), t.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        model.lm_head.weight[3] = 0  # never the likeliest
    model.generation_config.forced_eos_token_id = 3
    told = answer(model, [[5, 6, 7]], tokenizer, max_new_tokens=5, batch_size=1)[0]
    assert (told.tokens, told.stopped) == (5, False)


def test_padding_that_a_model_forbids_stays_forbidden(tmp_path):
    tiny.model(tmp_path, "llama")
    tokenizer, model = tiny.tokenizer(tmp_path), t.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert "suppress_tokens" not in decoding_of(model, tokenizer, 5).in_force
    model.generation_config.bad_words_ids = [[1], [50]]
    told = decoding_of(model, tokenizer, 5)
    assert told.in_force["suppress_tokens"] == [1]
    assert told.set_aside == {"bad_words_ids": [[1], [50]]}


def test_what_was_in_force_by_default_is_not_told_as_set_aside(tmp_path):
    tiny.model(tmp_path, "llama")
    tokenizer, model = tiny.tokenizer(tmp_path), t.AutoModelForCausalLM.from_pretrained(tmp_path)
    model.generation_config.update(do_sample=True, temperature=0.7, num_beams=1, min_length=0)
    assert decoding_of(model, tokenizer, 5).set_aside == {"do_sample": True, "temperature": 0.7}
