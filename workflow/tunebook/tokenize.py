"""Stage `tokenize`: an experiment's rows -> token ids and labels as an Arrow data set, and their lengths."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pandas

from tunebook.data.rows import continues
from tunebook.data.splits import in_blocks, read_split, write_tokens
from tunebook.data.splitting import SPLITS
from tunebook.digests import check_folder, digests_of
from tunebook.errors import TunebookError, printable
from tunebook.finetuning.chat import Refused
from tunebook.finetuning.encoding import Encoded, encode, encode_blocks
from tunebook.finetuning.labels import classes_of
from tunebook.finetuning.positions import positions_of
from tunebook.finetuning.room import Asked, check_room
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.finetuning.viewing import learnt_and_given
from tunebook.records import read_json, read_spec, write_json
from tunebook.storage import folder_in_place

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


def _tokenizer_digests(model: Path) -> dict[str, str]:
    """The digests of a model's files but for its weights, which tokens do not depend on."""
    digests = read_json(model / "provenance.json")["digests"]
    return {name: digest for name, digest in digests.items() if not name.endswith(".safetensors")}


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


def show(rows: pandas.DataFrame, tokenizer: Any, spec: dict[str, Any]) -> None:
    """Print rows as they are encoded: what is learnt stands in brackets."""
    for row in rows.to_dict("records"):
        try:
            told = learnt_and_given(encode(row, tokenizer, spec), tokenizer, spec["task"])
        except Refused as reason:
            told = f"refused: {reason}"
        print(printable(f"--- {row['row']}\n{told}"), flush=True)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the fetched model")
    parser.add_argument("--output", type=Path, help="folder for the tokens and lengths.json")
    parser.add_argument(
        "--show",
        type=int,
        metavar="N",
        help="print the first N training rows, learnt tokens in brackets; write nothing",
    )


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "tokenize", args.experiment)
    check_folder(args.model, _tokenizer_digests(args.model))
    spec["labels"] = classes_of(read_json(args.model / "config.json"), spec["labels"]).labels  # in the head's own order
    tokenizer = load_tokenizer(args.model)
    if args.show is not None:
        show(read_split(args.dataset, "train").head(args.show), tokenizer, spec)
        return
    if args.output is None:
        raise TunebookError("--output is missing; name the folder for the tokens, or ask for --show N")
    rows = {split: read_split(args.dataset, split) for split in SPLITS}
    tokenized = {split: tokenize_rows(rows[split], tokenizer, spec) for split in SPLITS}
    check_refused(spec, sum(map(len, rows.values())), [refused for _, _, refused in tokenized.values()])
    lines = {split: found for split, (found, _, _) in tokenized.items()}
    if empty := [split for split in SPLITS if not lines[split]]:
        raise TunebookError(f"experiment {spec['name']}: no row of {' and '.join(empty)} is left; all were refused")
    from transformers import AutoConfig  # its import takes a second

    config = AutoConfig.from_pretrained(args.model, local_files_only=True).to_dict()
    asked = Asked.of(read_json(args.study), args.experiment)
    notes = check_room(config, spec, asked, tokenizer, lines, in_blocks(rows["test"], lines["test"]))
    lengths: dict[str, Any] = {"max_length": spec["max_length"], "template_date": spec["template_date"]}
    lengths["positions"] = vars(positions_of(config))
    with folder_in_place(args.output) as folder:
        for split in SPLITS:
            write_tokens(folder / split, lines[split])
            lengths[split] = tokenized[split][1]
        write_json(folder / "lengths.json", lengths | {"digests": digests_of(folder)})
    train = lengths["train"]
    cut = f"{train['truncated']} cut to {spec['max_length']}"
    refused = sum(sum(lengths[split]["refused"].values()) for split in SPLITS)
    notes += [f"{refused} rows cannot be encoded for this model, and are left out"] if refused else []
    print(f"{args.experiment}: {train['rows']} training rows, {train['tokens']} tokens, {cut}")
    for note in notes:
        print(f"{args.experiment}: {note}")
