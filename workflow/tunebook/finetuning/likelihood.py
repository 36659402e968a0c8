"""Labels by likelihood: which label would the model rather have said? It asks nothing of a model's power to answer in form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from tunebook.finetuning.batching import Collator
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.scoring import score_tokens
from tunebook.finetuning.tokenizers import end_id


def likeliest(
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    labels: list[str],
    names: list[str],
    *,
    collate: Collator,
    batch_size: int,
    scorer: Callable[..., list[list[float]]] = score_tokens,
) -> list[str]:
    """The likeliest of `names` as the completion of each row: the lowest loss, summed over the completion's tokens.

    Args: tokens: the encoded test rows (causal-lm, seq2seq-lm); labels: their labels; scorer: `score_tokens` or the like of it.
    """
    completions = completions_of(tokenizer, tokens, labels, names)
    rows = [_completed(line, completions[name], collate.task) for line in tokens for name in names]
    losses = [sum(tokens) for tokens in scorer(model, rows, collate, batch_size)]
    by_row = torch.tensor(losses).reshape(len(tokens), len(names))  # (N, labels), nats
    return [names[index] for index in by_row.argmin(dim=1).tolist()]


def completions_of(
    tokenizer: Any, tokens: list[dict[str, Any]], labels: list[str], names: list[str]
) -> dict[str, list[int]]:
    """Label -> the ids that were to be learnt for it, its end among them: what most of its rows have.

    Taken from the rows, so that whatever a template puts around a label is there; a label that no row has is encoded.
    """
    learnt = {name: Counter() for name in names}
    for line, label in zip(tokens, labels, strict=True):
        learnt[label][tuple(token for token in line["labels"] if token != NO_LOSS)] += 1
    ends = Counter(ids[-1] for found in learnt.values() for ids in found.elements())
    end = ends.most_common(1)[0][0] if ends else end_id(tokenizer)
    plain = {name: [*tokenizer(name, add_special_tokens=False)["input_ids"], end] for name in names}
    return {name: list(found.most_common(1)[0][0]) if found else plain[name] for name, found in learnt.items()}


def _completed(line: dict[str, Any], completion: list[int], task: str) -> dict[str, Any]:
    """A row with another completion. causal-lm: what stands before the first supervised token, then the completion."""
    if task == "seq2seq-lm":
        return {"input_ids": line["input_ids"], "labels": completion}
    first = next(place for place, label in enumerate(line["labels"]) if label != NO_LOSS)
    prompt = line["input_ids"][:first]
    return {"input_ids": [*prompt, *completion], "labels": [NO_LOSS] * len(prompt) + completion}
