"""Stage `tokenize`: an experiment's rows -> token ids and labels as an Arrow data set, and their lengths."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas

from tunebook.data.splits import in_blocks, read_split, write_tokens
from tunebook.data.splitting import SPLITS
from tunebook.digests import check_folder, digests_of
from tunebook.errors import TunebookError, printable
from tunebook.finetuning.chat import Refused
from tunebook.finetuning.encoding import encode
from tunebook.finetuning.labels import classes_of
from tunebook.finetuning.positions import positions_of
from tunebook.finetuning.room import Asked, check_room
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.finetuning.tokenizing import check_refused, tokenize_rows
from tunebook.finetuning.viewing import learnt_and_given
from tunebook.records import read_json, read_spec, write_json
from tunebook.storage import folder_in_place


def _tokenizer_digests(model: Path) -> dict[str, str]:
    """The digests of a model's files but for its weights, which tokens do not depend on."""
    digests = read_json(model / "provenance.json")["digests"]
    return {name: digest for name, digest in digests.items() if not name.endswith(".safetensors")}


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
