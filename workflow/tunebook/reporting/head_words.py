"""What a reader must know of a classifier's head before comparing the untouched model with a finetuned one."""

from __future__ import annotations

from typing import Any

from tunebook.reporting.typeset import listed


def head_words(head: dict[str, Any] | None) -> str:
    """A head (the key `head` of evaluation.json) in a sentence or two; no words for a run without one."""
    if head is None:
        return ""
    labels, own = listed(head["labels"]), listed(head["checkpoint_labels"])
    if head["start"] == "new":
        return (
            "The model came without a classification head: a new one starts at random, so the untouched model guesses."
        )
    if head["start"] == "replaced":
        return (
            f"The model came with a head of {len(head['checkpoint_labels'])} classes ({own}), and the data set has "
            f"{len(head['labels'])} labels: a new head starts at random in its place, so the untouched model guesses."
        )
    if head["matched"] == "name":
        return "The model came with its own classification head, and its classes have the names of the labels."
    named = f"its classes are named {own}" if own else "its classes have no names"
    return (
        f"The model came with its own classification head, but {named}: they were taken for {labels}, in this order. The "
        "scores of the untouched model hold only if this order is right."
    )
