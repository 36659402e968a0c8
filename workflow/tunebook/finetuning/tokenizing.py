"""Rows as token ids and labels, their lengths, and the rows that a model cannot take. Light: no torch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy
import pandas

from tunebook.data.rows import continues
from tunebook.errors import TunebookError
from tunebook.finetuning.chat import Refused
from tunebook.finetuning.encoding import Encoded, encode, encode_blocks

HISTOGRAM_BINS = 20
SHOWN_REASONS = 5
Refusals = dict[str, list[str]]  # reason -> ids of rows


def tokenize_rows(
    rows: pandas.DataFrame, tokenizer: Any, spec: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any], Refusals]:
    """Token ids and labels of one split's rows, the split's figures for lengths.json, and what was refused.

    Rows whose supervised tokens were all cut off cannot be learnt or scored; they are left out and counted.
    """
    encoded, refused = [], {}
    for row in rows.to_dict("records"):
        try:
            encoded += _lines(row, tokenizer, spec)
        except Refused as reason:
            refused.setdefault(str(reason), []).append(row["row"])
    usable = [(line, example) for line, example in encoded if example.supervised]
    if encoded and not usable:
        raise TunebookError(f"max_length {spec['max_length']} cuts off everything that is to be learnt; raise it")
    lines = [line | {"input_ids": example.input_ids, "labels": example.labels} for line, example in usable]
    if not lines:
        return [], {}, refused
    return lines, _lengths([example for _, example in usable], len(encoded) - len(usable), refused), refused


def _lines(row: dict[str, Any], tokenizer: Any, spec: dict[str, Any]) -> list[tuple[dict[str, Any], Encoded]]:
    """A row's lines: one, or of a long text one a block, with the row that it is from and its text."""
    if spec["long_texts"] == "cut" or not continues(row, spec["task"]):
        return [({"row": row["row"]}, encode(row, tokenizer, spec))]
    return [
        (
            {
                "row": f"{row['row']}#{number}",
                "document": row["row"],
                "text": tokenizer.decode(block.input_ids, skip_special_tokens=True),
            },
            block,
        )
        for number, block in enumerate(encode_blocks(row, tokenizer, spec), start=1)
    ]


def _lengths(examples: list[Encoded], dropped: int, refused: Refusals) -> dict[str, Any]:
    tokens = numpy.array([len(example.input_ids) for example in examples])
    counts, edges = numpy.histogram(tokens, bins=min(HISTOGRAM_BINS, max(1, int(tokens.max()))))
    return {
        "rows": len(examples),
        "dropped": dropped,
        "refused": {reason: len(rows) for reason, rows in refused.items()},
        "tokens": int(tokens.sum()),
        "supervised_tokens": sum(example.supervised for example in examples),
        "min": int(tokens.min()),
        "median": float(numpy.median(tokens)),
        "p95": float(numpy.quantile(tokens, 0.95)),
        "max": int(tokens.max()),
        "truncated": sum(example.truncated for example in examples),
        "histogram": {"edges": [round(float(edge), 2) for edge in edges], "counts": [int(count) for count in counts]},
    }


def check_refused(spec: dict[str, Any], rows: int, refused: list[Refusals]) -> None:
    """No more rows are refused than the data set tolerates. `rows`: of all splits; `refused`: of each."""
    reasons = Counter(reason for split in refused for reason, ids in split.items() for _ in ids)
    count = sum(reasons.values())
    if count <= spec["tolerance"] * rows:
        return
    first = {reason: ids[0] for split in reversed(refused) for reason, ids in split.items()}
    listed = [
        f"\n  - {number} rows, first {first[reason]}: {reason}" for reason, number in reasons.most_common(SHOWN_REASONS)
    ]
    tolerable = f", or declare a tolerance of at least {count / rows:.4f}" if count < rows else ""
    raise TunebookError(
        f"experiment {spec['name']}: {count} of {rows} rows cannot be encoded for this model, and the data set's tolerance "
        f"{spec['tolerance']} allows {int(spec['tolerance'] * rows)}; follow the advice below{tolerable}{''.join(listed)}"
    )
