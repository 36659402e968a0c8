"""An encoded row for people: its tokens as text, those that are learnt in brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunebook.finetuning.encoding import NO_LOSS, Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "⟦", "⟧"


def learnt_and_given(example: Encoded, tokenizer: PreTrainedTokenizerBase, task: str) -> str:
    """The tokens of a row, one after the other. What is given stands as it is, each learnt token in brackets of its own."""
    if task == "sequence-classification":
        return f"{tokenizer.decode(example.input_ids)} -> {OPEN}class {example.labels[0]}{CLOSE}"
    if task == "seq2seq-lm":
        return f"{tokenizer.decode(example.input_ids)} -> {_learnt(example.labels, tokenizer)}"
    told, given = "", []
    for token, label in zip(example.input_ids, example.labels, strict=True):
        if label == NO_LOSS:
            given.append(token)
            continue
        told += tokenizer.decode(given) + _learnt([token], tokenizer)
        given = []
    return told + tokenizer.decode(given) + (" (cut)" if example.truncated else "")


def _learnt(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return "".join(f"{OPEN}{tokenizer.decode([token])}{CLOSE}" for token in ids)
