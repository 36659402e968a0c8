"""How likely plain text remains: the loss on a fixed neutral text (`neutral.txt`, written for this project), before and after
finetuning."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import torch

from tunebook.finetuning.batching import Collator
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.losses import NeutralLosses
from tunebook.finetuning.scoring import score

TEXT = Path(__file__).with_suffix(".txt")
LONGEST_PIECE = 512  # tokens; a model whose context is shorter reads shorter pieces


def measure(
    run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, collate: Collator, batch_size: int
) -> NeutralLosses:
    """Score the neutral text with a run's model and, where its weights are quantized, with the same model less its adapter."""
    losses, tokens = score_neutral(model, tokenizer, collate, batch_size)
    untrained = None
    if run["quantization"] and run["adapter"]:
        with model.disable_adapter():
            untrained, _ = score_neutral(model, tokenizer, collate, batch_size)
    return NeutralLosses(losses, untrained, tokens, hashlib.sha256(TEXT.read_bytes()).hexdigest())


def score_neutral(
    model: torch.nn.Module, tokenizer: Any, collate: Collator, batch_size: int
) -> tuple[list[float], list[int]]:
    """Summed loss in nats, and tokens, of each paragraph for a causal model, without a template and without an end token."""
    limit = min(getattr(model.config, "max_position_embeddings", None) or LONGEST_PIECE, LONGEST_PIECE)
    cut = [pieces(tokenizer(paragraph)["input_ids"], limit) for paragraph in paragraphs()]
    scored = iter(score(model, [piece for part in cut for piece in part], collate, batch_size))
    by_paragraph = [[next(scored) for _ in part] for part in cut]
    sums = [(sum(loss for loss, _ in part), sum(count for _, count in part)) for part in by_paragraph]
    return [loss for loss, _ in sums], [count for _, count in sums]


@functools.cache
def paragraphs() -> list[str]:
    """The neutral text."""
    return TEXT.read_text(encoding="utf-8").strip().split("\n\n")


def pieces(ids: list[int], limit: int) -> list[dict[str, list[int]]]:
    """A paragraph's rows of at most `limit` tokens to score; nothing predicts the first token of each."""
    cut = [ids[start : start + limit] for start in range(0, len(ids), limit)]
    return [{"input_ids": piece, "labels": [NO_LOSS, *piece[1:]]} for piece in cut if len(piece) > 1]
