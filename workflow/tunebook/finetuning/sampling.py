"""What samples.json says: a loaded model's answers to the experiment's prompts and to held-out rows."""

from __future__ import annotations

from typing import Any

import pandas
import torch

from tunebook.data.heldout import heldout_rows
from tunebook.data.rows import continues, halves, question, reference
from tunebook.finetuning.encoding import prompt_ids, prompt_of, spec_of
from tunebook.finetuning.generation import answer


def sample(
    run: dict[str, Any],
    model: torch.nn.Module,
    tokenizer: Any,
    tokens: list[dict[str, Any]],
    rows: pandas.DataFrame,
    training_rows: pandas.DataFrame,
) -> list[dict[str, Any]]:
    """The content of samples.json. The same held-out rows for every run: the first of the test split, of each label,
    no question twice."""
    questions = questions_of(run, tokenizer, tokens, rows)
    if not questions:
        return []
    options = {key: run["generation"][key] for key in ("max_new_tokens", "batch_size")}
    answers = answer(model, [ids for ids, _ in questions], tokenizer, **options)
    learn = run["dataset"]["learn"]
    learnt = [question(row, learn) for row in training_rows.to_dict("records")]
    return [
        {
            **asked,
            "completion": given.text,
            "tokens": given.tokens,
            "stopped": given.stopped,
            "begins_training_rows": begun_by(asked["prompt"], learnt),
        }
        for (_, asked), given in zip(questions, answers, strict=True)
    ]


def questions_of(
    run: dict[str, Any], tokenizer: Any, tokens: list[dict[str, Any]], rows: pandas.DataFrame
) -> list[tuple[list[int], dict[str, Any]]]:
    """The ids that a model is given for each answer, and what samples.json says of the question."""
    questions = [_from_config(run, tokenizer, prompt) for prompt in run["prompts"]]
    encoded = {line["row"]: line for line in tokens}
    for source, chosen in heldout_rows(run, rows, set(encoded)).items():
        questions += [_from_row(run, tokenizer, encoded[row["row"]], row, source) for row in chosen]
    return questions


def begun_by(prompt: str, texts: list[str]) -> int:
    """How many texts begin with a prompt, but for case and white space: to such a prompt a model may answer by heart."""
    begin = " ".join(prompt.casefold().split())
    return sum(" ".join(text.casefold().split()).startswith(begin) for text in texts)


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
