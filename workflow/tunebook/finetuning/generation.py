"""Answers: greedy decoding, prompts in batches.

A model may come with a generation_config that changes what is decoded: beams, a shortest length, penalties, forced or
suppressed tokens. None of it applies here: every model answers with the likeliest token at each place, until it ends or the
limit is reached. Kept are only the ids that say how the model's sequences begin and end. `decoding_of` tells both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import torch
from transformers import GenerationConfig

from tunebook.finetuning.batching import longest_first, padded_prompts
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.tokenizers import end_id, end_ids

NOT_DECODING = (
    "transformers_version",
    "use_cache",
    "bos_token_id",
    "decoder_start_token_id",
    "pad_token_id",
    "eos_token_id",
)


@dataclass(frozen=True)
class Answer:
    """`text` without special tokens, its number of new tokens, and whether the model ended it by itself."""

    text: str
    tokens: int
    stopped: bool


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded. Keys are those of transformers' GenerationConfig.

    `in_force`: the settings that were used; `set_aside`: those of the model's own generation_config that were not.
    """

    in_force: dict[str, Any]
    set_aside: dict[str, Any]


def decoding_of(model: torch.nn.Module, tokenizer: Any, max_new_tokens: int) -> Decoding:
    """The settings with which `answer` decodes."""
    own = model.generation_config.to_dict()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end_id(tokenizer)
    in_force = {
        "max_new_tokens": max_new_tokens,
        "do_sample": False,
        "num_beams": 1,
        "pad_token_id": pad,
        "eos_token_id": _ends(model, tokenizer),
    }
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id  # the one that training uses
        in_force["decoder_start_token_id"] = own.get("decoder_start_token_id") if start is None else start
    if [pad] in (own.get("bad_words_ids") or []):
        in_force["suppress_tokens"] = [pad]  # MarianMT gives padding a score of its own; it is no part of an answer
    neutral = GenerationConfig().to_dict() | GenerationConfig._get_default_generation_params()
    known = {key: value for key, value in own.items() if key in neutral and key not in NOT_DECODING and key[0] != "_"}
    changed = {key: value for key, value in known.items() if value is not False and value not in (None, neutral[key])}
    return Decoding(in_force, {key: value for key, value in changed.items() if in_force.get(key) != value})


@torch.no_grad()
def answer(
    model: torch.nn.Module, prompts: list[list[int]], tokenizer: Any, *, max_new_tokens: int, batch_size: int
) -> list[Answer]:
    """One answer a prompt (token ids), in the order given. Greedy: the likeliest token at each place, no sampling.
    Batches are halved where memory runs out."""
    settings = decoding_of(model, tokenizer, max_new_tokens).in_force
    answers: list[Answer | None] = [None] * len(prompts)
    device = next(model.parameters()).device
    encoder = model.config.is_encoder_decoder

    def answers_to(indices: list[int]) -> list[list[int]]:
        side = "right" if encoder else "left"
        batch = padded_prompts([prompts[index] for index in indices], settings["pad_token_id"], side)
        output = model.generate(**{name: tensor.to(device) for name, tensor in batch.items()})
        skip = 1 if encoder else batch["input_ids"].shape[1]  # the decoder's start, or the prompt
        return output[:, skip:].tolist()

    order = longest_first([len(prompt) for prompt in prompts])
    groups = [order]
    if not encoder and _has_trained_prompt(model):
        groups = [list(group) for _, group in groupby(order, key=lambda index: len(prompts[index]))]
    with own_generation_config(model, GenerationConfig(**settings, use_cache=True)):
        for indices, found in chain.from_iterable(in_batches(group, batch_size, answers_to) for group in groups):
            for index, new in zip(indices, found, strict=True):
                answers[index] = finished_answer(new, settings["eos_token_id"], tokenizer)
    return answers


def _has_trained_prompt(model: torch.nn.Module) -> bool:
    """Whether an adapter puts trained vectors before the prompt. Padding would stand between the two and count as positions, so
    that an answer depended on the prompts beside it."""
    return any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())


@contextmanager
def own_generation_config(model: torch.nn.Module, config: GenerationConfig) -> Iterator[None]:
    """Let `generate` read this config alone: it fills what is None in a config that it is given from the model's own."""
    holder = (
        model.get_base_model() if hasattr(model, "get_base_model") else model
    )  # peft's generate reads the base model's
    own, holder.generation_config = holder.generation_config, config
    try:
        yield
    finally:
        holder.generation_config = own


def _ends(model: torch.nn.Module, tokenizer: Any) -> list[int]:
    """Ids that end an answer: those that were learnt, and those that the model came with."""
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [own] if own is not None else []
    return sorted({*end_ids(tokenizer), *own})


def finished_answer(new: list[int], ends: list[int], tokenizer: Any) -> Answer:
    at = next((place for place, token in enumerate(new) if token in ends), None)
    kept = new if at is None else new[:at]
    return Answer(tokenizer.decode(kept, skip_special_tokens=True), len(kept), at is not None)
