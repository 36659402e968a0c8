"""Memorisation: does a model complete its training rows verbatim, and more of them than of rows it never saw?

Greedy decoding gives the reference exactly where, with the reference before it, each next token is the likeliest one. So a
single forward pass tells, and nothing need be generated; a test holds the two against each other.
"""

from __future__ import annotations

from typing import Any

import torch

from tunebook.finetuning.batching import Collator, longest_first
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.memory import in_batches

FEWEST_TOKENS = 8  # of a target: half of fewer would be completed by chance
MOST_COMPLETED = 32  # tokens


@torch.no_grad()
def completed(model: torch.nn.Module, rows: list[dict[str, Any]], collate: Collator, batch_size: int) -> list[bool]:
    """Whether the model, given a row up to the first half of its target, would greedily go on as the row does.

    Args: rows: encoded rows (causal-lm) of `chosen`.
    """
    found = [False] * len(rows)
    device = next(model.parameters()).device

    def right_places(indices: list[int]) -> list[list[bool]]:
        batch = {name: tensor.to(device) for name, tensor in collate([rows[index] for index in indices]).items()}
        ids = batch["input_ids"]  # (B, T)
        del batch["labels"]
        likeliest = model(**batch).logits[:, :-1].argmax(dim=-1)  # (B, T - 1): place t predicts token t + 1
        return (likeliest == ids[:, 1:]).tolist()

    for indices, right in in_batches(longest_first([len(row["input_ids"]) for row in rows]), batch_size, right_places):
        for index, line in zip(indices, right, strict=True):
            found[index] = all(line[place - 1] for place in completed_places(rows[index]))
    return found


def completed_places(row: dict[str, Any]) -> list[int]:
    """Places of the tokens to be completed: the second half of the target, at most `MOST_COMPLETED`, without its end."""
    target = _target(row)
    return target[(len(target) + 1) // 2 :][:MOST_COMPLETED]


def _target(row: dict[str, Any]) -> list[int]:
    """Places of the last learnt stretch of a row (of a conversation: the last answer), less the token that ends it."""
    places = [place for place, label in enumerate(row["labels"]) if label != NO_LOSS]
    start = next((at for at in range(len(places) - 1, 0, -1) if places[at] != places[at - 1] + 1), 0)
    return places[start:-1]


def chosen(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first `count` rows whose target is long enough to be halved."""
    return [row for row in rows if len(_target(row)) >= FEWEST_TOKENS][:count]
