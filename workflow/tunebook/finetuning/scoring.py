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


def token_losses(logits: torch.Tensor, labels: torch.Tensor, task: str) -> torch.Tensor:
    """Negative log-likelihood of each label, 0 where the label is -100.

    causal-lm: logits (B, T, V), labels (B, T) -> (B, T - 1): position t predicts token t + 1.
    seq2seq-lm: logits (B, U, V), labels (B, U) -> (B, U).
    sequence-classification: logits (B, C), labels (B,) -> (B, 1).
    """
    if task == "causal-lm":
        logits, labels = logits[:, :-1], labels[:, 1:]
    elif task == "sequence-classification":
        logits, labels = logits[:, None], labels[:, None]
    supervised = labels != NO_LOSS  # (B, T)
    losses = torch.zeros(labels.shape, dtype=torch.float32, device=logits.device)
    chosen = torch.nn.functional.cross_entropy(logits[supervised].float(), labels[supervised], reduction="none")
    return losses.masked_scatter(supervised, chosen)


def mean_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any, *, task: str) -> torch.Tensor:
    """Trainer's `compute_loss_func`: the sum over this micro-batch by the supervised tokens of the whole batch."""
    losses = token_losses(outputs["logits"], labels, task)
    count = (labels != NO_LOSS).sum() if num_items_in_batch is None else num_items_in_batch
    return losses.sum() / count


@torch.no_grad()
def score(
    model: torch.nn.Module, rows: list[dict[str, Any]], collate: Collator, batch_size: int
) -> list[tuple[float, int]]:
    """(summed loss in nats, supervised tokens) of each row, in the order given. Batches are halved where memory runs out."""
    was_training = model.training
    model.eval()
    scored: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    device = next(model.parameters()).device

    def scores(indices: list[int]) -> list[tuple[float, int]]:
        batch = {name: tensor.to(device) for name, tensor in collate([rows[index] for index in indices]).items()}
        labels = batch.pop("labels")
        losses = token_losses(model(**batch).logits, labels, collate.task).double().sum(dim=1)
        counts = (labels != NO_LOSS).reshape(len(indices), -1).sum(dim=1)
        return list(zip(losses.tolist(), counts.tolist(), strict=True))

    order = longest_first([len(row["input_ids"]) for row in rows])
    for indices, found in in_batches(order, batch_size, scores):
        for index, each in zip(indices, found, strict=True):
            scored[index] = each
    model.train(was_training)
    return scored


def mean_over_tokens(scored: list[tuple[float, int]]) -> float:
    """Mean loss in nats a token over rows of (summed loss, tokens)."""
    return sum(loss for loss, _ in scored) / sum(count for _, count in scored)
