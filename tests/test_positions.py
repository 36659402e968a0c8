"""How many tokens a model reads: the rule of each kind of positions, held against the models themselves."""

import pandas
import pytest
import torch
import transformers as t

from tests import tiny
from tests.test_rows import ABSENT, SPEC
from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import encode
from tunebook.finetuning.positions import Positions, positions_of
from tunebook.finetuning.room import Asked, check_room

LONG = 40  # tokens; tables of positions have 16 or so
SHARED = {"vocab_size": 50, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
SHAPE = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
BART = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 16,
}  # fmt: skip
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
FAMILIES = {  # class -> settings, positions
    "Bert": ({**SHAPE, "max_position_embeddings": 16}, Positions(limit=16)),
    "DistilBert": ({"dim": 16, "hidden_dim": 16, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 16}, Positions(limit=16)),
    "Electra": ({**SHAPE, "embedding_size": 16, "max_position_embeddings": 16}, Positions(limit=16)),
    "Roberta": ({**SHAPE, "max_position_embeddings": 18, "type_vocab_size": 1}, Positions(limit=16)),
    "MPNet": ({**SHAPE, "max_position_embeddings": 18}, Positions(limit=16)),
    "GPT2": (GPT, Positions(limit=16)),
    "GPTBigCode": (GPT, Positions(limit=16)),
    "GPTJ": ({**GPT, "rotary_dim": 4}, Positions(limit=16)),
    "OPT": (
        {"hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "word_embed_proj_dim": 16,
         "max_position_embeddings": 16}, Positions(limit=16)),
    "Bart": (BART, Positions(limit=16)),
    "Marian": (BART, Positions(limit=16)),
    "Llama": ({**SHAPE, "max_position_embeddings": 16}, Positions(trained=16)),
    "Mistral": ({**SHAPE, "max_position_embeddings": 16, "sliding_window": 8, "num_key_value_heads": 2}, Positions(trained=16)),
    "GPTNeoX": ({**SHAPE, "max_position_embeddings": 16}, Positions(trained=16)),
    "Falcon": ({"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16},
               Positions(trained=16)),
    "Bloom": ({"hidden_size": 16, "n_layer": 1, "n_head": 2}, Positions()),
    "Mpt": ({"d_model": 16, "n_layers": 1, "n_heads": 2, "max_seq_len": 16}, Positions(limit=16)),
    "DebertaV2": (
        {**SHAPE, "max_position_embeddings": 16, "relative_attention": True, "position_biased_input": False,
         "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}, Positions()),
    "T5": ({"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}, Positions()),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_model_reads_as_many_tokens_as_its_config_says(family):
    settings, expected = FAMILIES[family]
    config = getattr(t, f"{family}Config")(**settings, **SHARED)
    assert positions_of(config.to_dict()) == expected
    model = getattr(t, f"{family}Model")(config).eval()
    decoder = {"decoder_input_ids": torch.full((1, 2), 5)} if config.is_encoder_decoder else {}

    def read(tokens: int) -> None:
        ids = torch.full((1, tokens), 5)
        model(input_ids=ids, attention_mask=torch.ones_like(ids), **decoder)

    if expected.limit is None:
        read(LONG)
        return
    read(expected.limit)
    with pytest.raises((IndexError, RuntimeError)):
        read(expected.limit + 1)


def test_a_decoder_has_positions_of_its_own():
    led = {"model_type": "led", "max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 16}
    assert (positions_of(led).limit, positions_of(led, decoder=True).limit) == (64, 16)
    bert = {"model_type": "bert", "max_position_embeddings": 32}
    assert positions_of({"model_type": "encoder-decoder", "encoder": bert, "decoder": bert}, decoder=True).limit == 32


ASKED = Asked(
    max_new_tokens=8, heldout_samples=1, scored_rows=0, prompts=("profit rose",), labels=(), few_shot=(), chat=False
)
GPT2 = {"model_type": "gpt2", "n_positions": 16}


def room(tokenizer, config, asked, texts, **spec):
    spec = SPEC | {"name": "x", "max_length": 64} | spec
    rows = [ABSENT | {"row": str(number), "text": text} for number, text in enumerate(texts)]
    lines = [{"row": row["row"], **vars(encode(row, tokenizer, spec))} for row in rows]
    return check_room(config, spec, asked, tokenizer, dict.fromkeys(("train", "test"), lines), pandas.DataFrame(rows))


def changed(**changes):
    return Asked(**vars(ASKED) | changes)


def test_rows_prompts_and_answers_that_do_not_fit_are_told_before_training(tmp_path):
    tokenizer = tiny.tokenizer(tmp_path)
    text = " ".join(tiny.WORDS[:14])
    assert room(tokenizer, GPT2, ASKED, [text]) == []  # 15 tokens of 16; 7 of the prompt, 8 new
    with pytest.raises(
        TunebookError,
        match=r"longest row has 17 tokens \(max_length is 64\).*16 positions; set training.max_length to at most 16",
    ):
        room(tokenizer, GPT2, ASKED, [text + " the end"])
    with pytest.raises(
        TunebookError, match=r"prompt has 7 tokens and an answer up to 11.*max_new_tokens to at most 10"
    ):
        room(tokenizer, GPT2, changed(max_new_tokens=11), [text])
    assert room(tokenizer, GPT2, changed(max_new_tokens=10), [text]) == []
    with pytest.raises(TunebookError, match=r"prompt has 20 tokens .*shorten the prompts"):
        room(tokenizer, GPT2, changed(prompts=("profit " * 20,)), [text])


def test_what_a_model_was_not_trained_to_read_is_said(tmp_path):
    tokenizer, llama = (
        tiny.tokenizer(tmp_path),
        {"model_type": "llama", "max_position_embeddings": 10, "rope_theta": 1e4},
    )
    text = " ".join(tiny.WORDS[:14])
    (note,) = room(tokenizer, llama, ASKED, [text, "profit rose"])
    assert note.startswith("2 rows are longer than the 10 tokens that the model was trained to read")  # of both splits
    (note,) = room(tokenizer, GPT2, changed(few_shot=(3,)), ["profit rose to the day"])
    assert "3 examples and the longest test row have about 24 tokens, and the model reads 16" in note


@torch.no_grad()
def test_the_last_answer_that_fits_is_generated_and_one_token_more_is_not():
    model = t.GPT2LMHeadModel(t.GPT2Config(**GPT, **SHARED)).eval()
    prompt = torch.full((1, 7), 5)
    model.generation_config.eos_token_id = None
    options = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 1}
    assert model.generate(prompt, max_new_tokens=10, **options).shape == (1, 17)
    with pytest.raises(IndexError):
        model.generate(prompt, max_new_tokens=11, **options)
