"""Rows -> token ids and labels. A label of -100 takes no part in the loss.

What is learnt: the completion or the assistant's turns where there is a prompt, the whole text where there is none,
and always the token that ends it. Padding comes later, in the batch, and is never learnt: it is told apart by its
place, not by its id, so that a model whose padding token is its end token still learns to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunebook.data.rows import Message, continues, learnt_places, messages_of, question
from tunebook.finetuning.chat import ChatTemplate, Piece, Refused, chat_template
from tunebook.finetuning.special_tokens import added_tokens, as_text, encoded
from tunebook.finetuning.tokenizers import end_id, surroundings

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
    """Encode one row of a split file for the task `spec["task"]` (study.json's specs for `tokenize`).

    Raises Refused where the model's chat template cannot take the row.
    """
    if spec["task"] == "causal-lm":
        ids, labels = _causal(row, tokenizer, spec)
        kept = spec["max_length"]
        return Encoded(ids[:kept], labels[:kept], len(ids) > kept)
    source = _read_by_encoder(tokenizer, question(row), spec)
    cut = len(source) > spec["max_length"]
    if cut:
        source = [*source[: spec["max_length"] - 1], source[-1]]  # the last token ends the input: it stays
    if spec["task"] == "sequence-classification":
        return Encoded(source, [spec["labels"].index(row["label"])], cut)
    target = _plain(tokenizer, row["completion"], spec)
    labels = [*target, end_id(tokenizer)][: spec["max_target_length"]]
    return Encoded(source, labels, cut or len(target) + 1 > len(labels))


def encode_blocks(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> list[Encoded]:
    """A long text in blocks of `max_length` tokens, for a causal model. Nothing predicts the first token of a block."""
    ids, _ = _causal(row, tokenizer, spec)
    size = spec["max_length"]
    blocks = [ids[begin : begin + size] for begin in range(0, len(ids), size)]
    return [Encoded(block, [NO_LOSS, *block[1:]], truncated=False) for block in blocks if len(block) > 1]


def spec_of(run: dict[str, Any]) -> dict[str, Any]:
    """What encoding is told of a run (run.json), less the lengths."""
    dataset = run["dataset"]
    templates = [dataset[key] for key in ("prompt", "completion", "text") if dataset[key] is not None]
    return {"task": run["task"], "learn": dataset["learn"], "templates": templates, **run["model"]}


def prompt_ids(prompt: str, tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any], *, chat: bool) -> list[int]:
    """The ids that a causal model is given for a prompt: in the chat template where the experiment trains with it."""
    if chat and uses_chat_template(tokenizer, spec):
        return encoded(tokenizer, [chat_template_of(tokenizer, spec).prompt(prompt)])[0]
    return [*surroundings(tokenizer)[0], *_plain(tokenizer, prompt, spec)]


def prompt_of(run: dict[str, Any], line: dict[str, Any]) -> list[int]:
    """The ids that a model is given before it answers: for causal-lm, what stands before the first supervised token."""
    if run["task"] != "causal-lm":
        return line["input_ids"]
    first = next(place for place, label in enumerate(line["labels"]) if label != NO_LOSS)
    return line["input_ids"][:first]


def uses_chat_template(tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> bool:
    return bool(spec["chat_template"] and tokenizer.chat_template)


def _causal(
    row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]
) -> tuple[list[int], list[int]]:
    if continues(row, "causal-lm"):
        ids = [*surroundings(tokenizer)[0], *_plain(tokenizer, row["text"], spec), end_id(tokenizer)]
        return ids, [NO_LOSS, *ids[1:]]  # nothing predicts the first token
    messages = messages_of(row)
    places = learnt_places(messages, spec["learn"])
    if not uses_chat_template(tokenizer, spec):
        return _without_template(tokenizer, messages, places, spec)
    return _joined(tokenizer, chat_template_of(tokenizer, spec).pieces(messages, places))


def _without_template(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], places: Sequence[int], spec: dict[str, Any]
) -> tuple[list[int], list[int]]:
    """Messages one after the other: the assistant's are learnt, each with its end, the others given."""
    ids = surroundings(tokenizer)[0]
    labels = [NO_LOSS] * len(ids)
    for place, message in enumerate(messages):
        if message.tool_calls:
            raise Refused(
                "calls of tools are written by a chat template, and this model has none, or none in use; choose a model "
                "whose template takes them, or take such rows out"
            )
        piece = _plain(tokenizer, message.content, spec)
        if message.role == "assistant":
            piece = [*piece, end_id(tokenizer)]
        ids = [*ids, *piece]
        labels += piece if place in places else [NO_LOSS] * len(piece)
    return ids, labels


def _joined(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[Piece]) -> tuple[list[int], list[int]]:
    ids, labels = [], []
    for piece, part in zip(pieces, encoded(tokenizer, [piece.text for piece in pieces]), strict=True):
        ids += part
        labels += part if piece.learnt else [NO_LOSS] * len(part)
    return ids, labels


def chat_template_of(tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> ChatTemplate:
    shared = spec["system_prompt"], spec["template_date"], tuple(_kept(tokenizer, spec))
    return chat_template(tokenizer, str(tokenizer.chat_template), *shared)


def _kept(tokenizer: PreTrainedTokenizerBase, spec: dict[str, Any]) -> list[str]:
    """Special tokens that the data set's own templates write, such as [SEP] between two sentences."""
    written = "".join(spec["templates"])
    return [token for token in added_tokens(tokenizer, special=True) if token in written]


def _plain(tokenizer: PreTrainedTokenizerBase, text: str, spec: dict[str, Any]) -> list[int]:
    return encoded(tokenizer, [as_text(tokenizer, text, _kept(tokenizer, spec))])[0]


def _read_by_encoder(tokenizer: PreTrainedTokenizerBase, text: str, spec: dict[str, Any]) -> list[int]:
    """A text with all that the tokenizer puts around it."""
    before, behind = surroundings(tokenizer)
    return [*before, *_plain(tokenizer, text, spec), *behind]
