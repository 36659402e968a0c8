"""Whether rows, prompts and answers fit into a model's positions: known when tokens are made, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import pandas

from tunebook.data.heldout import heldout_rows
from tunebook.data.rows import continues, halves
from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import prompt_ids, prompt_of
from tunebook.finetuning.positions import Positions, positions_of

Line = Mapping[str, Any]  # an encoded row: row, input_ids, labels


@dataclass(frozen=True)
class Asked:
    """What an experiment asks its models. `chat`: prompts of the config go into the chat template."""

    max_new_tokens: int
    heldout_samples: int
    scored_rows: int
    prompts: tuple[str, ...]
    labels: tuple[str, ...]
    few_shot: tuple[int, ...]
    chat: bool

    @classmethod
    def of(cls, study: Mapping[str, Any], name: str) -> Asked:
        """Read from study.json."""
        experiment = study["experiments"][name]
        dataset, generation = study["datasets"][experiment["dataset"]], experiment["generation"]
        counts = {key: generation[key] for key in ("max_new_tokens", "heldout_samples", "scored_rows")}
        return cls(
            **counts,
            prompts=tuple(experiment["prompts"]),
            labels=tuple(dataset["labels"]),
            few_shot=tuple(experiment["few_shot"]),
            chat=dataset["text"] is None and experiment["task"] == "causal-lm",
        )


def check_room(
    config: Mapping[str, Any],
    spec: dict[str, Any],
    asked: Asked,
    tokenizer: Any,
    lines: Mapping[str, list[Line]],
    test_rows: pandas.DataFrame,
) -> list[str]:
    """What to tell the user about lengths. Raises TunebookError where something does not fit.

    Args: config: the model's config; spec: study.json's specs for `tokenize`; lines: split -> encoded rows; test_rows: the
    test split as text.
    """
    reads, writes = positions_of(config), positions_of(config, decoder=True)
    task = spec["task"]
    longest = max(len(line["input_ids"]) for split in lines.values() for line in split)
    problems = _rows_problem(longest, "max_length", reads, spec)
    if task == "seq2seq-lm":
        target = max(len(line["labels"]) for split in lines.values() for line in split)
        problems += _rows_problem(target, "max_target_length", writes, spec)
        problems += _answers_problem(1, asked.max_new_tokens, writes)  # the decoder begins with a token of its own
    if task == "causal-lm":
        prompts = _prompt_lengths(spec, asked, tokenizer, lines["test"], test_rows)
        problems += _answers_problem(max(prompts, default=0), asked.max_new_tokens, reads) if prompts else []
    if problems:
        raise TunebookError(f"experiment {spec['name']}: " + "\n  ".join(problems))
    return [*_beyond_training(lines, reads), *_few_shot_note(asked, spec, lines, reads)]


def _rows_problem(longest: int, key: str, positions: Positions, spec: Mapping[str, Any]) -> list[str]:
    if positions.limit is None or longest <= positions.limit:
        return []
    return [
        f"the longest row has {longest} tokens ({key} is {spec[key]}), and the model has {positions.limit} positions; set "
        f"training.{key} to at most {positions.limit}"
    ]


def _answers_problem(prompt: int, new: int, positions: Positions) -> list[str]:
    """The last new token is never fed back to the model, so it takes no position."""
    if positions.limit is None or prompt + new - 1 <= positions.limit:
        return []
    most = positions.limit - prompt + 1
    way_out = f"set generation.max_new_tokens to at most {most}" if most > 0 else "shorten the prompts"
    return [
        f"the longest prompt has {prompt} tokens and an answer up to {new} (generation.max_new_tokens), and the model has "
        f"{positions.limit} positions; {way_out}"
    ]


def _prompt_lengths(
    spec: dict[str, Any], asked: Asked, tokenizer: Any, lines: list[Line], rows: pandas.DataFrame
) -> list[int]:
    """Tokens of each prompt that the experiment's runs answer: the config's, held-out rows, with labels all test rows."""
    lengths = [len(prompt_ids(prompt, tokenizer, spec, chat=asked.chat)) for prompt in asked.prompts]
    encoded = {line["row"]: line for line in lines}
    run = {"task": spec["task"], "dataset": {"labels": list(asked.labels)}}
    run["generation"] = {"heldout_samples": asked.heldout_samples, "scored_rows": asked.scored_rows}
    if asked.labels:
        lengths += [len(prompt_of(run, line)) for line in lines]
    for chosen in heldout_rows(run, rows, set(encoded)).values():
        for row in chosen:
            if continues(row, spec["task"]):
                lengths.append(len(prompt_ids(halves(row["text"])[0], tokenizer, spec, chat=False)))
            else:
                lengths.append(len(prompt_of(run, encoded[row["row"]])))
    return lengths


def _beyond_training(lines: Mapping[str, list[Line]], positions: Positions) -> list[str]:
    if positions.trained is None:
        return []
    beyond = sum(len(line["input_ids"]) > positions.trained for split in lines.values() for line in split)
    if not beyond:
        return []
    return [
        f"{beyond} rows are longer than the {positions.trained} tokens that the model was trained to read "
        "(max_position_embeddings); it reads them, but worse: a lower training.max_length cuts them"
    ]


def _few_shot_note(
    asked: Asked, spec: Mapping[str, Any], lines: Mapping[str, list[Line]], positions: Positions
) -> list[str]:
    """Examples are drawn when they are scored; here their length is estimated from the mean training row."""
    if not asked.few_shot or positions.most is None or spec["task"] == "sequence-classification":
        return []
    example = mean(len(line["input_ids"]) for line in lines["train"])
    most = max(asked.few_shot)
    about = round(most * example + max(len(line["input_ids"]) for line in lines["test"]))
    if about <= positions.most:
        return []
    return [
        f"few_shot: {most} examples and the longest test row have about {about} tokens, and the model reads "
        f"{positions.most}; that few-shot baseline will not be run: lower few_shot"
    ]
