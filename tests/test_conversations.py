"""Conversations as people have them: roles in their forms and names, what is dropped, what is refused; styles of data sets."""

import json

import pandas
import pytest

from tests import tiny
from tests.bad_data import JSONL, PAIRS, ROWS, prepared, sentence
from tests.configs import REMOVED, changed
from tunebook.configuration.datasets import Dataset
from tunebook.configuration.study import dump, fetching_specs
from tunebook.configuration.styles import STYLES
from tunebook.configuration.validation import ConfigError, validate
from tunebook.data.conversations import Conversation, Unusable, conversation
from tunebook.data.rows import Message
from tunebook.errors import TunebookError

CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}


def openai(*said):
    return [{"role": role, "content": content} for role, content in said]


def sharegpt(*said):
    return [{"from": role, "value": content} for role, content in said]


def plain(*said):
    return [Message(role=role, content=content) for role, content in said]


ASKED = (("system", "Be brief."), ("user", "Up?"), ("assistant", "Yes."))
TAKEN = {  # name -> what a column holds, the declared style, messages, how many are dropped
    "roles": (openai(*ASKED), None, plain(*ASKED), 0),
    "roles, declared": (openai(*ASKED), "messages", plain(*ASKED), 0),
    "ShareGPT": (sharegpt(("system", "Be brief."), ("human", "Up?"), ("gpt", "Yes.")), None, plain(*ASKED), 0),
    "ShareGPT, declared": (sharegpt(("human", "Up?"), ("gpt", "Yes.")), "sharegpt", plain(*ASKED[1:]), 0),
    "other names of roles": (openai(("developer", "Be brief."), ("human", "Up?"), ("model", "Yes.")), None, plain(*ASKED), 0),
    "texts in pairs": (["Up?", "Yes."], None, plain(*ASKED[1:]), 0),
    "texts that alternate": (["Up?", "Yes.", "Down?"], "turns", plain(*ASKED[1:]), 1),
    "questions after the last answer": (openai(*ASKED, ("user", "So?"), ("user", "Well?")), None, plain(*ASKED), 2),
    "two questions": (openai(ASKED[1], *ASKED[1:]), None, plain(ASKED[1], *ASKED[1:]), 0),
    "an empty system message": (openai(("system", ""), *ASKED[1:]), None, plain(("system", ""), *ASKED[1:]), 0),
    "parts of text": (
        openai(("user", [{"type": "text", "text": "U"}, {"type": "text", "text": "p?"}]), ASKED[2]), None, plain(*ASKED[1:]), 0,
    ),
    "keys beside": ([{**turn, "id": 7, "weight": 1} for turn in openai(*ASKED)], None, plain(*ASKED), 0),
    "calls of tools": (
        [*openai(ASKED[1]), {"role": "assistant", "content": None, "tool_calls": [CALL]}, *openai(("tool", "42"), ASKED[2])],
        None,
        [*plain(ASKED[1]), Message(role="assistant", content=None, tool_calls=[CALL]), *plain(("tool", "42"), ASKED[2])],
        0,
    ),
    "arguments as JSON text": (
        [
            *openai(ASKED[1]),
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": '{"at": "sky"}'}}]},
        ],
        None,
        [*plain(ASKED[1]), Message(role="assistant", content=None, tool_calls=[{**CALL, "id": "c1"}])],
        0,
    ),
    "the older form of a call": (
        [*openai(ASKED[1]), {"role": "assistant", "content": None, "function_call": CALL["function"]}, *openai(ASKED[2])],
        None,
        [*plain(ASKED[1]), Message(role="assistant", content=None, tool_calls=[CALL]), *plain(ASKED[2])],
        0,
    ),
    "ShareGPT's calls": (
        sharegpt(("human", "Up?"), ("function_call", json.dumps(CALL["function"])), ("observation", "42"), ("gpt", "Yes.")),
        "sharegpt",
        [*plain(ASKED[1]), Message(role="assistant", content=None, tool_calls=[CALL]), *plain(("tool", "42"), ASKED[2])],
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_conversations_are_taken_in_the_forms_people_have(name):
    value, style, expected, dropped = TAKEN[name]
    assert conversation("talk", value, style) == Conversation(tuple(expected), dropped)


REFUSED = {  # name -> what a column holds, the declared style, what must be said
    "system first, without roles": (["Be brief.", "Up?", "Yes.", "Down?", "No."], None, "who says what cannot be told"),
    "nobody answers": (openai(ASKED[0], ASKED[1]), None, "no turn of the assistant, so that nothing is learnt"),
    "nobody asks": (openai(ASKED[0], ASKED[2]), None, "no turn of the user before the assistant's last"),
    "unknown role": (openai(ASKED[1], ("narrator", "x")), None, "turn 2 of talk has an unknown role; roles are system, user"),
    "role that is no text": (openai(ASKED[1], (3, "x")), None, "turn 2 of talk has an unknown role"),
    "no role": ([{"content": "Up?"}, *openai(ASKED[2])], None, "turn 1 of talk has no 'role', which says who speaks"),
    "another style than declared": (openai(*ASKED), "sharegpt", "turn 1 of talk has no 'from'"),
    "texts where roles are declared": (["Up?", "Yes."], "messages", "turn 1 of talk has no role"),
    "roles where texts are declared": (openai(*ASKED), "turns", "turn 1 of talk is not text"),
    "null content": (openai(ASKED[1], ("assistant", None)), None, "missing turn 2 of talk"),
    "empty content": (openai(("user", " "), ASKED[2]), None, "empty turn 1 of talk"),
    "an image": (openai(("user", [{"type": "image_url"}]), ASKED[2]), None, "turn 1 of talk has a part that is not text"),
    "content that is a mapping": (openai(("user", {"a": 1}), ASKED[2]), None, "turn 1 of talk is not text"),
    "a NUL byte": (openai(("user", "a\0b"), ASKED[2]), None, "NUL byte in turn 1 of talk"),
    "a weight": ([*openai(ASKED[1]), {"role": "assistant", "content": "x", "weight": 0}], None, "set learn: last"),
    "a user who calls tools": ([{"role": "user", "content": "x", "tool_calls": [CALL]}, *openai(ASKED[2])], None, "only the assistant can"),
    "calls that are no list": ([*openai(ASKED[1]), {"role": "assistant", "content": None, "tool_calls": "look"}], None, "tool_calls of turn 2 of talk is not a list"),
    "a call without a name": ([*openai(ASKED[1]), {"role": "assistant", "content": None, "tool_calls": [{"function": {}}]}], None, "not name and arguments"),
    "arguments that are no JSON": (
        [*openai(ASKED[1]), {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}],
        None, "not name and arguments",
    ),
    "ShareGPT's call that is no JSON": (sharegpt(("human", "Up?"), ("function_call", "look(42)")), None, "not name and arguments"),
    "a number instead of a list": (7, None, "talk is not a list of turns"),
    "JSON text instead of a list": ('[{"role": "user"}]', None, "talk is not a list of turns"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_conversations_that_cannot_be_told_are_refused_in_words(name):
    value, style, message = REFUSED[name]
    with pytest.raises(Unusable) as reason:
        conversation("talk", value, style)
    assert message in reason.value.args[0]


def lines(row_of):
    return "\n".join(json.dumps(row_of(text, label)) for text, label in PAIRS)


STYLED = {  # style -> a row of it
    "messages": lambda text, label: {"messages": openai(("system", "x"), ("user", text), ("assistant", label))},
    "sharegpt": lambda text, label: {"conversations": sharegpt(("human", text), ("gpt", label))},
    "alpaca": lambda text, label: {
        "instruction": text,
        "input": "" if label == "neutral" else "amber",
        "output": label,
    },
    "prompt-completion": lambda text, label: {"prompt": text, "completion": label},
    "question-answer": lambda text, label: {"question": text, "answer": label},
}


@pytest.mark.parametrize("style", STYLED)
def test_a_style_is_all_that_a_widely_used_form_needs(tmp_path, style):
    frames, refusals, profile = prepared(tmp_path, lines(STYLED[style]), JSONL | {"style": style})
    assert (refusals, profile["dropped_turns"]) == ([], 0)
    rows = pandas.concat(frames.values())
    assert len(rows) == ROWS
    answers = (
        rows["messages"].map(lambda said: said[-1]["content"])
        if style in ("messages", "sharegpt")
        else rows["completion"]
    )
    assert sorted(answers) == sorted(label for _, label in PAIRS)


def test_alpacas_input_stands_behind_its_instruction(tmp_path):
    frames, _, _ = prepared(tmp_path, lines(STYLED["alpaca"]), JSONL | {"style": "alpaca"})
    rows = pandas.concat(frames.values())
    for prompt, completion in zip(rows["prompt"], rows["completion"], strict=True):
        assert prompt.endswith("\n\namber") == (completion != "neutral")


@pytest.mark.parametrize("style", STYLED)
def test_a_file_of_a_widely_used_form_is_recognised(tmp_path, style):
    with pytest.raises(
        TunebookError, match=f"the rows look like {style}: with format.style: {style} no template is needed"
    ):
        prepared(tmp_path, lines(STYLED[style]), JSONL, text="{{ story }}")


def test_texts_that_alternate_take_the_column_of_their_names():
    form = {"type": "json", "names": ["turns"], "style": "turns"}
    assert _dataset(format=form).messages == "turns"
    assert _dataset(format=form | {"names": []}, messages="talk").messages == "talk"


def _dataset(**more):
    return Dataset.model_validate({"source": {"type": "path", "path": "x"}, "licence": "none", **more})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"format": {"type": "json", "style": "alpaca"}, "prompt": "{{ x }}"},
            "prompt: found beside format.style alpaca",
        ),
        ({"format": {"type": "json", "style": "turns"}}, "messages: missing; name the column that holds the turns"),
        ({"format": {"type": "json", "style": "vicuna"}}, "format.style: found 'vicuna'"),
        ({"format": {"type": "json"}}, "format.style names widely used forms"),
    ],
)
def test_a_style_is_checked_with_the_config(section, message):
    config = changed("datasets.talks.messages", REMOVED)
    config["datasets"]["talks"] = {"source": {"type": "path", "path": "x"}, "licence": "none", **section}
    with pytest.raises(ConfigError) as refused:
        validate(config)
    assert message in str(refused.value).replace('"', "'")


