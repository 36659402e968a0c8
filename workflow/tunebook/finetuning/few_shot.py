"""Few-shot prompting of the untouched model: training rows stand before each test row, and nothing is trained.

An example is written as a training row is: in the chat template where there is one, with the token that ends it. The encoded
rows that come out of here are scored and answered by the same code as the rows without examples, over the same target tokens,
so that the losses of both can be compared. Which examples are drawn matters much, so that several draws are scored.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy
import pandas
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from tunebook.finetuning.batching import Collator, longest_first
from tunebook.finetuning.chat import Refused
from tunebook.finetuning.encoding import NO_LOSS, encode, spec_of
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.positions import positions_of
from tunebook.finetuning.scoring import by_row, score_tokens, supervised_losses

BETWEEN = "\n\n"  # stands after each example that an encoder reads
WHOLE = 10**9  # tokens: nothing is cut
Line = dict[str, Any]  # an encoded row: row, input_ids, labels


class NotRun(Exception):
    """Few-shot prompting makes no sense or finds no room here; the message says why."""


def draw(rows: pandas.DataFrame, count: int, labels: list[str], seed: int) -> list[dict[str, Any]]:
    """`count` training rows, drawn with a seed; where there are labels, of each label in turn."""
    order = numpy.random.default_rng(seed).permutation(len(rows))
    shuffled = rows.iloc[order].reset_index(drop=True)
    if labels:
        turn = shuffled.groupby("label").cumcount()
        place = shuffled["label"].map({name: at for at, name in enumerate(labels)})
        shuffled = shuffled.iloc[numpy.lexsort((place, turn))]
    return shuffled.head(count).to_dict("records")


def with_examples(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[Line],
    rows: list[dict[str, Any]],
    examples: list[dict[str, Any]],
    count: int,
) -> list[Line]:
    """The encoded test rows with the examples before each of them.

    Args: tokens, rows: the test rows, encoded and as text, in the same order; examples: see `draw`;
    count: how many were asked for. Raises NotRun.
    """
    if run["task"] == "sequence-classification":
        raise NotRun("a classification head reads one text and can be given no examples")
    if run["model"]["encoder_decoder"]:
        raise NotRun(
            "the model was put together of two encoders and never learnt to answer, so that it cannot follow examples"
        )
    if len(examples) < count:
        raise NotRun(f"there are only {len(examples)} training rows to draw from")
    if run["task"] == "seq2seq-lm":
        lines = [_read_by_encoder(line, row, examples, tokenizer) for line, row in zip(tokens, rows, strict=True)]
    else:
        spec = spec_of(run) | {"max_length": WHOLE, "max_target_length": WHOLE}
        try:
            before = [token for example in examples for token in encode(example, tokenizer, spec).input_ids]
        except Refused as reason:
            raise NotRun(f"an example cannot be encoded: {reason}") from None
        unlearnt = [NO_LOSS] * len(before)
        lines = [
            line | {"input_ids": [*before, *line["input_ids"]], "labels": [*unlearnt, *line["labels"]]}
            for line in tokens
        ]
    longest = max(len(line["input_ids"]) for line in lines)
    if run["dataset"]["labels"] and run["task"] == "causal-lm":
        longest += run["generation"]["max_new_tokens"]
    room = positions_of(model.config.to_dict()).most
    if room is not None and longest > room:
        raise NotRun(f"with {count} examples the longest row has {longest} tokens, and the model reads {room}")
    return lines


def _read_by_encoder(line: Line, row: dict[str, Any], examples: list[dict[str, Any]], tokenizer: Any) -> Line:
    """An encoder reads the examples as text: prompt and answer on a line each."""
    shown = "".join(f"{example['prompt']}\n{example['completion']}{BETWEEN}" for example in examples)
    return line | {"input_ids": tokenizer(shown + row["prompt"])["input_ids"]}


@torch.no_grad()
def score_after_examples(
    model: torch.nn.Module, rows: list[Line], collate: Collator, batch_size: int
) -> list[list[float]]:
    """As `scoring.score_tokens`; what all rows of a causal model begin with is computed once."""
    shared = _shared_beginning(rows) if collate.task == "causal-lm" else 0
    begun = _cache_of(model, rows[0]["input_ids"][:shared]) if shared else None
    if begun is None:
        return score_tokens(model, rows, collate, batch_size)
    device = next(model.parameters()).device
    scored: list[list[float]] = [[] for _ in rows]
    ends = [{name: row[name][shared:] for name in ("input_ids", "labels")} for row in rows]

    def losses_of(indices: list[int]) -> list[list[float]]:
        batch = {name: tensor.to(device) for name, tensor in collate([ends[index] for index in indices]).items()}
        mask = batch.pop("attention_mask")  # (B, T)
        cache = copy.deepcopy(begun)
        cache.batch_repeat_interleave(len(indices))
        mask = torch.cat([mask.new_ones(len(indices), shared), mask], dim=1)  # (B, P + T)
        batch |= {"attention_mask": mask, "past_key_values": cache}
        return by_row(*supervised_losses(model, batch, collate.task), len(indices))

    for indices, found in in_batches(longest_first([len(end["input_ids"]) for end in ends]), batch_size, losses_of):
        for index, each in zip(indices, found, strict=True):
            scored[index] = each
    return scored


def _cache_of(model: torch.nn.Module, ids: list[int]) -> DynamicCache | None:
    """Keys and values of a beginning; None of a model that keeps anything else, as a state-space model does."""
    begin = torch.tensor([ids], device=next(model.parameters()).device)  # (1, P)
    begun = getattr(model(input_ids=begin, use_cache=True), "past_key_values", None)
    kinds = {type(layer) for layer in begun.layers} if isinstance(begun, DynamicCache) else {None}
    return begun if kinds <= {DynamicLayer, DynamicSlidingWindowLayer} else None


def _shared_beginning(rows: list[Line]) -> int:
    """Number of tokens that all rows begin with and none of them learns, less one: the last one predicts a learnt token."""
    first, *others = (row["input_ids"] for row in rows)
    unlearnt = min(next(at for at, label in enumerate(row["labels"]) if label != NO_LOSS) for row in rows)
    most = min(unlearnt, *map(len, (first, *others))) - 1
    return next((at for at in range(most) if any(ids[at] != first[at] for ids in others)), max(most, 0))
