"""Forgetting: the loss on a fixed neutral text (`neutral.txt`, written for this project), before and after finetuning."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from tunebook.finetuning.batching import Collator
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.scoring import score

TEXT = Path(__file__).with_suffix(".txt")
LONGEST_PIECE = 512  # tokens; a model whose context is shorter reads shorter pieces


def score_neutral(
    model: torch.nn.Module, tokenizer: Any, collate: Collator, batch_size: int
) -> list[tuple[float, int]]:
    """(summed loss in nats, tokens) of each paragraph for a causal model, without a template and without an end token."""
    limit = getattr(model.config, "max_position_embeddings", None) or LONGEST_PIECE
    rows = pieces([tokenizer(paragraph)["input_ids"] for paragraph in paragraphs()], min(limit, LONGEST_PIECE))
    return score(model, rows, collate, batch_size)


@functools.cache
def paragraphs() -> list[str]:
    """The neutral text."""
    return TEXT.read_text(encoding="utf-8").strip().split("\n\n")


def pieces(paragraphs: list[list[int]], limit: int) -> list[dict[str, list[int]]]:
    """Rows of at most `limit` tokens to score; nothing predicts the first token of each."""
    cut = [ids[start : start + limit] for ids in paragraphs for start in range(0, len(ids), limit)]
    return [{"input_ids": ids, "labels": [NO_LOSS, *ids[1:]]} for ids in cut if len(ids) > 1]
