"""Packing: rows of a micro-batch side by side in one line, each with positions of its own, so that little is padded.

Only architectures whose attention keeps the rows of a line apart are packed: transformers makes a block mask where positions
start again, but not every model passes its positions on. tests/test_packing.py shows for each architecture named here that no
row sees another, and that OPT and Falcon would leak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tunebook.finetuning.batching import Collator
from tunebook.finetuning.encoding import NO_LOSS

# config.model_type of models that keep packed rows apart
PACKABLE = frozenset(
    {
        "cohere", "gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "mixtral", "olmo2", "phi", "phi3", "qwen2",
        "qwen3", "qwen3_moe", "smollm3", "stablelm",
    }
)  # fmt: skip
ATTENTION = ("eager", "sdpa")  # implementations that the tests have shown this for


@dataclass(frozen=True)
class Work:
    """Floating point operations of a model's forward pass: a `token`, and a `pair` of tokens of one line (attention)."""

    token: int
    pair: int

    def of(self, lines: int, width: int) -> int:
        """Operations of a batch of so many lines and tokens a line."""
        return lines * width * (self.token + self.pair * width)


@dataclass(frozen=True)
class PackingCollator:
    """Lays a list of rows (causal-lm) out in lines of equal width: as many lines as cost the least work.

    Returns input_ids, position_ids and labels, each (L, W), and `counted` (L, W): which tokens are a row's, and not filling.
    A row's first token is learnt from nothing, whatever stands before it. There is no attention mask: with one, transformers
    takes a line for a single row.
    """

    pad_id: int
    work: Work

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        lines = self.lines([len(row["input_ids"]) for row in rows])
        width = max(sum(len(rows[index]["input_ids"]) for index in line) for line in lines)
        columns: dict[str, list[list[int]]] = {"input_ids": [], "position_ids": [], "labels": [], "counted": []}
        for line in lines:
            parts = [_part(rows[index]) for index in line]
            filling = width - sum(len(part["input_ids"]) for part in parts)
            parts.append(_filling(self.pad_id, filling))
            for name, column in columns.items():
                column.append([value for part in parts for value in part[name]])
        return {name: torch.tensor(column) for name, column in columns.items()}

    def lines(self, lengths: list[int]) -> list[list[int]]:
        """Indices of the rows of each line, for the number of lines that costs the least work."""
        layouts = [_laid_out(lengths, count) for count in range(1, len(lengths) + 1)]
        widths = [max(sum(lengths[index] for index in line) for line in layout) for layout in layouts]
        costs = [self.work.of(len(layout), width) for layout, width in zip(layouts, widths, strict=True)]
        return layouts[costs.index(min(costs))]


def _laid_out(lengths: list[int], count: int) -> list[list[int]]:
    """Rows in `count` lines, the longest first, each where there is most room (LPT: Graham 1969)."""
    lines: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        line = filled.index(min(filled))
        lines[line].append(index)
        filled[line] += lengths[index]
    return lines


def _part(row: dict[str, Any]) -> dict[str, list[int]]:
    ids, labels = row["input_ids"], [NO_LOSS, *row["labels"][1:]]
    real = any(label != NO_LOSS for label in labels)  # a blank row is not
    return {
        "input_ids": ids,
        "position_ids": list(range(len(ids))),
        "labels": labels,
        "counted": [int(real)] * len(ids),
    }


def _filling(pad_id: int, count: int) -> dict[str, list[int]]:
    """What fills a line up: like a row of its own, without a label."""
    return {
        "input_ids": [pad_id] * count,
        "position_ids": list(range(count)),
        "labels": [NO_LOSS] * count,
        "counted": [0] * count,
    }


def training_collator(model: torch.nn.Module, collate: Collator, packing: str) -> Collator | PackingCollator:
    """What lays out the rows of training: `collate`, which pads, or one that packs. `packing`: auto or never."""
    if packing == "never" or not can_pack(model, collate.task):
        return collate
    return PackingCollator(collate.pad_id, work_of(model))


def can_pack(model: torch.nn.Module, task: str) -> bool:
    """Whether rows of one line stay apart in this model, with its adapter."""
    config = model.config
    adapters = getattr(model, "peft_config", {}).values()
    return (
        task == "causal-lm"
        and config.model_type in PACKABLE
        and config._attn_implementation in ATTENTION
        and not any(adapter.is_prompt_learning for adapter in adapters)  # its tokens stand once before the line
    )


def work_of(model: torch.nn.Module) -> Work:
    """Work of a model's layers: two operations a weight and token (Kaplan et al. 2020, section 2.1), and for each layer and
    pair of tokens twice two an attention width: scores, and the sum over values."""
    config = model.config
    matrices = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    weights = sum(module.in_features * module.out_features for module in matrices)
    width = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    ) * config.num_attention_heads
    return Work(token=2 * weights, pair=4 * config.num_hidden_layers * width)
