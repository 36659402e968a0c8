"""What evaluation.json and predictions.parquet say: a loaded model scored on rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas
import torch

from tunebook.data.rows import continues, learnt_texts, question, supervised_text
from tunebook.finetuning import few_shot, memorisation, metrics, neutral
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import prompt_of
from tunebook.finetuning.generation import answer
from tunebook.finetuning.likelihood import likeliest
from tunebook.finetuning.losses import RowScore
from tunebook.finetuning.memory import in_batches
from tunebook.finetuning.names import FEW_SHOT_DRAWS
from tunebook.finetuning.row_scores import row_score
from tunebook.finetuning.scoring import score_tokens


def evaluate(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    rows: pandas.DataFrame,
    scorer: Callable[..., list[list[float]]] = score_tokens,
) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Score a loaded model. `tokens` and `rows`: the test split encoded and as text; `scorer`: `score_tokens` or the like of it.

    Returns the content of evaluation.json, less what `besides` adds, and of predictions.parquet.
    """
    batch_size = run["generation"]["batch_size"]
    texts = in_order(rows, tokens)
    collate = collator_for(run["task"], tokenizer, model)
    task, learn = run["task"], run["dataset"]["learn"]
    supervised = [supervised_text(text, task, learn) for text in texts]
    scored = row_scores(run, tokens, scorer(model, tokens, collate, batch_size), texts, tokenizer)
    record = {"run": run["run"], "identity": run["identity"], "rows": len(tokens)}
    record |= metrics.loss_record(scored) | {"metrics": {}}
    predictions = pandas.DataFrame(
        {
            "row": [text["row"] for text in texts],
            "input": ["" if continues(text, task) else question(text, learn) for text in texts],
            "reference": supervised,
            "prediction": None,
            "loss": [one.mean for one in scored],
            "tokens": [one.tokens for one in scored],
            "text_loss": [one.text_mean for one in scored],
            "text_tokens": [one.text_tokens for one in scored],
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


def row_scores(
    run: dict[str, Any],
    tokens: list[dict[str, Any]],
    losses: list[list[float]],
    texts: list[dict[str, Any]],
    tokenizer: Any,
) -> list[RowScore]:
    """What each row's token losses come to. `texts`: the rows as mappings, in the order of their encoded lines."""
    task, learn = run["task"], run["dataset"]["learn"]
    return [
        row_score(line, each, learnt_texts(text, task, learn), tokenizer, task, plain=continues(text, task))
        for line, each, text in zip(tokens, losses, texts, strict=True)
    ]


def besides(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    training: list[dict[str, Any]],
    record: dict[str, Any],
) -> None:
    """Add to a causal model's evaluation.json what is not measured on the test rows alone: a neutral text, memorisation.

    Encoder-decoders and classification heads have no likelihood of a plain text, and no text to complete. `training`: the
    encoded training rows that the model has seen; of the untouched model, all.
    """
    record["metric_rows"] = {}  # metric -> what it is over, where that is not all test rows
    if run["task"] != "causal-lm":
        return
    collate, batch_size = collator_for(run["task"], tokenizer, model), run["generation"]["batch_size"]
    metrics.add_neutral(record, neutral.measure(run, model, tokenizer, collate, batch_size))
    count = run["generation"]["memorisation_rows"]
    asked = [memorisation.chosen(lines, count) for lines in (training, tokens)]
    if all(asked):
        found = [memorisation.completed(model, lines, collate, batch_size) for lines in asked]
        metrics.add_memorisation(record, *found)
        record["memorisation"] = {"training_rows_seen": len(training), "asked": [line["row"] for line in asked[0]]}


def prompted(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    rows: pandas.DataFrame,
    training_rows: pandas.DataFrame,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The untouched model with examples before each test row: what evaluation.json holds under `few_shot`, an entry a number
    of examples, and columns of predictions.parquet.

    Where it was not run, the entry says why and there are no columns.
    """
    texts, told, columns = in_order(rows, tokens), [], {}
    for count in run["few_shot"]:
        entry, draws = {"examples": count}, []
        try:
            for seed in range(FEW_SHOT_DRAWS):
                examples = few_shot.draw(training_rows, count, run["dataset"]["labels"], seed)
                lines = few_shot.with_examples(run, model, tokenizer, tokens, texts, examples, count)
                record, predictions = evaluate(run, model, tokenizer, lines, rows, few_shot.score_after_examples)
                told_of = {key: value for key, value in record.items() if key not in ("run", "identity", "split")}
                draws.append({"seed": seed, "rows_shown": [row["row"] for row in examples], **told_of})
                for name in ("loss", "text_loss", "prediction", "correct"):
                    columns[f"few_shot_{count}_{seed}_{name}"] = predictions[name]
        except few_shot.NotRun as reason:
            columns = {name: column for name, column in columns.items() if not name.startswith(f"few_shot_{count}_")}
            told.append(entry | {"not_run": str(reason)})
        else:
            told.append(entry | metrics.over_draws(draws) | {"draws": draws})
    return told, columns


def in_order(rows: pandas.DataFrame, tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a split as mappings, in the order of their encoded lines."""
    return rows.set_index("row").loc[[line["row"] for line in tokens]].reset_index().to_dict("records")


def _label_answers(
    run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, tokens: list[dict[str, Any]]
) -> list[str]:
    """What the model answers to each row: generated, or the likeliest class of a classification head."""
    options = {"max_new_tokens": run["generation"]["max_new_tokens"], "batch_size": run["generation"]["batch_size"]}
    if run["task"] == "sequence-classification":
        collate, names = collator_for(run["task"], tokenizer, model), model.config.id2label
        device = next(model.parameters()).device

        @torch.no_grad()
        def classes(indices: list[int]) -> list[int]:
            batch = collate([tokens[index] for index in indices])
            logits = model(**{key: batch[key].to(device) for key in ("input_ids", "attention_mask")}).logits
            return logits.argmax(dim=-1).tolist()

        batches = in_batches(list(range(len(tokens))), options["batch_size"], classes)
        return [names[index] for _, found in batches for index in found]
    return [given.text for given in answer(model, [prompt_of(run, line) for line in tokens], tokenizer, **options)]
