"""What a row is: who speaks, what is asked and answered, what is learnt; and token ids that stay what they were."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tunebook.data.rows import (
    Message,
    after_system,
    continues,
    halves,
    learnt_places,
    messages_of,
    opening,
    question,
    reference,
    supervised_text,
    whole_text,
)
from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import encode, prompt_ids

ABSENT = {"prompt": None, "completion": None, "text": None, "messages": None, "label": None}
TALK = tiny.talk("What is it?", "Water.", "Who said so?", "He did.")
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}
CHATML = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def messages(*said):
    return [Message(role=role, content=content) for role, content in said]


def stored(*said):
    return ABSENT | {"messages": [message.stored() for message in messages(*said)]}


SYSTEM = stored(
    ("system", "Be brief."), ("user", "What?"), ("assistant", "Water."), ("user", "Who?"), ("assistant", "He.")
)


def test_a_pair_is_a_conversation_of_two_messages():
    row = ABSENT | {"prompt": "What?", "completion": "Water."}
    assert messages_of(row) == messages(("user", "What?"), ("assistant", "Water."))
    assert (question(row), reference(row), supervised_text(row, "causal-lm")) == ("What?", "Water.", "Water.")


def test_roles_come_from_the_row_and_not_from_its_order():
    assert [message.role for message in messages_of(SYSTEM)] == ["system", "user", "assistant", "user", "assistant"]
    assert learnt_places(messages_of(SYSTEM)) == [2, 4]
    assert (question(SYSTEM), reference(SYSTEM), opening(SYSTEM)) == ("What?", "Water.", "What?")
    assert supervised_text(SYSTEM, "causal-lm") == "Water.\nHe."
    assert whole_text(SYSTEM) == "Be brief.\nWhat?\nWater.\nWho?\nHe."


def test_only_the_last_answer_is_learnt_on_request():
    assert learnt_places(messages_of(SYSTEM), "last") == [4]
    assert question(SYSTEM, "last") == "What?\nWater.\nWho?"
    assert (reference(SYSTEM, "last"), supervised_text(SYSTEM, "causal-lm", "last")) == ("He.", "He.")


def test_a_greeting_that_nobody_asked_for_is_not_learnt():
    assert learnt_places(messages(("assistant", "Hello."), ("user", "Hi."), ("assistant", "So?"))) == [2]


@pytest.mark.parametrize(
    ("task", "label"), [("causal-lm", None), ("causal-lm", "good"), ("sequence-classification", "good")]
)
def test_a_text_is_learnt_whole_by_a_causal_model_alone(task, label):
    row = ABSENT | {"text": "One two three.", "label": label, "completion": label}
    assert continues(row, task) == (task == "causal-lm")
    assert supervised_text(row, task) == ("One two three." if task == "causal-lm" else label)
    assert question(row) == "One two three."
    assert halves("One two three.") == ("One two", "three.")


def test_messages_survive_a_split_file_with_their_tool_calls():
    said = [
        Message(role="user", content="Look."),
        Message(role="assistant", content=None, tool_calls=[CALL]),
        Message(role="tool", content="blue", name="look"),
    ]
    kept = [message.stored() for message in said]
    assert [sorted(each) for each in kept] == [
        ["content", "role"],
        ["content", "role", "tool_calls"],
        ["content", "name", "role"],
    ]
    assert [Message.read(each) for each in kept] == said
    assert said[1].for_template()["tool_calls"] == [CALL]


def test_rows_of_an_earlier_version_are_told_apart():
    with pytest.raises(TunebookError, match=r"messages without roles.*run the stage prepare again"):
        messages_of(ABSENT | {"messages": ["What?", "Water."]})


def test_more_messages_go_behind_the_system_message():
    more = messages(("user", "a"), ("assistant", "b"))
    assert [message.role for message in after_system(messages_of(SYSTEM), more)][:4] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert after_system(more, more) == [*more, *more]


def test_rows_are_known_without_heavy_libraries():
    code = "import sys, tunebook.data.rows; print({'torch', 'transformers', 'pandas', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- token ids ----------------------------------------------------------------------------------------------------------

GOLDEN = json.loads((Path(__file__).parent / "golden_tokens.json").read_text())
ROWS = {
    "text": {"text": "profit rose more and more"},
    "pair": {"prompt": "what is it", "completion": "no more water"},
    "talk": {"messages": tiny.talk("what is it", "water", "who said", "he did")},
    "label": {"text": "profit rose", "label": "positive"},
    "long": {
        "text": "the a of and to in is it you that he was for on are with as his they be at one have this from or had by hot but"
    },
}
SPEC = {
    "task": "causal-lm",
    "chat_template": True,
    "system_prompt": None,
    "template_date": None,
    "templates": [],
    "learn": "assistant",
    "long_texts": "cut",
    "labels": ["negative", "positive"],
    "max_length": 24,
    "max_target_length": 3,
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Name -> tokenizer, as golden_tokens.json was made with them."""
    bytewise = tiny.byte_tokenizer(tmp_path_factory.mktemp("bytes"), CHATML, special=("<|im_start|>", "<|im_end|>"))
    folder = tmp_path_factory.mktemp("words")
    made = {"words": tiny.tokenizer(folder), "bert words": tiny.tokenizer(folder, bert=True)}
    for name in ("words, template", "words, template, system prompt", "words, template not used"):
        made[name] = tiny.tokenizer(folder, chat_template=tiny.CHAT_TEMPLATE)
    return made | dict.fromkeys(("bytes, ChatML", "bytes, ChatML, empty system prompt"), bytewise)


@pytest.mark.parametrize(
    "case", GOLDEN, ids=lambda case: f"{case['tokenizer']}: {case['spec'].get('task', '')} {case['row']}"
)
def test_token_ids_are_what_they_were(tokenizers, case):
    """golden_tokens.json was written by the code before rows had roles; a change of it changes every study's tokens."""
    tokenizer, spec = tokenizers[case["tokenizer"]], SPEC | case["spec"]
    if case["row"] == "prompt":
        assert prompt_ids("what is it", tokenizer, spec, chat=True) == case["input_ids"]
        return
    example = encode(ABSENT | ROWS[case["row"]], tokenizer, spec)
    assert (example.input_ids, example.labels, example.truncated) == tuple(
        case[key] for key in ("input_ids", "labels", "truncated")
    )
