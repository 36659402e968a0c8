"""Rows -> token ids and labels. A label of -100 takes no part in the loss.

What is learnt: the completion or the assistant's turns where there is a prompt, the whole text where there is none,
and always the token that ends it. Padding comes later, in the batch, and is never learnt: it is told apart by its
place, not by its id, so that a model whose padding token is its end token still learns to stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunebook.data.rows import Message, continues, learnt_places, messages_of, question
from tunebook.errors import TunebookError
from tunebook.finetuning.tokenizers import end_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_LOSS = -100


@dataclass(frozen=True)
class Encoded:
    """`input_ids` and `labels` of one row (the same length for causal-lm), and whether it was cut to fit."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool

    @property
    def supervised(self) -> int:
        """Number of tokens that take part in the loss."""
        return sum(label != NO_LOSS for label in self.labels)


def encode(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> Encoded:
    """Encode one row of a split file for the task `spec["task"]` (study.json's specs for `tokenize`)."""
    if spec["task"] == "causal-lm":
        return _causal(row, tokenizer, spec)
    source = tokenizer(question(row))["input_ids"]
    cut = len(source) > spec["max_length"]
    if cut:
        source = [*source[: spec["max_length"] - 1], source[-1]]  # the last token ends the input: it stays
    if spec["task"] == "sequence-classification":
        return Encoded(source, [spec["labels"].index(row["label"])], cut)
    target = _plain(tokenizer, row["completion"])
    labels = [*target, end_id(tokenizer)][: spec["max_target_length"]]
    return Encoded(source, labels, cut or len(target) + 1 > len(labels))


def prompt_ids(prompt: str, tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any], *, chat: bool) -> list[int]:
    """The ids that a causal model is given for a prompt: in the chat template where the experiment trains with it."""
    if chat and uses_chat_template(tokenizer, spec):
        return _templated(tokenizer, _told(spec, [Message(role="user", content=prompt)]), generation=True)
    return tokenizer(prompt)["input_ids"]


def uses_chat_template(tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> bool:
    return bool(spec["chat_template"] and tokenizer.chat_template)


def _causal(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> Encoded:
    if continues(row, "causal-lm"):
        ids = [*tokenizer(row["text"])["input_ids"], end_id(tokenizer)]
        labels = [NO_LOSS, *ids[1:]]  # nothing predicts the first token
    else:
        form = _conversation if uses_chat_template(tokenizer, spec) else _plain_turns
        ids, labels = form(tokenizer, messages_of(row), spec)
    kept = spec["max_length"]
    return Encoded(ids[:kept], labels[:kept], len(ids) > kept)


def _plain_turns(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], spec: dict[str, Any]
) -> tuple[list[int], list[int]]:
    """Messages one after the other without a template: the assistant's are learnt, each with its end, the others given."""
    learnt = learnt_places(messages, spec["learn"])
    ids = list(tokenizer(messages[0].content)["input_ids"])
    labels = [NO_LOSS] * len(ids)
    for place, message in enumerate(messages[1:], start=1):
        piece = _plain(tokenizer, message.content)
        if message.role == "assistant":
            piece = [*piece, end_id(tokenizer)]
        ids += piece
        labels += piece if place in learnt else [NO_LOSS] * len(piece)
    return ids, labels


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _told(spec: dict[str, Any], messages: list[Message]) -> list[dict[str, Any]]:
    """What the chat template is given: the model's system prompt stands before a conversation that has none of its own."""
    own = messages[0].role == "system"
    system = (
        [Message(role="system", content=spec["system_prompt"])] if spec["system_prompt"] is not None and not own else []
    )
    return [message.for_template() for message in [*system, *messages]]


def _conversation(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], spec: dict[str, Any]
) -> tuple[list[int], list[int]]:
    """A templated conversation. An assistant's turn is learnt up to the token that ends it, not what the template adds."""
    turns = _told(spec, messages)
    whole = _templated(tokenizer, turns, generation=False)
    labels = [NO_LOSS] * len(whole)
    for place in learnt_places(messages, spec["learn"]):
        number = place + len(turns) - len(messages)
        before = _templated(tokenizer, turns[:number], generation=True)
        after = _templated(tokenizer, turns[: number + 1], generation=False)
        if whole[: len(before)] != before or whole[: len(after)] != after:
            raise TunebookError(
                "the chat template does not build a conversation turn by turn; set chat_template: false for this model"
            )
        answer = after[len(before) :]
        end = end_id(tokenizer)
        if end in answer:
            answer = answer[: len(answer) - answer[::-1].index(end)]
        labels[len(before) : len(before) + len(answer)] = answer
    return whole, labels


def _templated(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, Any]], *, generation: bool) -> list[int]:
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation)
    return _plain(tokenizer, text)


def prompt_of(run: dict[str, Any], line: dict[str, Any]) -> list[int]:
    """The ids that a model is given before it answers: for causal-lm, what stands before the first supervised token."""
    if run["task"] != "causal-lm":
        return line["input_ids"]
    first = next(place for place, label in enumerate(line["labels"]) if label != NO_LOSS)
    return line["input_ids"][:first]
