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
from tunebook.finetuning.output_head import output_head
from tunebook.finetuning.scoring import score_tokens
from tunebook.finetuning.tokenizers import load_tokenizer

TEXTS = ["profit rose", "the first day of the time", "sales fell so many times", "it is hot", "you make water"]
ABSENT = {"prompt": None, "completion": None, "text": None, "messages": None, "label": None}


def asked(family, count, **model):
    shared = run_for(family)
    more = {"few_shot": [count], "generation": {"max_new_tokens": 4}}
    return shared | more | {"model": shared["model"] | {"encoder_decoder": False} | model}


def encoded(rows, tokenizer, run):
    spec = spec_of(run) | {"max_length": 64, "max_target_length": 8}
    lines = [encode(row, tokenizer, spec) for row in rows]
    return [{"row": str(at), "input_ids": one.input_ids, "labels": one.labels} for at, one in enumerate(lines)]


def learnt(lines):
    return [[label for label in line["labels"] if label != NO_LOSS] for line in lines]


def flat(losses):
    return [loss for row in losses for loss in row]


def test_examples_are_drawn_by_seed_and_of_each_label_in_turn():
    rows = pandas.DataFrame({"row": [f"r{at}" for at in range(30)], "label": ["a"] * 20 + ["b"] * 8 + ["c"] * 2})
    drawn = draw(rows, 6, ["a", "b", "c"], 0)
    assert [row["label"] for row in drawn] == ["a", "b", "c", "a", "b", "c"]
    assert drawn == draw(rows, 6, ["a", "b", "c"], 0)
    assert drawn != draw(rows, 6, ["a", "b", "c"], 1)
    assert len({row["row"] for row in draw(rows, 30, [], 0)}) == 30
    assert [row["row"] for row in draw(rows, 6, [], 0)] != [f"r{at}" for at in range(6)]


FORMS = {
    "text": [ABSENT | {"text": text} for text in TEXTS],
    "prompts": [ABSENT | {"prompt": text, "completion": "positive one"} for text in TEXTS],
    "talks": [ABSENT | {"messages": talk(text, "it is", "so", "the day of it")} for text in TEXTS],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("template", [None, tiny.CHAT_TEMPLATE])
def test_examples_are_written_as_training_rows_are_and_only_the_row_is_learnt(tmp_path, form, template):
    tiny.model(tmp_path, "llama")
    tokenizer = tiny.tokenizer(tmp_path, chat_template=template)
    model, run, rows = load_model(run_for("llama"), tmp_path), asked("llama", 2), FORMS[form]
    shown, tokens = (encoded(part, tokenizer, run) for part in (rows[:2], rows[2:]))
    if form == "talks" and template is None:
        tokens[0] = {
            key: value[:-2] if key != "row" else value for key, value in tokens[0].items()
        }  # cut at max_length
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2], 2)
    assert learnt(lines) == learnt(tokens)
    before = shown[0]["input_ids"] + shown[1]["input_ids"]
    assert before.count(3) >= 2  # each example with its end
    for line, alone in zip(lines, tokens, strict=True):
        assert line["input_ids"] == before + alone["input_ids"]
        assert line["labels"] == [NO_LOSS] * len(before) + alone["labels"]


def test_examples_are_not_cut_at_max_length(tmp_path):
    tiny.model(tmp_path, "llama")
    tokenizer, run = tiny.tokenizer(tmp_path), asked("llama", 1)
    rows = [ABSENT | {"text": "the water is hot " * 20}, ABSENT | {"text": "it is"}]
    tokens = encoded(rows[1:], tokenizer, run)
    (line,) = with_examples(run, load_model(run_for("llama"), tmp_path), tokenizer, tokens, rows[1:], rows[:1], 1)
    assert len(line["input_ids"]) == 81 + 3


def test_an_encoder_reads_examples_before_its_prompt(tmp_path):
    tiny.model(tmp_path, "t5")
    model, tokenizer, run = load_model(run_for("t5"), tmp_path), load_tokenizer(tmp_path), asked("t5", 2)
    rows = FORMS["prompts"]
    tokens = encoded(rows[2:], tokenizer, run)
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2], 2)
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
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2], 2)
    collate = collator_for(run["task"], tokenizer, model)
    plain = score_tokens(model, lines, collate, 1)
    for size in (1, 2, 3):
        found = score_after_examples(model, lines, collate, size)
        assert list(map(len, found)) == list(map(len, plain))
        assert flat(found) == pytest.approx(flat(plain), abs=1e-3)
    assert flat(plain) != pytest.approx(flat(score_tokens(model, tokens, collate, 1)))


@torch.no_grad()
def test_what_is_shared_is_read_once(tmp_path):
    tiny.model(tmp_path, "llama")
    model, tokenizer = load_model(run_for("llama"), tmp_path).eval(), tiny.tokenizer(tmp_path)
    run, rows = asked("llama", 2), FORMS["text"]
    tokens = encoded(rows[2:], tokenizer, run)
    lines = with_examples(run, model, tokenizer, tokens, rows[2:], rows[:2], 2)
    output_head(model)  # it is tried once
    read = []
    model.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"].shape[1]), with_kwargs=True)
    score_after_examples(model, lines, collator_for("causal-lm", tokenizer, model), 8)
    before = len(lines[0]["input_ids"]) - len(tokens[0]["input_ids"])
    assert read[:2] == [before, max(len(line["input_ids"]) for line in tokens)]
    assert len(read) == 3  # the last one is the head alone, on the places that have a loss


def test_where_it_makes_no_sense_or_has_no_room_it_says_why(tmp_path):
    tiny.model(tmp_path, "opt")  # 64 positions
    model, tokenizer, rows = load_model(run_for("opt"), tmp_path), load_tokenizer(tmp_path), FORMS["text"]
    run = asked("opt", 3)
    tokens = encoded(rows[3:], tokenizer, run)
    with pytest.raises(NotRun, match=r"with 3 examples the longest row has \d+ tokens, and the model reads 64"):
        with_examples(
            run, model, tokenizer, tokens, rows[3:], [row | {"text": row["text"] * 20} for row in rows[:3]], 3
        )
    with pytest.raises(NotRun, match="only 2 training rows"):
        with_examples(run, model, tokenizer, tokens, rows[3:], rows[:2], 3)
    with pytest.raises(NotRun, match="put together of two encoders"):
        with_examples(asked("t5", 3, encoder_decoder=True), model, tokenizer, tokens, rows[3:], rows[:3], 3)
    with pytest.raises(NotRun, match="classification head"):
        with_examples(run | {"task": "sequence-classification"}, model, tokenizer, tokens, rows[3:], rows[:3], 3)
