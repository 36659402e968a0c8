"""Conversations as people have them -> messages with roles.

Taken are messages of {role, content}, ShareGPT's turns of {from, value}, and plain texts in alternation. A text alone does
not say who speaks: plain texts are taken in pairs of user and assistant, or as the data set declares (style: turns).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunebook.data.rows import ROLES, Message
from tunebook.data.tabular import SHOWN

ROLE_NAMES = {role: role for role in ROLES} | {
    "developer": "system",
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",  # ShareGPT: its value is the call
    "observation": "tool",
    "function": "tool",
    "tool_response": "tool",
}
KEYS = {"messages": ("role", "content"), "sharegpt": ("from", "value")}  # style -> who speaks, what is said


class Unusable(Exception):
    """Why a row cannot be used, and what was found."""


@dataclass(frozen=True)
class Conversation:
    """`messages` end with an answer. `dropped`: messages after the last answer, which nobody answers."""

    messages: tuple[Message, ...]
    dropped: int


def conversation(name: str, value: Any, style: str | None) -> Conversation:
    """The conversation that a column holds. `name`: the column; `style`: what the data set declares. Raises Unusable."""
    if not isinstance(value, list):
        raise Unusable(f"{name} is not a list of turns", repr(value)[:SHOWN])
    if len(value) < 2:
        raise Unusable("a conversation needs two turns", repr(value)[:SHOWN])
    said = [(f"turn {number} of {name}", turn) for number, turn in enumerate(value, start=1)]
    plain = [not isinstance(turn, Mapping) for turn in value]
    if any(plain) and not all(plain):
        raise Unusable("some turns have roles and some have none", repr(value)[:SHOWN])
    if style == "turns" or (style is None and all(plain)):
        messages = _alternating(said, declared=style == "turns")
    else:
        messages = [_message(where, turn, style) for where, turn in said]
    last = max((place for place, each in enumerate(messages) if each.role == "assistant"), default=None)
    if last is None:
        raise Unusable("no turn of the assistant, so that nothing is learnt", repr(value)[:SHOWN])
    if not any(message.role == "user" for message in messages[:last]):
        raise Unusable("no turn of the user before the assistant's last", repr(value)[:SHOWN])
    return Conversation(tuple(messages[: last + 1]), dropped=len(messages) - last - 1)


def _alternating(said: list[tuple[str, Any]], *, declared: bool) -> list[Message]:
    """Plain texts, the user first."""
    texts = [_text(where, turn) for where, turn in said]
    if len(texts) % 2 and not declared:
        raise Unusable(
            "an odd number of turns without roles: who says what cannot be told; declare format.style: turns if the user "
            "begins and turns alternate, or give each turn a role",
            f"{len(texts)} turns",
        )
    roles = ("user", "assistant")
    return [Message(role=roles[number % 2], content=text) for number, text in enumerate(texts)]


def _message(where: str, turn: Any, style: str | None) -> Message:
    if not isinstance(turn, Mapping):
        raise Unusable(f"{where} has no role", repr(turn)[:SHOWN])
    style = style or ("sharegpt" if "from" in turn and "role" not in turn else "messages")
    who, what = KEYS[style]
    if who not in turn:
        raise Unusable(f"{where} has no {who!r}, which says who speaks", repr(turn)[:SHOWN])
    role = ROLE_NAMES.get(turn[who]) if isinstance(turn[who], str) else None
    if role is None:
        raise Unusable(f"{where} has an unknown role; roles are {', '.join(ROLE_NAMES)}", repr(turn[who])[:SHOWN])
    if turn.get("weight") not in (None, 1):
        raise Unusable(f"{where} has a weight; to learn the last answer only, set learn: last", repr(turn["weight"]))
    if turn[who] == "function_call":
        return Message(role=role, content=None, tool_calls=[_call(where, turn.get(what))])
    calls = _calls(where, turn)
    if calls and role != "assistant":
        raise Unusable(f"{where} calls tools, which only the assistant can", repr(turn)[:SHOWN])
    return Message(
        role=role,
        content=_content(where, role, turn.get(what), calls=bool(calls)),
        tool_calls=calls or None,
        **{key: _optional(where, key, turn.get(key)) for key in ("tool_call_id", "name", "reasoning_content")},
    )


def _content(where: str, role: str, content: Any, *, calls: bool) -> str | None:
    """A message's text. Parts of text are joined; other parts (images, sound) are refused."""
    if isinstance(content, list):
        for part in content:
            if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
                raise Unusable(f"{where} has a part that is not text; models here read text only", repr(part)[:SHOWN])
        content = "".join(part["text"] for part in content)
    if calls and (content is None or content == ""):
        return None
    if role in ("system", "tool") and isinstance(content, str) and not content.strip():
        return ""  # an empty system message is one, and a tool may return nothing
    return _text(where, content)


def _text(where: str, value: Any) -> str:
    if isinstance(value, list | Mapping):
        raise Unusable(f"{where} is not text", repr(value)[:SHOWN])
    return str(clean(where, value))


def _optional(where: str, key: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Unusable(f"{key} of {where} is not text", repr(value)[:SHOWN])
    return value


def _calls(where: str, turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = turn.get("tool_calls") or []
    if turn.get("function_call"):  # the older form
        calls = [turn["function_call"]]
    if not isinstance(calls, list):
        raise Unusable(f"tool_calls of {where} is not a list", repr(calls)[:SHOWN])
    return [_call(where, call) for call in calls]


def _call(where: str, call: Any) -> dict[str, Any]:
    """One call as templates take it: arguments as a mapping, not as JSON text."""
    try:
        call = json.loads(call) if isinstance(call, str) else call
        function = call.get("function", call)
        name, arguments = function["name"], function.get("arguments") or {}
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        if not (isinstance(name, str) and isinstance(arguments, dict)):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unusable(f"{where} has a tool call that is not name and arguments", repr(call)[:SHOWN]) from None
    more = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {"type": "function", **more, "function": {"name": name, "arguments": arguments}}


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def clean(name: str, value: Any) -> Any:
    """Text without outer white space, in Unicode's composed form. Numbers stay numbers. Raises Unusable if empty."""
    if is_missing(value):
        raise Unusable(f"missing {name}", repr(value))
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise Unusable(f"NUL byte in {name}", repr(value)[:SHOWN])
    text = unicodedata.normalize("NFC", value).strip()
    if not text:
        raise Unusable(f"empty {name}", repr(value)[:SHOWN])
    return text
