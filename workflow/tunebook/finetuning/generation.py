"""Answers: greedy decoding, prompts in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tunebook.finetuning.batching import left_padded, longest_first
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.tokenizers import end_id, end_ids


@dataclass(frozen=True)
class Answer:
    """`text` without special tokens, its number of new tokens, and whether the model ended it by itself."""

    text: str
    tokens: int
    stopped: bool


@torch.no_grad()
def answer(
    model: torch.nn.Module, prompts: list[list[int]], tokenizer: Any, *, max_new_tokens: int, batch_size: int
) -> list[Answer]:
    """One answer a prompt (token ids), in the order given. Greedy: the likeliest token at each place, no sampling.
    Batches are halved where memory runs out."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end_id(tokenizer)
    ends = _ends(model, tokenizer)
    answers: list[Answer | None] = [None] * len(prompts)
    device = next(model.parameters()).device
    model.config.use_cache = True

    def answers_to(indices: list[int]) -> list[list[int]]:
        batch = left_padded([prompts[index] for index in indices], pad)
        output = model.generate(
            **{name: tensor.to(device) for name, tensor in batch.items()},
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=pad,
            eos_token_id=ends,
        )
        skip = (
            1 if model.config.is_encoder_decoder else batch["input_ids"].shape[1]
        )  # the decoder's start, or the prompt
        return output[:, skip:].tolist()

    for indices, found in in_batches(longest_first([len(prompt) for prompt in prompts]), batch_size, answers_to):
        for index, new in zip(indices, found, strict=True):
            answers[index] = _finished(new, ends, tokenizer)
    return answers


def _ends(model: torch.nn.Module, tokenizer: Any) -> list[int]:
    """Ids that end an answer: those that were learnt, and those that the model came with."""
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [own] if own is not None else []
    return sorted({*end_ids(tokenizer), *own})


def _finished(new: list[int], ends: list[int], tokenizer: Any) -> Answer:
    at = next((place for place, token in enumerate(new) if token in ends), None)
    kept = new if at is None else new[:at]
    return Answer(tokenizer.decode(kept, skip_special_tokens=True), len(kept), at is not None)
