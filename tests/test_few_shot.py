"""Examples in the untouched model's prompt: which, in what form, scored over the same tokens; or why not."""

import pandas
import pytest
import torch

from tests import tiny
from tests.test_scoring import run_for
from tests.tiny import talk
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS, encode, spec_of
from tunebook.finetuning.few_shot import NotRun, draw, score_after_examples, with_examples
from tunebook.finetuning.models import load_model
from tunebook.finetuning.scoring import score
from tunebook.finetuning.tokenizers import load_tokenizer

TEXTS = ["profit rose", "the first day of the time", "sales fell so many times", "it is hot", "you make water"]
ABSENT = {"prompt": None, "completion": None, "text": None, "messages": None, "label": None}


def asked(family, count, **model):
    shared = run_for(family)
    more = {"few_shot": count, "generation": {"max_new_tokens": 4}}
    return shared | more | {"model": shared["model"] | {"encoder_decoder": False} | model}


def encoded(rows, tokenizer, run):
    spec = spec_of(run) | {"max_length": 64, "max_target_length": 8}
    lines = [encode(row, tokenizer, spec) for row in rows]
    return [{"row": str(at), "input_ids": one.input_ids, "labels": one.labels} for at, one in enumerate(lines)]


def learnt(lines):
    return [[label for label in line["labels"] if label != NO_LOSS] for line in lines]


def test_examples_are_drawn_once_and_of_each_label_in_turn():
    rows = pandas.DataFrame({"row": [f"r{at}" for at in range(30)], "label": ["a"] * 20 + ["b"] * 8 + ["c"] * 2})
    drawn = draw(rows, 6, ["a", "b", "c"])
    assert [row["label"] for row in drawn] == ["a", "b", "c", "a", "b", "c"]
    assert drawn == draw(rows, 6, ["a", "b", "c"])
    assert len({row["row"] for row in draw(rows, 30, [])}) == 30
    assert [row["row"] for row in draw(rows, 6, [])] != [f"r{at}" for at in range(6)]


FORMS = {
    "text": [ABSENT | {"text": text} for text in TEXTS],
    "prompts": [ABSENT | {"prompt": text, "completion": "positive one"} for text in TEXTS],
    "talks": [ABSENT | {"messages": talk(text, "it is", "so", "the day of it")} for text in TEXTS],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("template", [None, tiny.CHAT_TEMPLATE])
def test_the_rows_own_tokens_are_learnt_and_the_examples_stand_before(tmp_path, form, template):
    tiny.model(tmp_path, "llama")
    tokenizer = tiny.tokenizer(tmp_path, chat_template=template)
    model, run, rows = load_model(run_for("llama"), tmp_path), asked("llama", 2), FORMS[form]
    tokens = encoded(rows[2:], tokenizer, run)
    if form == "talks" and template is None:
        tokens[0] = {
            key: value[:-2] if key != "row" else value for key, value in tokens[0].items()
        }  # cut at max_length
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2])
    assert learnt(lines) == learnt(tokens)
    for line, row in zip(lines, rows[2:], strict=True):
        shown = tokenizer.decode(line["input_ids"])
        first = next(place for place, label in enumerate(line["labels"]) if label != NO_LOSS)
        before = tokenizer.decode(line["input_ids"][:first])
        assert TEXTS[0] in before
        assert TEXTS[1] in before
        assert (row["text"] or row["prompt"] or row["messages"][0]["content"]).split()[0] in shown
        assert [label for label in line["labels"] if label != NO_LOSS] == [
            token for token, label in zip(line["input_ids"], line["labels"], strict=True) if label != NO_LOSS
        ]


def test_an_encoder_reads_examples_before_its_prompt(tmp_path):
    tiny.model(tmp_path, "t5")
    model, tokenizer, run = load_model(run_for("t5"), tmp_path), load_tokenizer(tmp_path), asked("t5", 2)
    rows = FORMS["prompts"]
    tokens = encoded(rows[2:], tokenizer, run)
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2])
    assert [line["labels"] for line in lines] == [line["labels"] for line in tokens]
    read = "profit rose positive one the first day of the time positive one sales fell so many <unk>"
    assert tokenizer.decode(lines[0]["input_ids"]) == read


@pytest.mark.parametrize("family", ["llama", "opt", "falcon", "t5"])
def test_what_is_shared_is_computed_once_and_changes_no_loss(tmp_path, family):
    tiny.model(tmp_path, family)
    model, tokenizer = load_model(run_for(family), tmp_path).eval(), load_tokenizer(tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # a random model prefers hardly anything
    run, rows = asked(family, 2), FORMS["prompts"]
    tokens = encoded(rows[2:], tokenizer, run)
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2])
    collate = collator_for(run["task"], tokenizer, model)
    plain = score(model, lines, collate, 1)
    for size in (1, 2, 3):
        found = score_after_examples(model, lines, collate, size)
        assert [tokens for _, tokens in found] == [tokens for _, tokens in plain]
        assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in plain], abs=1e-3)
    assert [loss for loss, _ in plain] != pytest.approx([loss for loss, _ in score(model, tokens, collate, 1)])


def test_a_template_that_cannot_take_examples_is_told(tmp_path):
    tiny.model(tmp_path, "llama")
    short = "{% if messages | length > 2 %}{{ raise_exception('too long') }}{% endif %}"
    tokenizer = tiny.tokenizer(tmp_path, chat_template=short + tiny.CHAT_TEMPLATE)
    model, run, rows = load_model(run_for("llama"), tmp_path), asked("llama", 2), FORMS["prompts"]
    tokens = encoded(rows[2:], tokenizer, run)
    with pytest.raises(
        NotRun, match="with examples before a row, the chat template refuses this conversation: too long"
    ):
        with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2])


def test_where_it_makes_no_sense_or_has_no_room_it_says_why(tmp_path):
    tiny.model(tmp_path, "opt")  # 64 positions
    model, tokenizer, rows = load_model(run_for("opt"), tmp_path), load_tokenizer(tmp_path), FORMS["text"]
    run = asked("opt", 3)
    tokens = encoded(rows[3:], tokenizer, run)
    with pytest.raises(NotRun, match=r"with 3 examples the longest row has \d+ tokens, and the model reads 64"):
        with_examples(run, model, tokenizer, tokens, rows[3:], [row | {"text": row["text"] * 20} for row in rows[:3]])
    with pytest.raises(NotRun, match="only 2 training rows"):
        with_examples(run, model, tokenizer, tokens, rows[3:], rows[:2])
    with pytest.raises(NotRun, match="put together of two encoders"):
        with_examples(asked("t5", 3, encoder_decoder=True), model, tokenizer, tokens, rows[3:], rows[:3])
    with pytest.raises(NotRun, match="classification head"):
        with_examples(run | {"task": "sequence-classification"}, model, tokenizer, tokens, rows[3:], rows[:3])
