"""What the stages after training begin with: the model as training left it, or untouched, and the test rows."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pandas
import torch

from tunebook.data.splits import in_blocks, read_split, read_tokens
from tunebook.digests import check_folder
from tunebook.finetuning.devices import claim_device
from tunebook.finetuning.models import load_finetuned, quiet_libraries, use_allowed_cores
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json
from tunebook.runs import read_run

SPLIT = "test"


def load(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], torch.nn.Module, Any, list[dict[str, Any]], pandas.DataFrame]:
    """run.json, model, tokenizer, encoded test rows and test rows, as the command line names them.

    Raises TunebookError if one of them is not as it was published.
    """
    claim_device(os.environ)
    quiet_libraries()
    use_allowed_cores()
    run = read_run(args.run)
    check_folder(args.model, read_json(args.model / "provenance.json")["digests"])
    if args.adapter is not None:
        check_folder(args.adapter.parent, read_json(args.adapter.parent / "training.json")["digests"])
    model = load_finetuned(run, args.model, args.adapter)
    tokens = read_tokens(args.tokens, SPLIT)
    return run, model, load_tokenizer(args.model), tokens, in_blocks(read_split(args.dataset, SPLIT), tokens)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run.json")
    parser.add_argument("--model", type=Path, required=True, help="folder of the fetched model")
    parser.add_argument("--adapter", type=Path, help="what training published; left out, the untouched model is meant")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the experiment's tokens")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
