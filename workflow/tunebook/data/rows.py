"""What a row is, and for every task what is asked, what is to be answered and which text is supervised.

A row of a split file is a mapping with `row` (its id) and one of three shapes: `prompt` and `completion`; `text`;
`messages`, a list of {role, content}. Absent columns are None. A prompt with a completion is a conversation of two
messages. Nothing else in the library knows these shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from tunebook.errors import TunebookError

ROLES = ("system", "user", "assistant", "tool")
Role = Literal["system", "user", "assistant", "tool"]
Learn = Literal["assistant", "last"]
LEARN: Learn = "assistant"  # every turn of the assistant


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a conversation, named as chat templates name its parts.

    `content` is None only where an assistant calls tools and says nothing. `tool_calls`: a list of {type, function: {name,
    arguments}}; a split file holds it as JSON text.
    """

    role: Role
    content: str | None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    reasoning_content: str | None = None

    def for_template(self) -> dict[str, Any]:
        """What a chat template is given: role, content and what else there is."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return {key: value for key, value in told.items() if value is not None or key in ("role", "content")}

    def stored(self) -> dict[str, str | None]:
        """How a split file holds the message: flat, and only what there is."""
        told = self.for_template()
        if "tool_calls" in told:
            told["tool_calls"] = json.dumps(told["tool_calls"], ensure_ascii=False)
        return told

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Message:
        """The message that a split file holds. Raises TunebookError for the form that had no roles."""
        if not isinstance(stored, Mapping):
            raise TunebookError(
                "the prepared rows hold messages without roles, as an earlier version wrote them; run the stage prepare again"
            )
        told = {each.name: stored.get(each.name) for each in fields(cls)}
        if told["tool_calls"] is not None:
            told["tool_calls"] = json.loads(told["tool_calls"])
        return cls(**told)


def continues(row: Mapping[str, Any], task: str) -> bool:
    """Whether a row is a text that a causal model learns whole: nothing is asked, and the text goes on."""
    return row["text"] is not None and task == "causal-lm"


def messages_of(row: Mapping[str, Any]) -> list[Message]:
    """A row as a conversation: its messages, or its prompt and completion."""
    if row["messages"] is not None:
        return [Message.read(stored) for stored in row["messages"]]
    turns = [("user", row["prompt"]), ("assistant", row["completion"])]
    return [Message(role=role, content=content) for role, content in turns if content is not None]


def learnt_places(messages: Sequence[Message], learn: Learn = LEARN) -> list[int]:
    """Which messages of a conversation are learnt: the assistant's that answer somebody, or only the last of them."""
    asked = next((place for place, message in enumerate(messages) if message.role == "user"), len(messages))
    places = [place for place in range(asked, len(messages)) if messages[place].role == "assistant"]
    return places[-1:] if learn == "last" else places


def after_system(messages: Sequence[Message], more: Sequence[Message]) -> list[Message]:
    """A conversation with `more` messages put before it, behind its system message if it has one."""
    begin = 1 if messages and messages[0].role == "system" else 0
    return [*messages[:begin], *more, *messages[begin:]]


def question(row: Mapping[str, Any], learn: Learn = LEARN) -> str:
    """What a row asks: its prompt, its text, or what was said before the first answer that is learnt."""
    for key in ("prompt", "text"):
        if row[key] is not None:
            return row[key]
    messages = messages_of(row)
    first = learnt_places(messages, learn)[0]
    said = [message.content for message in messages[:first] if message.role != "system"]
    return "\n".join(content for content in said if content)


def opening(row: Mapping[str, Any]) -> str:
    """What a row begins with, a system message aside. Rows that begin alike stay in one split."""
    if row["messages"] is None:
        return next(row[key] for key in ("prompt", "text", "completion") if row[key] is not None)
    return next(message.content for message in messages_of(row) if message.role == "user")


def reference(row: Mapping[str, Any], learn: Learn = LEARN) -> str:
    """The expected answer: the completion, or the first answer that is learnt."""
    if row["messages"] is None:
        return row["completion"]
    messages = messages_of(row)
    return spoken(messages[learnt_places(messages, learn)[0]])


def halves(text: str) -> tuple[str, str]:
    """A text without a prompt as a question: its first half of words, and how it goes on."""
    words = text.split(" ")
    middle = (len(words) + 1) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])


def learnt_texts(row: Mapping[str, Any], task: str, learn: Learn = LEARN) -> list[str]:
    """The texts that are learnt of a row, in their order: one, or an answer for each turn that is learnt."""
    if continues(row, task):
        return [row["text"]]
    if row["messages"] is None:
        return [row["completion"]]
    messages = messages_of(row)
    return [spoken(messages[place]) for place in learnt_places(messages, learn)]


def supervised_text(row: Mapping[str, Any], task: str, learn: Learn = LEARN) -> str:
    """The text that the loss is taken over."""
    return "\n".join(learnt_texts(row, task, learn))


def whole_text(row: Mapping[str, Any]) -> str:
    """All the text of a row, by which copies are found."""
    if row["messages"] is not None:
        return "\n".join(spoken(message) for message in messages_of(row))
    return "\n".join(row[key] for key in ("prompt", "text", "completion") if row[key])


def spoken(message: Message) -> str:
    """A message's content; of a message that only calls tools, the calls."""
    if message.content or not message.tool_calls:
        return message.content or ""
    return json.dumps(message.tool_calls, ensure_ascii=False)
