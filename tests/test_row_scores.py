"""A row's loss with and without its ends, and the bytes of the text that has a loss."""

from __future__ import annotations

import pytest

from tests import tiny
from tunebook.finetuning.encoding import NO_LOSS, encode
from tunebook.finetuning.row_scores import row_score
from tunebook.finetuning.scoring import scored_places

ABSENT = {"prompt": None, "completion": None, "text": None, "messages": None, "label": None}
SPEC = {"task": "causal-lm", "max_length": 64, "max_target_length": 64, "chat_template": True, "system_prompt": None,
        "learn": "assistant", "templates": [], "template_date": None}  # fmt: skip
SAID = ["what", "it is hot", "how", "the water"]
TALK = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, SAID, strict=True)]


def scored(row, tokenizer, answers, **changed):
    """Losses of 10 nats at each end token and 1 nat elsewhere."""
    spec = SPEC | changed
    one = encode(ABSENT | row, tokenizer, spec)
    line = {"input_ids": one.input_ids, "labels": one.labels}
    losses = [10.0 if one.labels[place] == 3 else 1.0 for place in scored_places(one.labels, spec["task"])]
    return row_score(
        line, losses, answers, tokenizer, spec["task"], plain="text" in row and spec["task"] == "causal-lm"
    )


@pytest.mark.parametrize("template", [None, tiny.CHAT_TEMPLATE])
@pytest.mark.parametrize(
    ("row", "answers", "tokens", "size"),
    [
        (
            {"text": "the water is hot"},
            ["the water is hot"],
            3,
            len(" water is hot"),
        ),  # nothing predicts its first word
        ({"prompt": "what", "completion": "the water"}, ["the water"], 2, len("the water")),
        (
            {"prompt": "a", "completion": "a strange thing"},
            ["a strange thing"],
            3,
            len("a strange thing"),
        ),  # <unk> counts
        ({"messages": TALK}, SAID[1::2], 5, len("it is hot") + len("the water")),
    ],
)
def test_ends_and_bytes_of_whole_rows(tmp_path, template, row, answers, tokens, size):
    told = scored(row, tiny.tokenizer(tmp_path, chat_template=template), answers)
    assert (told.text_loss, told.text_tokens) == (tokens, tokens)
    assert (told.loss, told.tokens) == (tokens + 10 * len(answers), tokens + len(answers))
    assert told.text_bytes == size
    assert told.text_mean == 1


def test_a_row_that_was_cut_counts_what_is_left(tmp_path):
    tokenizer = tiny.tokenizer(tmp_path)
    told = scored({"text": "the water is hot"}, tokenizer, ["the water is hot"], max_length=3)
    assert (told.tokens, told.text_tokens, told.text_bytes) == (2, 2, len("water is"))
    told = scored({"messages": TALK}, tokenizer, SAID[1::2], max_length=7)  # what it is hot END how the
    assert (told.tokens, told.text_tokens, told.text_bytes) == (5, 4, len("it is hot") + len("the"))


def test_a_target_of_an_encoder_decoder_and_a_class(tmp_path):
    tokenizer = tiny.tokenizer(tmp_path)
    row = {"prompt": "what", "completion": "the water"}
    told = scored(row, tokenizer, ["the water"], task="seq2seq-lm")
    assert (told.loss, told.tokens, told.text_loss, told.text_tokens, told.text_bytes) == (12, 3, 2, 2, 9)
    line = {"input_ids": [5, 6], "labels": [2]}
    told = row_score(line, [0.7], ["x"], tokenizer, "sequence-classification", plain=False)
    assert (told.loss, told.text_loss, told.tokens, told.text_tokens, told.text_bytes) == (0.7, 0.7, 1, 1, 0)


def test_a_row_cut_down_to_its_end_has_no_loss_of_text(tmp_path):
    line = {"input_ids": [5, 3], "labels": [NO_LOSS, 3]}
    told = row_score(line, [4.0], [""], tiny.tokenizer(tmp_path), "causal-lm", plain=False)
    assert (told.mean, told.text_tokens) == (4.0, 0)
    assert told.text_mean != told.text_mean  # NaN
