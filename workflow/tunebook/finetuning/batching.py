"""Batches: encoded rows of different lengths -> padded tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tunebook.finetuning.encoding import NO_LOSS


@dataclass(frozen=True)
class Collator:
    """Pads a list of rows to the longest of them.

    Returns input_ids, attention_mask and labels, each (B, T); for seq2seq-lm labels and decoder_input_ids are (B, U); for
    sequence-classification labels are (B,). The decoder's input is the target moved one place to the right, made here and
    not in the model, so that the loss can be ours and the same for every architecture (see scoring).
    """

    task: str
    pad_id: int
    decoder_start_id: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [row["input_ids"] for row in rows]
        batch = {
            "input_ids": _padded(ids, self.pad_id),  # (B, T)
            "attention_mask": _padded([[1] * len(row) for row in ids], 0),  # (B, T)
        }
        if self.task == "sequence-classification":
            return batch | {"labels": torch.tensor([row["labels"][0] for row in rows])}  # (B,)
        batch["labels"] = _padded([row["labels"] for row in rows], NO_LOSS)  # (B, T) or (B, U)
        if self.task == "seq2seq-lm":
            shifted = [[self.decoder_start_id, *row["labels"][:-1]] for row in rows]
            batch["decoder_input_ids"] = _padded(shifted, self.pad_id)  # (B, U)
        return batch


def collator_for(task: str, tokenizer: Any, model: Any) -> Collator:
    """The collator of a task. Where there is no padding token the end token fills up: it is masked by its place."""
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return Collator(
        task=task, pad_id=pad_id, decoder_start_id=model.config.decoder_start_token_id if task == "seq2seq-lm" else None
    )


def longest_first(lengths: list[int]) -> list[int]:
    """Indices of rows, the longest first: batches of them hold rows of like length, so that little is padded, and memory
    peaks at once."""
    return sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))


class LengthGroupedSampler(torch.utils.data.Sampler):
    """Row indices for training: shuffled, with rows of like length side by side, so that little is padded.

    The order depends on seed and epoch alone. (Trainer's own sampler draws from the global generator, whose state at an
    epoch's begin is lost to a run that resumes in its middle.)

    Args: batch_size: rows of an optimizer step; multiple: an epoch is filled up to a multiple of this with the index of the
    row after the last, a blank one, so that processes which share the rows have the same number of them.
    """

    POOL = 8  # batches among which rows are sorted: large enough to group lengths, small enough to stay shuffled

    def __init__(self, lengths: list[int], batch_size: int, seed: int, multiple: int = 1) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0
        self.blanks = -len(lengths) % multiple

    def __len__(self) -> int:
        return len(self.lengths) + self.blanks

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch, by accelerate's data loader."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        shuffled = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.POOL * self.batch_size
        batches = []
        for start in range(0, len(shuffled), pool):
            rows = sorted(shuffled[start : start + pool], key=lambda row: self.lengths[row])
            batches += [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
        short = [batch for batch in batches if len(batch) < self.batch_size]  # the remainder stays last
        full = [batch for batch in batches if len(batch) == self.batch_size]
        order = torch.randperm(len(full), generator=generator).tolist()
        yield from (row for index in order for row in full[index])
        yield from (row for batch in short for row in batch)
        yield from [len(self.lengths)] * self.blanks


def rows_of_a_step(run: dict[str, Any]) -> int:
    """The effective batch: rows of an optimizer step, however they are shared out."""
    return run["training"]["per_device_train_batch_size"] * run["training"]["gradient_accumulation_steps"]


def rows_seen(lengths: list[int], batch_size: int, seed: int, steps: int) -> set[int]:
    """Indices of the rows that training has shown the model after so many optimizer steps.

    Args: lengths: tokens of each training row; batch_size: rows of an optimizer step; seed: the run's.
    """
    sampler = LengthGroupedSampler(lengths, batch_size, seed)
    epochs, rest = divmod(steps, math.ceil(len(lengths) / batch_size))
    if epochs:
        return set(range(len(lengths)))
    return set(itertools.islice(sampler, rest * batch_size))


def blank_row(row: dict[str, Any], task: str) -> dict[str, Any]:
    """A row without a supervised token, with the first ids of `row`: it adds nothing to a loss, a gradient or a count."""
    ids = row["input_ids"][:2]
    return {"input_ids": ids, "labels": [NO_LOSS] * (len(ids) if task == "causal-lm" else 1)}


def padded_prompts(rows: list[list[int]], pad_id: int, side: str) -> dict[str, torch.Tensor]:
    """Prompts for generation. Shapes (B, T).

    Args: side: where the padding stands. "left" for a decoder, so that all prompts end where the answer begins; "right" for an
    encoder, so that each token keeps the position that it has alone.
    """
    width = max(map(len, rows))

    def padded(values: list[list[int]], fill: int) -> torch.Tensor:
        gaps = [[fill] * (width - len(row)) for row in values]
        pairs = zip(gaps, values, strict=True)
        return torch.tensor([gap + row if side == "left" else row + gap for gap, row in pairs])

    return {"input_ids": padded(rows, pad_id), "attention_mask": padded([[1] * len(row) for row in rows], 0)}


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])
