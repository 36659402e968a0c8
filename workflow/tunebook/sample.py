"""Stage `sample`: what one run answers to the experiment's prompts and to held-out rows -> samples.json."""

from __future__ import annotations

import argparse
from typing import Any

import pandas
import torch

from tunebook.data.heldout import heldout_rows
from tunebook.data.rows import continues, halves, question, reference
from tunebook.finetuning import finished
from tunebook.finetuning.encoding import prompt_ids, prompt_of, spec_of
from tunebook.finetuning.generation import answer
from tunebook.records import write_json


def sample(
    run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, tokens: list[dict[str, Any]], rows: pandas.DataFrame
) -> list[dict[str, Any]]:
    """The content of samples.json. The same held-out rows for every run: the first of the test split, of each label,
    no question twice."""
    questions = [_from_config(run, tokenizer, prompt) for prompt in run["prompts"]]
    encoded = {line["row"]: line for line in tokens}
    for source, chosen in heldout_rows(run, rows, set(encoded)).items():
        questions += [_from_row(run, tokenizer, encoded[row["row"]], row, source) for row in chosen]
    if not questions:
        return []
    options = {key: run["generation"][key] for key in ("max_new_tokens", "batch_size")}
    answers = answer(model, [ids for ids, _ in questions], tokenizer, **options)
    return [
        {**question, "completion": given.text, "tokens": given.tokens, "stopped": given.stopped}
        for (_, question), given in zip(questions, answers, strict=True)
    ]


def _from_config(run: dict[str, Any], tokenizer: Any, prompt: str) -> tuple[list[int], dict[str, Any]]:
    chat = run["dataset"]["text"] is None and run["task"] == "causal-lm"
    ids = prompt_ids(prompt, tokenizer, spec_of(run), chat=chat)
    return ids, {"prompt": prompt, "reference": None, "source": "config", "label": None}


def _from_row(
    run: dict[str, Any], tokenizer: Any, line: dict[str, Any], row: dict[str, Any], source: str
) -> tuple[list[int], dict[str, Any]]:
    """A held-out row as a question. A text without a prompt is cut after its first half of words: how does it go on?"""
    shared = {"source": source, "label": row["label"]}
    if continues(row, run["task"]):
        begin, rest = halves(row["text"])
        return prompt_ids(begin, tokenizer, spec_of(run), chat=False), {"prompt": begin, "reference": rest, **shared}
    learn = run["dataset"]["learn"]
    return prompt_of(run, line), {"prompt": question(row, learn), "reference": reference(row, learn), **shared}


arguments = finished.arguments


def main(args: argparse.Namespace) -> None:
    run, *loaded = finished.load(args)
    samples = sample(run, *loaded) if run["task"] != "sequence-classification" else []
    write_json(args.output / "samples.json", samples)
    print(f"sample {run['run']}: {len(samples)} answers", flush=True)
