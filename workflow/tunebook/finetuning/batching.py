"""Batches: encoded rows of different lengths -> padded tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import MODEL_FOR_MASKED_LM_MAPPING

from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import NO_LOSS


@dataclass(frozen=True)
class Collator:
    """Pads a list of rows to the longest of them.

    Returns input_ids, attention_mask and labels, each (B, T); for seq2seq-lm labels and decoder_input_ids are (B, U); for
    sequence-classification labels are (B,). The decoder's input is the target moved one place to the right, made here and
    not in the model, so that the loss can be ours and the same for every architecture (see scoring).

    `left`: whether input_ids are padded on the left; `class_token_id`: the id at which an encoder-decoder reads the class.
    """

    task: str
    pad_id: int
    decoder_start_id: int | None = None
    left: bool = False
    class_token_id: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [row["input_ids"] for row in rows]
        if self.class_token_id is not None:
            self._require_class_token(ids)
        batch = {
            "input_ids": _padded(ids, self.pad_id, left=self.left),  # (B, T)
            "attention_mask": _padded([[1] * len(row) for row in ids], 0, left=self.left),  # (B, T)
        }
        if self.task == "sequence-classification":
            return batch | {"labels": torch.tensor([row["labels"][0] for row in rows])}  # (B,)
        batch["labels"] = _padded([row["labels"] for row in rows], NO_LOSS)  # (B, T) or (B, U)
        if self.task == "seq2seq-lm":
            shifted = [[self.decoder_start_id, *row["labels"][:-1]] for row in rows]
            batch["decoder_input_ids"] = _padded(shifted, self.pad_id)  # (B, U)
        return batch

    def _require_class_token(self, ids: list[list[int]]) -> None:
        for row in ids:
            if row.count(self.class_token_id) != 1:
                raise TunebookError(
                    f"found a row with {row.count(self.class_token_id)} end tokens (id {self.class_token_id}); an "
                    "encoder-decoder reads the class at its end token, so that each row needs one at its end: take a "
                    "tokenizer that ends each text with it, and texts that do not hold it"
                )


def collator_for(task: str, tokenizer: Any, model: Any) -> Collator:
    """The collator of a task.

    A decoder that classifies finds the last token of a row by `config.pad_token_id`, which becomes the id that fills up
    here. An encoder keeps its own, from which RoBERTa counts positions. Raises TunebookError where a decoder has no token to
    start from, or a classifier cannot be padded.
    """
    config, classifies = model.config, task == "sequence-classification"
    if not classifies:
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        return Collator(task, pad_id, decoder_start_id=_decoder_start(model) if task == "seq2seq-lm" else None)
    pad_id = _filler(tokenizer)
    bidirectional = config.is_encoder_decoder or type(config) in MODEL_FOR_MASKED_LM_MAPPING
    if config.pad_token_id is None or not bidirectional:
        for each in (config, config.get_text_config()):
            each.pad_token_id = pad_id
    if not config.is_encoder_decoder:
        return Collator(task, pad_id, left=_reads_last_place(model))
    config.decoder_start_token_id = _decoder_start(model)
    return Collator(task, pad_id, class_token_id=config.eos_token_id)


def _decoder_start(model: Any) -> int:
    """The token that a decoder starts from: the config's, else the generation_config's, else, as `generate` has it, the token
    that begins a text."""
    config, generation = model.config, getattr(model, "generation_config", None)
    keys = ((config, "decoder_start_token_id"), (generation, "decoder_start_token_id"), (config, "bos_token_id"))
    told = (getattr(holder, key, None) for holder, key in keys)  # a config of two models has none of its own
    start = next((token for token in told if token is not None), None)
    if start is None:
        raise TunebookError(
            f"found neither decoder_start_token_id nor bos_token_id in the config.json of this {config.model_type} model; its "
            "decoder needs a token to start from: set decoder_start_token_id there (T5: its pad token, BART: its eos token)"
        )
    return start


def _filler(tokenizer: Any) -> int:
    """The id that fills up a classifier's rows: the padding token; without one a special token that ends no text, for a
    decoder takes the last token of another id for the last of a row."""
    end = tokenizer("a")["input_ids"][-1:]
    special = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
    found = next((token for token in special if token is not None and [token] != end), None)
    if found is None:
        raise TunebookError(
            "the tokenizer has no padding token, and no other special token that ends no text; give it one (pad_token in "
            "tokenizer_config.json)"
        )
    return found


def _reads_last_place(model: Any) -> bool:
    """Whether a classifier reads the class at the last place of a batch, as XLNet does, be there a token or padding."""
    kinds = {module.summary_type for module in model.modules() if hasattr(module, "summary_type")}
    if "mean" in kinds:
        raise TunebookError(
            f"found summary_type mean in the config.json of this {model.config.model_type} model: a mean over all places takes "
            "in padding, so that a row's class depends on its batch; set summary_type to last or first"
        )
    return bool(kinds & {"last", "cls_index"})


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
    """A row without a supervised token, with the first and the last id of `row`: it adds nothing to a loss, a gradient or a count."""
    ids = [row["input_ids"][0], row["input_ids"][-1]]  # the end among them, where a classifier looks for it
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


def _padded(rows: list[list[int]], fill: int, *, left: bool = False) -> torch.Tensor:
    width = max(map(len, rows))
    blanks = ([fill] * (width - len(row)) for row in rows)
    return torch.tensor([[*blank, *row] if left else [*row, *blank] for row, blank in zip(rows, blanks, strict=True)])
