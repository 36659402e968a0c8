"""Stage `evaluate`: one run, the untouched model among them, on the held-out test rows -> evaluation.json, predictions.parquet."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pandas
import torch

from tunebook.data.rows import continues, question, supervised_text
from tunebook.data.splits import in_blocks, read_split, read_tokens
from tunebook.finetuning import few_shot, finished, memorisation, metrics
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import prompt_of
from tunebook.finetuning.generation import answer
from tunebook.finetuning.intervals import loss_interval
from tunebook.finetuning.likelihood import likeliest
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.neutral import score_neutral
from tunebook.finetuning.scoring import score
from tunebook.records import write_json, write_parquet


def evaluate(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    rows: pandas.DataFrame,
    scorer: Callable[..., list[tuple[float, int]]] = score,
) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Score a loaded model. `tokens` and `rows`: the test split encoded and as text; `scorer`: `score` or the like of it.

    Returns the content of evaluation.json, less what `besides` adds, and of predictions.parquet.
    """
    batch_size = run["generation"]["batch_size"]
    texts = _in_order(rows, tokens)
    collate = collator_for(run["task"], tokenizer, model)
    scored = scorer(model, tokens, collate, batch_size)
    losses, counts = [loss for loss, _ in scored], [count for _, count in scored]
    mean = metrics.loss(losses, counts)
    task, learn = run["task"], run["dataset"]["learn"]
    supervised = [supervised_text(text, task, learn) for text in texts]
    record = {
        "run": run["run"],
        "identity": run["identity"],
        "split": finished.SPLIT,
        "rows": len(tokens),
        "tokens": sum(counts),
        "loss": mean,
        "perplexity": metrics.perplexity(mean),
        "bits_per_byte": metrics.bits_per_byte(losses, supervised),
        "metrics": {},
        "intervals": {"loss": loss_interval(losses, counts)},
    }
    predictions = pandas.DataFrame(
        {
            "row": [text["row"] for text in texts],
            "input": ["" if continues(text, task) else question(text, learn) for text in texts],
            "reference": supervised,
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
            options = {"collate": collate, "batch_size": batch_size, "scorer": scorer}
            predictions["likeliest"] = likeliest(model, tokenizer, tokens, labels, names, **options)
            metrics.add_likelihood(record, labels, predictions["likeliest"].tolist())
    return record, predictions


def besides(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    training: list[dict[str, Any]],
    record: dict[str, Any],
) -> None:
    """Add to a causal model's evaluation.json what is not measured on the test rows alone: forgetting, memorisation.

    Encoder-decoders and classification heads have no likelihood of a plain text, and no text to complete. `training`: the
    encoded training rows.
    """
    record["metric_rows"] = {}  # metric -> what it is over, where that is not all test rows
    if run["task"] != "causal-lm":
        return
    collate, batch_size = collator_for(run["task"], tokenizer, model), run["generation"]["batch_size"]
    neutral = score_neutral(model, tokenizer, collate, batch_size)
    record["metrics"]["neutral_loss"] = metrics.neutral_loss(*map(list, zip(*neutral, strict=True)))
    record["metric_rows"]["neutral_loss"] = len(neutral)
    count = run["generation"]["memorisation_rows"]
    asked = [memorisation.chosen(lines, count) for lines in (training, tokens)]
    if all(asked):
        found = [memorisation.completed(model, lines, collate, batch_size) for lines in asked]
        metrics.add_memorisation(record, *found)


def prompted(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    rows: pandas.DataFrame,
    training_rows: pandas.DataFrame,
) -> tuple[dict[str, Any], pandas.DataFrame]:
    """The untouched model with examples before each test row: what evaluation.json holds under `few_shot`, and predictions.

    Where it was not run, the record says why and there are no predictions.
    """
    examples = few_shot.draw(training_rows, run["few_shot"], run["dataset"]["labels"])
    told = {"examples": run["few_shot"], "seed": few_shot.SEED, "rows_shown": [row["row"] for row in examples]}
    try:
        lines = few_shot.with_examples(run, model, tokenizer, tokens, _in_order(rows, tokens), examples)
    except few_shot.NotRun as reason:
        return told | {"not_run": str(reason)}, pandas.DataFrame()
    record, predictions = evaluate(run, model, tokenizer, lines, rows, few_shot.score_after_examples)
    return record | told, predictions


def _in_order(rows: pandas.DataFrame, tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a split as mappings, in the order of their encoded lines."""
    return rows.set_index("row").loc[[line["row"] for line in tokens]].reset_index().to_dict("records")


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


arguments = finished.arguments


def main(args: argparse.Namespace) -> None:
    run, *loaded = finished.load(args)
    record, predictions = evaluate(run, *loaded)
    training = read_tokens(args.tokens, "train")
    besides(run, *loaded[:3], training, record)
    if run["few_shot"]:
        record["few_shot"], told = prompted(run, *loaded, in_blocks(read_split(args.dataset, "train"), training))
        for name in ("loss", "prediction", "correct"):
            if name in told:
                predictions[f"few_shot_{name}"] = told[name]
    write_parquet(args.output / "predictions.parquet", predictions)
    write_json(args.output / "evaluation.json", record)
    shown = "".join(f", {name} {value:.3f}" for name, value in record["metrics"].items())
    print(f"evaluate {run['run']}: loss {record['loss']:.4f} over {record['rows']} rows{shown}", flush=True)
