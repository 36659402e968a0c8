"""Stage `tokenize`: an experiment's rows -> token ids and labels as an Arrow data set, and their lengths."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy
import pandas

from tunebook.data.splits import read_split, write_tokens
from tunebook.data.splitting import SPLITS
from tunebook.digests import check_folder, digests_of
from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import Encoded, encode
from tunebook.finetuning.labels import classes_of
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json, read_spec, write_json
from tunebook.storage import folder_in_place

HISTOGRAM_BINS = 20


def tokenize_rows(
    rows: pandas.DataFrame, tokenizer: Any, spec: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Token ids and labels of one split's rows, and the split's figures for lengths.json.

    Rows whose supervised tokens were all cut off cannot be learnt or scored; they are left out and counted.
    """
    encoded = [(row["row"], encode(row, tokenizer, spec)) for row in rows.to_dict("records")]
    usable = [(row, example) for row, example in encoded if example.supervised]
    if not usable:
        raise TunebookError(f"max_length {spec['max_length']} cuts off everything that is to be learnt; raise it")
    lines = [{"row": row, "input_ids": example.input_ids, "labels": example.labels} for row, example in usable]
    return lines, _lengths([example for _, example in usable], dropped=len(encoded) - len(usable))


def _lengths(examples: list[Encoded], dropped: int) -> dict[str, Any]:
    tokens = numpy.array([len(example.input_ids) for example in examples])
    counts, edges = numpy.histogram(tokens, bins=min(HISTOGRAM_BINS, max(1, int(tokens.max()))))
    return {
        "rows": len(examples),
        "dropped": dropped,
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


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the fetched model")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tokens and lengths.json")


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "tokenize", args.experiment)
    check_folder(args.model, _tokenizer_digests(args.model))
    spec["labels"] = classes_of(read_json(args.model / "config.json"), spec["labels"]).labels  # in the head's own order
    tokenizer = load_tokenizer(args.model)
    lengths: dict[str, Any] = {"max_length": spec["max_length"]}
    with folder_in_place(args.output) as folder:
        for split in SPLITS:
            lines, lengths[split] = tokenize_rows(read_split(args.dataset, split), tokenizer, spec)
            write_tokens(folder / split, lines)
        write_json(folder / "lengths.json", lengths | {"digests": digests_of(folder)})
    train = lengths["train"]
    print(
        f"{args.experiment}: {train['rows']} training rows, {train['tokens']} tokens, {train['truncated']} cut to {spec['max_length']}"
    )
