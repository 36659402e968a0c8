"""What is learnt and what is not: completions, assistant's turns, whole texts, the end token; never padding."""

from __future__ import annotations

import pytest

from tests import tiny
from tests.tiny import talk
from tunebook.finetuning.batching import Collator, LengthGroupedSampler, padded_prompts, rows_seen
from tunebook.finetuning.encoding import NO_LOSS, encode, prompt_ids

SPEC = {
    "task": "causal-lm",
    "chat_template": True,
    "system_prompt": None,
    "template_date": None,
    "templates": [],
    "labels": [],
    "learn": "assistant",
    "max_length": 64,
    "max_target_length": 8,
}
EMPTY = {"prompt": None, "completion": None, "text": None, "messages": None, "label": None}


@pytest.fixture
def plain(tmp_path):
    return tiny.tokenizer(tmp_path)


@pytest.fixture
def chat(tmp_path):
    """A tokenizer with a chat template in which <s> begins and </s> ends a turn, and </s> is also its padding."""
    built = tiny.tokenizer(tmp_path, chat_template=tiny.CHAT_TEMPLATE)
    built.pad_token = built.eos_token
    return built


def learnt(example, tokenizer) -> str:
    return tokenizer.decode([label for label in example.labels if label != NO_LOSS])


def test_a_text_is_learnt_whole_and_so_is_its_end(plain):
    example = encode({**EMPTY, "text": "profit rose more"}, plain, SPEC)
    assert learnt(example, plain) == "rose more </s>"  # nothing predicts the first token
    assert example.labels[0] == NO_LOSS


def test_a_completion_is_learnt_and_its_prompt_is_not(plain):
    example = encode({**EMPTY, "prompt": "profit rose", "completion": "positive"}, plain, SPEC)
    assert plain.decode(example.input_ids) == "profit rose positive </s>"
    assert learnt(example, plain) == "positive </s>"


def test_all_turns_of_the_assistant_are_learnt_in_the_models_template(chat):
    example = encode({**EMPTY, "messages": talk("what is it", "water", "who said", "he did")}, chat, SPEC)
    assert learnt(example, chat) == "water </s> he did </s>"


def test_a_system_prompt_goes_first(chat):
    example = encode({**EMPTY, "prompt": "what", "completion": "water"}, chat, {**SPEC, "system_prompt": "be hot"})
    assert chat.decode(example.input_ids).index("be hot") < chat.decode(example.input_ids).index("what")
    assert learnt(example, chat) == "water </s>"


def test_what_is_generated_from_is_what_was_trained_on(chat):
    example = encode({**EMPTY, "prompt": "what is it", "completion": "water"}, chat, SPEC)
    ids = prompt_ids("what is it", chat, SPEC, chat=True)
    assert example.input_ids[: len(ids)] == ids
    assert all(label == NO_LOSS for label in example.labels[: len(ids)])
    assert example.labels[len(ids)] != NO_LOSS


def test_padding_is_never_learnt_even_where_it_is_the_end_token(chat):
    rows = [
        encode({**EMPTY, "prompt": "what", "completion": text}, chat, SPEC)
        for text in ("water", "the first day of the time")
    ]
    collate = Collator(task="causal-lm", pad_id=chat.pad_token_id)
    batch = collate([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    assert chat.pad_token_id == chat.eos_token_id
    assert (batch["labels"][batch["attention_mask"] == 0] == NO_LOSS).all()
    assert (batch["labels"] == chat.eos_token_id).sum() == 2


def test_seq2seq_labels_are_padded_with_no_loss_and_shifted_for_the_decoder(plain):
    spec = {**SPEC, "task": "seq2seq-lm"}
    rows = [
        encode({**EMPTY, "prompt": "profit rose", "completion": text}, plain, spec)
        for text in ("positive", "no more water")
    ]
    collate = Collator(task="seq2seq-lm", pad_id=1, decoder_start_id=2)
    batch = collate([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    assert batch["labels"][0].tolist()[2:] == [NO_LOSS, NO_LOSS]
    assert batch["decoder_input_ids"][0].tolist() == [2, rows[0].labels[0], 1, 1]


def test_cutting_is_counted_and_a_cut_text_has_no_false_end(plain):
    example = encode({**EMPTY, "text": "the a of and to in is it"}, plain, {**SPEC, "max_length": 4})
    assert example.truncated
    assert plain.eos_token_id not in example.labels


def test_a_template_that_counts_messages_is_handled(chat):
    chat.chat_template = "{{ messages | length }} {% for m in messages %}{{ m['content'] }} {% endfor %}"
    example = encode({**EMPTY, "messages": talk("what", "water", "who", "he")}, chat, SPEC)
    assert learnt(example, chat) == "water he </s>"


@pytest.mark.parametrize("bert", [False, True])
def test_a_tokenizer_that_adds_an_end_by_itself_has_it_learnt_once_and_prompts_have_none(tmp_path, bert):
    adding, spec = tiny.tokenizer(tmp_path, bert=bert, surrounded=True), SPEC | {"max_length": 8}
    text = encode({**EMPTY, "text": "profit rose"}, adding, spec)
    assert adding.convert_ids_to_tokens(text.input_ids) == ["<s>", "profit", "rose", "</s>"]
    assert learnt(text, adding) == "profit rose </s>"
    pair = encode({**EMPTY, "prompt": "profit", "completion": "rose"}, adding, spec)
    assert adding.convert_ids_to_tokens(pair.input_ids) == ["<s>", "profit", "rose", "</s>"]
    prompt = prompt_ids("profit", adding, spec, chat=False)
    assert adding.convert_ids_to_tokens(prompt) == ["<s>", "profit"]
    read = encode({**EMPTY, "prompt": "profit", "completion": "rose"}, adding, spec | {"task": "seq2seq-lm"})
    assert adding.convert_ids_to_tokens(read.input_ids) == ["<s>", "profit", "</s>"]  # an encoder's input has its end
    assert adding.convert_ids_to_tokens(read.labels) == ["rose", "</s>"]


def test_prompts_are_padded_on_the_side_that_is_asked_for():
    left, right = (padded_prompts([[5, 6, 7], [8]], pad_id=1, side=side) for side in ("left", "right"))
    assert left["input_ids"].tolist() == [[5, 6, 7], [1, 1, 8]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_rows_seen_are_the_first_of_the_samplers_order():
    lengths = [number % 7 for number in range(30)]
    order = list(LengthGroupedSampler(lengths, batch_size=8, seed=3))
    assert rows_seen(lengths, 8, seed=3, steps=2) == set(order[:16])
    assert rows_seen(lengths, 8, seed=3, steps=0) == set()
    assert rows_seen(lengths, 8, seed=3, steps=4) == set(range(30))  # 4 steps are an epoch, the last of 6 rows
    assert rows_seen(lengths, 8, seed=3, steps=5) == set(range(30))


def test_the_order_of_rows_depends_on_seed_and_epoch_alone():
    sampler = LengthGroupedSampler([number % 17 for number in range(100)], batch_size=8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(100))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(LengthGroupedSampler(sampler.lengths, batch_size=8, seed=4)) != first
    width = [
        max(first[at : at + 8], key=lambda row: row % 17) % 17 - min(first[at : at + 8], key=lambda row: row % 17) % 17
        for at in range(0, 96, 8)
    ]
    assert sum(width) / len(width) < 6  # lengths go to 16: batches hold like lengths
