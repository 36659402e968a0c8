"""Stage `evaluate`: one run, the untouched model among them, on the held-out test rows -> evaluation.json, predictions.parquet."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pandas
import torch

from tunebook.data.splits import read_split, read_tokens
from tunebook.finetuning import metrics
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.devices import claim_device
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.generation import answer
from tunebook.finetuning.intervals import loss_interval
from tunebook.finetuning.likelihood import likeliest
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.models import load_finetuned, quiet_libraries, use_allowed_cores
from tunebook.finetuning.scoring import score
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json, write_json, write_parquet

SPLIT = "test"


def evaluate(
    run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, tokens: list[dict[str, Any]], rows: pandas.DataFrame
) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Score a loaded model. `tokens` and `rows`: the test split encoded and as text.

    Returns the content of evaluation.json and of predictions.parquet.
    """
    batch_size = run["generation"]["batch_size"]
    texts = rows.set_index("row").loc[[line["row"] for line in tokens]].reset_index().to_dict("records")
    collate = collator_for(run["task"], tokenizer, model)
    scored = score(model, tokens, collate, batch_size)
    losses, counts = [loss for loss, _ in scored], [count for _, count in scored]
    mean = metrics.loss(losses, counts)
    record = {
        "run": run["run"],
        "identity": run["identity"],
        "split": SPLIT,
        "rows": len(tokens),
        "tokens": sum(counts),
        "loss": mean,
        "perplexity": metrics.perplexity(mean),
        "bits_per_byte": metrics.bits_per_byte(losses, [_supervised_text(text) for text in texts]),
        "metrics": {},
        "intervals": {"loss": loss_interval(losses, counts)},
    }
    predictions = pandas.DataFrame(
        {
            "row": [text["row"] for text in texts],
            "input": [_input(text) for text in texts],
            "reference": [_supervised_text(text) for text in texts],
            "prediction": None,
            "loss": [loss / count for loss, count in scored],
            "tokens": counts,
            "correct": None,
        }
    )
    names = list(run["dataset"]["labels"])
    if names:
        answers = _label_answers(run, model, tokenizer, tokens)
        labels = [text["label"] for text in texts]
        given = [metrics.label_of(text, names) for text in answers]
        record |= metrics.label_record(labels, given, names, record["intervals"])
        predictions = predictions.assign(
            prediction=answers, reference=labels, correct=[a == b for a, b in zip(given, labels, strict=True)]
        )
        if run["task"] != "sequence-classification" and run["dataset"]["text"] is None:  # a label is the completion
            options = {"collate": collate, "batch_size": batch_size}
            predictions["likeliest"] = likeliest(model, tokenizer, tokens, labels, names, **options)
            metrics.add_likelihood(record, labels, predictions["likeliest"].tolist())
    return record, predictions


def _label_answers(
    run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, tokens: list[dict[str, Any]]
) -> list[str]:
    """What the model answers to each row: generated, or the likeliest class of a classification head."""
    options = {"max_new_tokens": run["generation"]["max_new_tokens"], "batch_size": run["generation"]["batch_size"]}
    if run["task"] == "sequence-classification":
        collate, names = collator_for(run["task"], tokenizer, model), run["dataset"]["labels"]
        device = next(model.parameters()).device

        @torch.no_grad()
        def classes(indices: list[int]) -> list[int]:
            batch = collate([tokens[index] for index in indices])
            logits = model(**{key: batch[key].to(device) for key in ("input_ids", "attention_mask")}).logits
            return logits.argmax(dim=-1).tolist()

        batches = in_batches(list(range(len(tokens))), options["batch_size"], classes)
        return [names[index] for _, found in batches for index in found]
    return [given.text for given in answer(model, [prompt_of(run, line) for line in tokens], tokenizer, **options)]


def prompt_of(run: dict[str, Any], line: dict[str, Any]) -> list[int]:
    """The ids that a model is given before it answers: for causal-lm, what stands before the first supervised token."""
    if run["task"] != "causal-lm":
        return line["input_ids"]
    first = next(place for place, label in enumerate(line["labels"]) if label != NO_LOSS)
    return line["input_ids"][:first]


def _supervised_text(row: dict[str, Any]) -> str:
    """The text that the loss is taken over."""
    if row["messages"] is not None:
        return "\n".join(list(row["messages"])[1::2])
    return row["completion"] if row["completion"] is not None else row["text"]


def _input(row: dict[str, Any]) -> str:
    return row["messages"][0] if row["messages"] is not None else row["prompt"] if row["prompt"] is not None else ""


def load(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], torch.nn.Module, Any, list[dict[str, Any]], pandas.DataFrame]:
    """run.json, model, tokenizer, encoded test rows and test rows, as the command line names them."""
    claim_device(os.environ)
    quiet_libraries()
    use_allowed_cores()
    run = read_json(args.run)
    model = load_finetuned(run, args.model, args.adapter)
    tokens = read_tokens(args.tokens, SPLIT)
    return run, model, load_tokenizer(args.model), tokens, read_split(args.dataset, SPLIT)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run.json")
    parser.add_argument("--model", type=Path, required=True, help="folder of the fetched model")
    parser.add_argument("--adapter", type=Path, help="what training published; left out, the untouched model is meant")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the experiment's tokens")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")


def main(args: argparse.Namespace) -> None:
    run, *loaded = load(args)
    record, predictions = evaluate(run, *loaded)
    write_parquet(args.output / "predictions.parquet", predictions)
    write_json(args.output / "evaluation.json", record)
    shown = "".join(f", {name} {value:.3f}" for name, value in record["metrics"].items())
    print(f"evaluate {run['run']}: loss {record['loss']:.4f} over {record['rows']} rows{shown}", flush=True)
