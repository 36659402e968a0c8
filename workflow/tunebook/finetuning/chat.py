"""A model's chat template: a conversation as text, and which stretches of that text are learnt.

Templates are programs. Many do not build a conversation message by message: they drop the thoughts of earlier answers, put
the system message into the last question, open a thought for the next answer. So the text is always that of the whole
conversation, and an answer is found in it by writing the conversation a second time with another answer in its place.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import jinja2

from tunebook.data.rows import Message
from tunebook.errors import TunebookError
from tunebook.finetuning.special_tokens import added_tokens, as_text, without_marks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "\U000f0010"  # a character for private use, so that no text begins or ends with it
STAND_IN = f"{MARK}an answer{MARK}"
PROBE = Message(role="user", content="?")
TODAY = "strftime_now"  # transformers' function for templates


class Refused(TunebookError):
    """Why a row cannot be encoded for this model, and what to do."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a row's text, and whether it is learnt."""

    text: str
    learnt: bool


class ChatTemplate:
    """The chat template of a tokenizer, as an experiment uses it.

    Args: system_prompt: goes before a conversation that has no system message of its own; date: what the template is told
    is today (ISO 8601); kept: special tokens that rows may write.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        system_prompt: str | None,
        date: str | None,
        kept: tuple[str, ...] = (),
    ) -> None:
        self.tokenizer, self.system_prompt, self.kept = tokenizer, system_prompt, kept
        self.date = None if date is None else datetime.date.fromisoformat(date)
        self.end = turn_end(tokenizer)
        self.left_out: dict[tuple, set[int]] = {}  # roles of a conversation -> messages that are not written

    def pieces(self, messages: Sequence[Message], places: Sequence[int]) -> list[Piece]:
        """The whole conversation's text, cut where learning begins and ends. `places`: the messages that are learnt.

        Raises Refused where the template refuses the conversation or leaves a part of it out.
        """
        own = messages[0].role == "system"
        if self.system_prompt is not None and not own:
            messages = [Message(role="system", content=self.system_prompt), *messages]
            places = [place + 1 for place in places]
        messages = [self._read_as_text(message) for message in messages]
        whole = self._written(messages)
        cuts = [0]
        for place in places:
            cuts += self._answer(whole, messages, place)
        self._check_complete(whole, messages)
        texts = [whole[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(whole)], strict=True)]
        pieces = [Piece(text, learnt=number % 2 == 1) for number, text in enumerate(texts)]
        if self.end is None and places[-1] == len(messages) - 1:  # the template writes no end: a model must learn one
            pieces = [*pieces[:-1], Piece(self.tokenizer.eos_token or self.tokenizer.sep_token, True), pieces[-1]]
        return [piece for piece in pieces if piece.text]

    def prompt(self, question: str) -> str:
        """What stands before an answer to a question: what the same conversation with an answer has before it."""
        pieces = self.pieces([Message(role="user", content=question), Message(role="assistant", content=STAND_IN)], [1])
        return pieces[0].text

    def _answer(self, whole: str, messages: list[Message], place: int) -> tuple[int, int]:
        """Which part of the text is learnt for message `place`: from the end of the generation prompt to the token that ends
        the turn."""
        begin, end = self._content(whole, messages, place)
        asked, last = self._written(messages[:place], ask=True), place == len(messages) - 1
        answered = whole if last else self._written(messages[: place + 1])
        if answered.startswith(asked):  # what follows the generation prompt is the model's to say
            said = begin if last else self._content(answered, messages[: place + 1], place)[0]
            header = answered[min(len(asked), said) : said]
            begin = begin - len(header) if whole[:begin].endswith(header) else begin
        if begin >= end:
            raise Refused("the chat template leaves out an answer; set chat_template: false for this model")
        ended = re.compile(rf"\s*{re.escape(self.end)}").match(whole, end) if self.end else None
        return begin, ended.end() if ended else end

    def _content(self, whole: str, messages: list[Message], place: int) -> tuple[int, int]:
        """Where the content of message `place` is, found by writing another one in its place."""
        other = self._written([*messages[:place], Message(role="assistant", content=STAND_IN), *messages[place + 1 :]])
        if other.count(STAND_IN) != 1:
            raise Refused(
                "the chat template leaves out an answer, or writes it twice; set chat_template: false for this model"
            )
        before, after = other.split(STAND_IN)
        begin = _alike(whole, before)
        end = len(whole) - _alike(whole[begin:][::-1], after[::-1])
        for token in re.finditer(_any_of(added_tokens(self.tokenizer)), whole):  # no token is cut in two
            begin = token.start() if token.start() < begin < token.end() else begin
            end = token.end() if token.start() < end < token.end() else end
        return begin, end

    def _check_complete(self, whole: str, messages: Sequence[Message]) -> None:
        """Everything is in the text. Templates may drop the thoughts of earlier answers, and no more."""
        whole, absent = without_marks(whole), self._left_out(tuple(messages))
        for number, message in enumerate(messages, start=1):
            said = [message.content]
            if number == len(messages):
                said.append(message.reasoning_content)
            elif message.role == "assistant":
                said = []
            parts = [without_marks(part).strip() for part in said if part]
            if number in absent or any(_absent(part, whole) for part in parts):
                raise Refused(
                    f"the chat template leaves out a part of the {message.role} message {number}; take the part out of the "
                    "row, or set chat_template: false for this model"
                )
            if any(_absent(without_marks(call["function"]["name"]), whole) for call in message.tool_calls or ()):
                raise Refused(
                    "the chat template leaves out calls of tools; choose a model whose template takes them, or take such "
                    "rows out"
                )

    def _left_out(self, messages: tuple[Message, ...]) -> set[int]:
        """Numbers of the messages that the template does not write, whatever they say, where roles follow each other so."""
        roles = tuple((message.role, message.tool_calls is not None) for message in messages)
        if roles not in self.left_out:
            marked = [message if message.tool_calls else replace(message, content=f"{MARK}{number}{MARK}")
                      for number, message in enumerate(messages, start=1)]  # fmt: skip
            text = self._written(marked)
            absent = {
                number for number, each in enumerate(marked, start=1) if each.content and each.content not in text
            }
            self.left_out[roles] = absent
        return self.left_out[roles]

    def _read_as_text(self, message: Message) -> Message:
        """The message with its special tokens marked, wherever they stand in it. See `special_tokens`."""

        def marked(value: Any) -> Any:
            if isinstance(value, str):
                return as_text(self.tokenizer, value, self.kept)
            if isinstance(value, Mapping):
                return {key: marked(each) for key, each in value.items()}
            return [marked(each) for each in value] if isinstance(value, list | tuple) else value

        told = {each.name: marked(getattr(message, each.name)) for each in fields(message) if each.name != "role"}
        return replace(message, **told)

    def _written(self, messages: Sequence[Message], *, ask: bool = False) -> str:
        """The text of messages; with `ask`, up to where the next answer begins."""
        template = self.tokenizer.chat_template
        if isinstance(template, str) and TODAY in template:
            if self.date is None:
                raise Refused(
                    "the chat template writes today's date, so that the same study would have other tokens tomorrow; set "
                    'template_date: "YYYY-MM-DD" for this model'
                )
            from transformers.utils.chat_template_utils import _compile_jinja_template

            # transformers gives templates no way to be told a date: the compiled template's own globals come first
            _compile_jinja_template(template).globals[TODAY] = self.date.strftime
        told = [message.for_template() for message in messages]
        try:
            return self.tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=ask)
        except jinja2.TemplateError as error:
            raise Refused(self._way_out(str(error), messages)) from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # a template is a program of somebody else's
            raise Refused(f"the chat template fails at this conversation: {error}") from None

    def _way_out(self, reason: str, messages: Sequence[Message]) -> str:
        told = f"the chat template refuses this conversation: {reason}"
        if messages[0].role == "system" and self._takes(messages[1:]):
            if messages[0].content == self.system_prompt:
                return f"{told}; it takes no system message: set system_prompt: null for this model (an empty text counts as one)"
            return f"{told}; it takes no system message: take it out of the row, or put it into the first question"
        return f"{told}; change the row, or set chat_template: false for this model"

    def _takes(self, messages: Sequence[Message]) -> bool:
        try:
            self._written(messages)
        except Refused:
            return False
        return True


@functools.lru_cache(maxsize=8)
def chat_template(
    tokenizer: PreTrainedTokenizerBase, text: str, system_prompt: str | None, date: str | None, kept: tuple[str, ...]
) -> ChatTemplate:
    """The ChatTemplate of a tokenizer, made once. `text`: the template itself, which tells two of them apart."""
    return ChatTemplate(tokenizer, system_prompt, date, kept)


def turn_end(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The token that the chat template writes behind an answer; None where it writes none."""
    told = [message.for_template() for message in (PROBE, Message(role="assistant", content=STAND_IN))]
    try:
        text = tokenizer.apply_chat_template(told, tokenize=False)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError):
        return None
    found = re.match(rf"\s*({_any_of(added_tokens(tokenizer))})", text.partition(STAND_IN)[2])
    return found[1] if found else None


def _alike(one: str, other: str) -> int:
    """Number of characters that two texts begin with alike."""
    if one.startswith(other):
        return len(other)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _absent(part: str, whole: str) -> bool:
    """Whether a text is in another neither as it is nor as JSON has it."""
    return part not in whole and json.dumps(part, ensure_ascii=False)[1:-1] not in whole


def _any_of(tokens: Sequence[str]) -> str:
    """A pattern that matches any of the tokens, the longest first."""
    return "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)"