def test_every_style_is_tried_here_and_files_are_read_alike_for_each():
    assert set(STYLES) == {*STYLED, "turns"}
    styled, bare = (
        fetching_specs(validate(changed("datasets.talks.format.style", style))) for style in ("turns", None)
    )
    assert styled["fetch-dataset"] == bare["fetch-dataset"]
    assert styled["prepare"]["talks"] != bare["prepare"]["talks"]


def test_rows_that_share_a_system_message_are_not_one_group(tmp_path):
    rows = lines(lambda text, label: {"messages": openai(("system", "Answer."), ("user", text), ("assistant", label))})
    frames, _, _ = prepared(tmp_path, rows, JSONL | {"style": "messages"})
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 32, "validation": 4, "test": 4}


def test_turns_that_nobody_answers_are_counted(tmp_path):
    rows = lines(lambda text, label: {"messages": openai(("user", text), ("assistant", label), ("user", sentence(7)))})
    _, _, profile = prepared(tmp_path, rows, JSONL | {"style": "messages"})
    assert profile["dropped_turns"] == ROWS


def test_a_split_file_holds_roles(tmp_path):
    rows = lines(lambda text, label: {"messages": tiny.talk(text, label)})
    frames, _, _ = prepared(tmp_path, rows, JSONL | {"style": "messages"})
    file = tmp_path / "train.parquet"
    frames["train"].to_parquet(file)
    read = pandas.read_parquet(file)["messages"].iloc[0]
    assert [set(message) for message in read] == [{"role", "content"}] * 2
    assert dump(_dataset(format={"type": "json", "style": "messages"}))["style"] == "messages"
