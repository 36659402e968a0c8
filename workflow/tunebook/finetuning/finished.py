"""What the stages after training begin with: the model as training left it, or untouched, and the test rows."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Protocol

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


class Files(Protocol):
    """Where a finished run's files are, as the command line says it or a `ChosenRun` does."""

    run: Path
    model: Path
    adapter: Path | None


def intact_run(files: Files) -> dict[str, Any]:
    """run.json, with this process made ready to load the model. Raises TunebookError if a file is not as it was published."""
    claim_device(os.environ)
    quiet_libraries()
    use_allowed_cores()
    run = read_run(files.run)
    check_folder(files.model, read_json(files.model / "provenance.json")["digests"])
    if files.adapter is not None:
        check_folder(files.adapter.parent, read_json(files.adapter.parent / "training.json")["digests"])
    return run


def load_run(files: Files) -> tuple[dict[str, Any], torch.nn.Module, Any]:
    """run.json, model and tokenizer. Raises TunebookError if one of them is not as it was published."""
    run = intact_run(files)
    return run, load_finetuned(run, files.model, files.adapter), load_tokenizer(files.model)


def load(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], torch.nn.Module, Any, list[dict[str, Any]], pandas.DataFrame]:
    """The same, then encoded test rows and test rows, as the command line names them."""
    tokens = read_tokens(args.tokens, SPLIT)
    return *load_run(args), tokens, in_blocks(read_split(args.dataset, SPLIT), tokens)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run.json")
    parser.add_argument("--model", type=Path, required=True, help="folder of the fetched model")
    parser.add_argument("--adapter", type=Path, help="what training published; left out, the untouched model is meant")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the experiment's tokens")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
