"""The loss: negative log-likelihood in nats a supervised token. One definition for training, validation and evaluation.

Libraries average over batches; here sums over tokens are divided by numbers of tokens, so that neither batch size nor
accumulation nor padding changes a figure, up to rounding.

The exception is int8. LLM.int8() (Dettmers et al. 2022, section 3.2) multiplies in 16 bits those columns of the activations that
hold a value above 6 anywhere in the batch, and the others in 8 bits: the rows beside a row decide how exactly it is computed.
Losses of int8 models differ by some thousandths of a nat between batch sizes; they are comparable where the batch size is the
same, as it is within a study. A fixed set of columns would make them independent, but would be another method than the one
that transformers and bitsandbytes run.
"""

from __future__ import annotations

from typing import Any

import torch

from tunebook.finetuning.batching import Collator, longest_first
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.output_head import output_head


def token_losses(logits: torch.Tensor, labels: torch.Tensor, task: str) -> torch.Tensor:
    """Negative log-likelihood of each label that is not -100, in the order of `supervised`: (N,), float32, nats.

    causal-lm: logits (B, T, V), labels (B, T); seq2seq-lm: logits (B, U, V), labels (B, U); sequence-classification: logits
    (B, C), labels (B,). A prompt adapter makes logits of its own positions, too; they stand first.
    """
    if task == "sequence-classification":
        logits = logits[:, None]
    elif task == "causal-lm":
        logits = logits[:, logits.shape[1] - labels.shape[1] :]
    chosen, ids = supervised(labels, task)
    return torch.nn.functional.cross_entropy(logits[chosen].float(), ids, reduction="none")


def supervised(labels: torch.Tensor, task: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the model's output is scored, (B, T) bool, and against which ids, (N,).

    causal-lm: position t predicts token t + 1, so that the first label has no position.
    """
    if task == "causal-lm":
        labels = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=NO_LOSS)
    elif task == "sequence-classification":
        labels = labels[:, None]
    chosen = labels != NO_LOSS
    return chosen, labels[chosen]


def supervised_losses(model: torch.nn.Module, batch: dict[str, Any], task: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of a batch's supervised tokens, in nats, and the row (0 to B - 1) of each: both (N,). Without a gradient.

    `batch`: what a collator returns, or with the model's other arguments besides.
    """
    inputs, labels = _inputs(batch, task), batch["labels"]
    chosen, ids = supervised(labels, task)
    head = output_head(model) if task == "causal-lm" else None
    with torch.no_grad():
        if head is None:
            losses = token_losses(model(**inputs).logits, labels, task)
        else:
            losses = head.losses(head.hidden(model, inputs).of(chosen), ids)
    return losses, chosen.nonzero()[:, 0]


def summed_loss(model: torch.nn.Module, batch: dict[str, Any], task: str) -> torch.Tensor:
    """Sum of the losses of a batch's supervised tokens, in nats, with a gradient."""
    inputs, labels = _inputs(batch, task), batch["labels"]
    head = output_head(model) if task == "causal-lm" else None
    if head is None:
        return token_losses(model(**inputs)["logits"], labels, task).sum()
    chosen, ids = supervised(labels, task)
    return head.summed_loss(head.hidden(model, inputs).of(chosen), ids)


def _inputs(batch: dict[str, Any], task: str) -> dict[str, Any]:
    """What the model is given of a batch. A cache of keys and values helps nobody who computes a loss, and with one transformers
    takes packed rows for a single row."""
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "counted")}
    if task == "causal-lm" and "past_key_values" not in inputs:
        inputs["use_cache"] = False
    return inputs


def by_row(losses: torch.Tensor, rows: torch.Tensor, count: int) -> list[list[float]]:
    """The losses of each of `count` rows, from what `supervised_losses` returns."""
    return [part.tolist() for part in losses.double().cpu().split(torch.bincount(rows.cpu(), minlength=count).tolist())]


@torch.no_grad()
def score_tokens(
    model: torch.nn.Module, rows: list[dict[str, Any]], collate: Collator, batch_size: int
) -> list[list[float]]:
    """Each row's losses in nats, a value a token of `scored_places`, in the order given. Batches are halved where memory
    runs out."""
    was_training = model.training
    model.eval()
    scored: list[list[float]] = [[] for _ in rows]
    device = next(model.parameters()).device

    def losses_of(indices: list[int]) -> list[list[float]]:
        batch = {name: tensor.to(device) for name, tensor in collate([rows[index] for index in indices]).items()}
        return by_row(*supervised_losses(model, batch, collate.task), len(indices))

    order = longest_first([len(row["input_ids"]) for row in rows])
    for indices, found in in_batches(order, batch_size, losses_of):
        for index, each in zip(indices, found, strict=True):
            scored[index] = each
    model.train(was_training)
    return scored


def scored_places(labels: list[int], task: str) -> list[int]:
    """Places of a row's labels that have a loss. Nothing predicts the first token of a causal model's row."""
    first = 1 if task == "causal-lm" else 0
    return [place for place in range(first, len(labels)) if labels[place] != NO_LOSS]


def score(
    model: torch.nn.Module, rows: list[dict[str, Any]], collate: Collator, batch_size: int
) -> list[tuple[float, int]]:
    """(summed loss in nats, supervised tokens) of each row, in the order given."""
    return [(sum(losses), len(losses)) for losses in score_tokens(model, rows, collate, batch_size)]


def mean_over_tokens(scored: list[tuple[float, int]]) -> float:
    """Mean loss in nats a token over rows of (summed loss, tokens)."""
    return sum(loss for loss, _ in scored) / sum(count for _, count in scored)
