"""Answers before and after finetuning, side by side: paired by prompt, differences marked, failures named."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.text_metrics import repeats
from tunebook.reporting.typeset import visible

SHOWN_CHARACTERS = 900  # of an answer at once; the rest unfolds
STORED_CHARACTERS = 6000  # of an answer in the report at all; samples.json has the whole
SAME_WORDS = 0.3  # below this share of common words two answers are told apart as wholes, not word by word
SCORED_ONLY = "scored"  # samples that count in the metrics and are not shown
MOST_PROMPTS = 12  # of an experiment in the report; samples.json has all


@dataclass(frozen=True)
class Answer:
    """One run's answer as a list of (text, whether the other answer lacks it) pieces, the first `SHOWN_CHARACTERS` apart from the rest."""

    run: str
    pieces: tuple[tuple[str, bool], ...]
    rest: str  # what unfolds
    left_out: int  # characters that are only in samples.json
    remarks: tuple[tuple[str, str], ...]  # words and their kind: good, bad or quiet
    tokens: int


@dataclass(frozen=True)
class Exchange:
    """One prompt with the base model's answer, the finetuned one's, the other methods' and the reference."""

    prompt: str
    references: tuple[str, ...]  # several where rows ask the same
    label: str | None
    source: str
    begins_training_rows: int  # how many training rows begin with the prompt
    before: Answer
    after: Answer
    others: tuple[Answer, ...]
    published: str | None


def exchanges(experiment: Experiment, chosen: Run) -> tuple[list[Exchange], int]:
    """Pair the answers of base, chosen run and one run of each other method. Returns them and how many are not shown."""
    samples = _by_prompt(experiment.base.samples())
    after = _by_prompt(chosen.samples())
    rest = [runs[0] for runs in experiment.methods.values() if chosen not in runs]
    others = [(run.method, _by_prompt(run.samples())) for run in rest]
    published = {line["prompt"]: line["completion"] for line in _published(experiment)}
    lines = []
    for key in _every_kind(samples)[:MOST_PROMPTS]:
        if key not in after:
            continue
        first = samples[key][0]
        references = dict.fromkeys(visible(line["reference"]) for line in samples[key] if line["reference"] is not None)
        before = first["completion"]
        lines.append(
            Exchange(
                prompt=visible(first["prompt"]),
                references=tuple(references),
                label=first["label"],
                source=first["source"],
                begins_training_rows=first["begins_training_rows"],
                before=answer("base", samples[key], None, experiment, other=after[key][0]["completion"]),
                after=answer(chosen.method, after[key], before, experiment),
                others=tuple(answer(name, found[key], before, experiment) for name, found in others if key in found),
                published=visible(published[first["prompt"]]) if first["prompt"] in published else None,
            )
        )
    return lines, len(samples) - len(lines)


def _published(experiment: Experiment) -> list[dict[str, str]]:
    published = experiment.spec["published"] or {}
    return published.get("samples", [])  # older studies published losses only


def _by_prompt(samples: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(source, prompt) -> its samples: rows may ask the same and expect different answers; greedy decoding gives one."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for sample in samples:
        if sample["source"] == SCORED_ONLY:
            continue
        grouped.setdefault((sample["source"], sample["prompt"]), []).append(sample)
    return grouped


def _every_kind(samples: dict[tuple[str, str], list[dict[str, Any]]]) -> list[tuple[str, str]]:
    """The config's prompts first, then held-out rows in turns of their labels, so that a cut keeps every class."""
    asked = [key for key in samples if key[0] == "config"]
    heldout = [key for key in samples if key[0] != "config"]
    turns: dict[Any, int] = {}
    places = {}
    for key in heldout:
        label = samples[key][0]["label"]
        turns[label] = turns.get(label, 0) + 1
        places[key] = turns[label]
    return asked[: MOST_PROMPTS // 2 if heldout else None] + sorted(heldout, key=places.__getitem__)


def answer(
    run: str, samples: list[dict[str, Any]], before: str | None, experiment: Experiment, other: str | None = None
) -> Answer:
    """One answer, made safe to show.

    Args: samples: those of one prompt; before: the base model's answer, None for its own; other: the answer to mark what
    differs from, where that is not `before`.
    """
    text = visible(samples[0]["completion"]).strip()  # outer white space says nothing, and breaks the page's lines
    kept = text[:STORED_CHARACTERS]
    head, rest = kept[:SHOWN_CHARACTERS], kept[SHOWN_CHARACTERS:]
    other = before if other is None else other
    pieces = ((head, False),) if other is None else marked(visible(other).strip()[:SHOWN_CHARACTERS], head)
    remarks = tuple(_remarks(samples, text, before, experiment))
    return Answer(run, pieces, rest, len(text) - len(kept), remarks, samples[0]["tokens"])


def _remarks(
    samples: list[dict[str, Any]], text: str, before: str | None, experiment: Experiment
) -> list[tuple[str, str]]:
    """What a reader should see at once, failures first."""
    labels = [label.casefold() for label in experiment.base.evaluation.get("labels", [])]
    references = [visible(line["reference"]).strip().casefold() for line in samples if line["reference"] is not None]
    answered = text.casefold()
    found = {
        ("empty", "bad"): not answered,
        ("repeats itself", "bad"): repeats(text),
        ("cut at the length limit", "bad"): not samples[0]["stopped"],
        ("not a label", "bad"): bool(labels and answered) and answered not in labels,
        ("same as before", "quiet"): samples[0]["completion"] == before,
        ("equals the reference", "good"): answered in references,
        ("wrong label", "bad"): bool(references) and answered in labels and answered not in references,
    }
    return [remark for remark, holds in found.items() if holds]


def marked(other: str, text: str) -> tuple[tuple[str, bool], ...]:
    """`text` in pieces; True marks words that `other` does not have there. Unlike texts are not marked at all."""
    left, right = re.split(r"(\s+)", other), re.split(r"(\s+)", text)
    if difflib.SequenceMatcher(None, other.split(), text.split(), autojunk=False).ratio() < SAME_WORDS:
        return ((text, False),)
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    pieces: list[tuple[str, bool]] = []
    for kind, _, _, start, stop in matcher.get_opcodes():
        text = "".join(right[start:stop])
        new = kind != "equal" or (bool(pieces) and pieces[-1][1] and text.isspace())  # no gap between two marks
        if pieces and pieces[-1][1] == new:
            pieces[-1] = (pieces[-1][0] + text, new)
        elif text:
            pieces.append((text, new))
    return tuple(pieces)
