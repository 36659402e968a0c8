"""Few-shot prompting of the untouched model: training rows stand before each test row, and nothing is trained.

The encoded rows that come out of here are scored and answered by the same code as the rows without examples, over the same
target tokens, so that the losses of both can be compared.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy
import pandas
import torch

from tunebook.data.rows import after_system, continues, messages_of
from tunebook.finetuning.batching import Collator, longest_first
from tunebook.finetuning.chat import Refused
from tunebook.finetuning.encoding import NO_LOSS, encode, spec_of
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.positions import positions_of
from tunebook.finetuning.scoring import score, token_losses

SEED = 0
BETWEEN = "\n\n"  # stands after each example that no chat template sets apart
WHOLE = 10**9  # tokens: nothing is cut
Line = dict[str, Any]  # an encoded row: row, input_ids, labels


class NotRun(Exception):
    """Few-shot prompting makes no sense or finds no room here; the message says why."""


def draw(rows: pandas.DataFrame, count: int, labels: list[str]) -> list[dict[str, Any]]:
    """`count` training rows, drawn with a fixed seed; where there are labels, of each label in turn."""
    order = numpy.random.default_rng(SEED).permutation(len(rows))
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
) -> list[Line]:
    """The encoded test rows with the examples before each of them.

    Args: tokens, rows: the test rows, encoded and as text, in the same order; examples: see `draw`. Raises NotRun.
    """
    if run["task"] == "sequence-classification":
        raise NotRun("a classification head reads one text and can be given no examples")
    if run["model"]["encoder_decoder"]:
        raise NotRun(
            "the model was put together of two encoders and never learnt to answer, so that it cannot follow examples"
        )
    if len(examples) < run["few_shot"]:
        raise NotRun(f"there are only {len(examples)} training rows to draw from")
    spec = spec_of(run) | {"max_length": WHOLE, "max_target_length": WHOLE}
    build = _read_by_encoder if run["task"] == "seq2seq-lm" else _text if continues(rows[0], run["task"]) else _turns
    try:
        lines = [build(line, row, examples, tokenizer, spec) for line, row in zip(tokens, rows, strict=True)]
    except Refused as reason:
        raise NotRun(f"with examples before a row, {reason}") from None
    longest = max(len(line["input_ids"]) for line in lines)
    if run["dataset"]["labels"] and run["task"] == "causal-lm":
        longest += run["generation"]["max_new_tokens"]
    room = positions_of(model.config.to_dict()).most
    if room is not None and longest > room:
        raise NotRun(f"with {len(examples)} examples the longest row has {longest} tokens, and the model reads {room}")
    return lines


def _read_by_encoder(line: Line, row: dict, examples: list[dict], tokenizer: Any, spec: dict) -> Line:
    shown = "".join(f"{example['prompt']}\n{example['completion']}{BETWEEN}" for example in examples)
    return line | {"input_ids": tokenizer(shown + row["prompt"])["input_ids"]}


def _text(line: Line, row: dict, examples: list[dict], tokenizer: Any, spec: dict) -> Line:
    """Texts without prompts, one after the other. A token that begins every text begins this one only."""
    before = tokenizer("".join(example["text"] + BETWEEN for example in examples))["input_ids"]
    special = set(tokenizer.all_special_ids)
    first = next(place for place, token in enumerate(line["input_ids"]) if token not in special)
    labels = [NO_LOSS] * len(before) + line["labels"][first:]
    return line | {"input_ids": [*before, *line["input_ids"][first:]], "labels": labels}


def _turns(line: Line, row: dict, examples: list[dict], tokenizer: Any, spec: dict) -> Line:
    """Prompts and answers, or conversations, as the earlier turns of one conversation; only the row's own are learnt."""
    earlier = [message for example in examples for message in messages_of(example) if message.role != "system"]
    own = encode(row, tokenizer, spec).supervised  # tokens, uncut
    talk = [message.stored() for message in after_system(messages_of(row), earlier)]
    whole = encode(row | {"prompt": None, "completion": None, "messages": talk}, tokenizer, spec)
    places = [place for place, label in enumerate(whole.labels) if label != NO_LOSS][-own:]
    kept = places[: sum(label != NO_LOSS for label in line["labels"])]  # a row that is cut without examples is cut here
    ids = whole.input_ids[: kept[-1] + 1]
    labels = [NO_LOSS] * len(ids)
    for place in kept:
        labels[place] = ids[place]
    return line | {"input_ids": ids, "labels": labels}


@torch.no_grad()
def score_after_examples(
    model: torch.nn.Module, rows: list[Line], collate: Collator, batch_size: int
) -> list[tuple[float, int]]:
    """As `scoring.score`; what all rows of a causal model begin with is computed once."""
    shared = _shared_beginning(rows) if collate.task == "causal-lm" else 0
    if shared < 1:
        return score(model, rows, collate, batch_size)
    device = next(model.parameters()).device
    begin = torch.tensor([rows[0]["input_ids"][:shared]], device=device)  # (1, P)
    begun = model(input_ids=begin, use_cache=True).past_key_values
    scored: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    ends = [{name: row[name][shared:] for name in ("input_ids", "labels")} for row in rows]

    def scores(indices: list[int]) -> list[tuple[float, int]]:
        batch = {name: tensor.to(device) for name, tensor in collate([ends[index] for index in indices]).items()}
        labels, mask = batch.pop("labels"), batch.pop("attention_mask")  # (B, T)
        cache = copy.deepcopy(begun)
        cache.batch_repeat_interleave(len(indices))
        mask = torch.cat([mask.new_ones(len(indices), shared), mask], dim=1)  # (B, P + T)
        logits = model(**batch, attention_mask=mask, past_key_values=cache).logits
        losses = token_losses(logits, labels, collate.task).double().sum(dim=1)
        counts = (labels != NO_LOSS).sum(dim=1)
        return list(zip(losses.tolist(), counts.tolist(), strict=True))

    for indices, found in in_batches(longest_first([len(end["input_ids"]) for end in ends]), batch_size, scores):
        for index, each in zip(indices, found, strict=True):
            scored[index] = each
    return scored


def _shared_beginning(rows: list[Line]) -> int:
    """Number of tokens that all rows begin with and none of them learns, less one: the last one predicts a learnt token."""
    first, *others = (row["input_ids"] for row in rows)
    unlearnt = min(next(at for at, label in enumerate(row["labels"]) if label != NO_LOSS) for row in rows)
    most = min(unlearnt, *map(len, (first, *others))) - 1
    return next((at for at in range(most) if any(ids[at] != first[at] for ids in others)), max(most, 0))
