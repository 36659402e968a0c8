"""Answers before and after finetuning, side by side: paired by prompt, differences marked, failures named."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from tunebook.study_folder import Experiment, Run
from tunebook.typeset import visible

SHOWN_CHARACTERS = 900  # of an answer at once; the rest unfolds
STORED_CHARACTERS = 6000  # of an answer in the report at all; samples.json has the whole
SAME_WORDS = 0.3  # below this share of common words two answers are told apart as wholes, not word by word
REPEATED_SHARE = 0.5  # of an answer's 4-grams
MOST_PROMPTS = 12  # of an experiment in the report; samples.json has all


@dataclass(frozen=True)
class Answer:
    """One run's answer as a list of (text, marked) pieces, the first `SHOWN_CHARACTERS` apart from the rest."""

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
    reference: str | None
    label: str | None
    source: str
    before: Answer
    after: Answer
    others: tuple[Answer, ...]
    published: str | None


def exchanges(experiment: Experiment, chosen: Run) -> tuple[list[Exchange], int]:
    """Pair the answers of base, chosen run and one run of each other method. Returns them and how many are not shown."""
    base = experiment.base.samples()
    after = _by_prompt(chosen.samples())
    rest = [runs[0] for runs in experiment.methods.values() if chosen not in runs]
    others = [(run, _by_prompt(run.samples())) for run in rest]
    shown = _every_kind(base)[:MOST_PROMPTS]
    published = {line["prompt"]: line["completion"] for line in _published(experiment)}
    lines = []
    for sample in shown:
        key = (sample["source"], sample["prompt"])
        if key not in after:
            continue
        lines.append(
            Exchange(
                prompt=visible(sample["prompt"]),
                reference=visible(sample["reference"]) if sample["reference"] is not None else None,
                label=sample["label"],
                source=sample["source"],
                before=answer("base", sample, None, experiment),
                after=answer(chosen.method, after[key], sample["completion"], experiment),
                others=tuple(
                    answer(run.method, found[key], sample["completion"], experiment)
                    for run, found in others
                    if key in found
                ),
                published=visible(published[sample["prompt"]]) if sample["prompt"] in published else None,
            )
        )
    return lines, len(base) - len(lines)


def _published(experiment: Experiment) -> list[dict[str, str]]:
    published = experiment.spec["published"] or {}
    return published.get("samples", [])  # older studies published losses only


def _by_prompt(samples: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(sample["source"], sample["prompt"]): sample for sample in samples}


def _every_kind(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The config's prompts first, then held-out rows in turns of their labels, so that a cut keeps every class."""
    asked = [sample for sample in samples if sample["source"] == "config"]
    heldout = [sample for sample in samples if sample["source"] != "config"]
    turns: dict[Any, int] = {}
    keyed = []
    for sample in heldout:
        turns[sample["label"]] = turns.get(sample["label"], 0) + 1
        keyed.append((turns[sample["label"]], sample))
    return asked[: MOST_PROMPTS // 2 if heldout else None] + [s for _, s in sorted(keyed, key=lambda pair: pair[0])]


def answer(run: str, sample: dict[str, Any], before: str | None, experiment: Experiment) -> Answer:
    """One answer, made safe to show. Args: before: the base model's answer, to mark what differs from it."""
    text = visible(sample["completion"]).strip()  # outer white space says nothing, and breaks the page's lines
    kept = text[:STORED_CHARACTERS]
    head, rest = kept[:SHOWN_CHARACTERS], kept[SHOWN_CHARACTERS:]
    pieces = ((head, False),) if before is None else marked(visible(before).strip()[:SHOWN_CHARACTERS], head)
    remarks = tuple(_remarks(sample, text, before, experiment))
    return Answer(run, pieces, rest, len(text) - len(kept), remarks, sample["tokens"])


def _remarks(sample: dict[str, Any], text: str, before: str | None, experiment: Experiment) -> list[tuple[str, str]]:
    """What a reader should see at once, failures first."""
    remarks = []
    if not text.strip():
        remarks.append(("empty", "bad"))
    if repeated_share(text) > REPEATED_SHARE:
        remarks.append(("repeats itself", "bad"))
    if not sample["stopped"]:
        remarks.append(("cut at the length limit", "bad"))
    labels = [label.casefold() for label in experiment.base.evaluation.get("labels", [])]
    answered = text.strip().casefold()
    if labels and answered and answered not in labels:
        remarks.append(("not a label", "bad"))
    if before is not None and sample["completion"] == before:
        remarks.append(("same as before", "quiet"))
    if sample["reference"] is not None and answered == visible(sample["reference"]).strip().casefold():
        remarks.append(("equals the reference", "good"))
    elif sample["reference"] is not None and answered in labels:
        remarks.append(("wrong label", "bad"))
    return remarks


def repeated_share(text: str) -> float:
    """Share of an answer's 4-grams of words that occurred in it before, of 1."""
    words = text.split()
    grams = [tuple(words[place : place + 4]) for place in range(len(words) - 3)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def marked(before: str, after: str) -> tuple[tuple[str, bool], ...]:
    """`after` in pieces; True marks words that `before` does not have there. Unlike texts are not marked at all."""
    left, right = re.split(r"(\s+)", before), re.split(r"(\s+)", after)
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    if matcher.ratio() < SAME_WORDS:
        return ((after, False),)
    pieces: list[tuple[str, bool]] = []
    for kind, _, _, start, stop in matcher.get_opcodes():
        text = "".join(right[start:stop])
        new = kind != "equal" or (bool(pieces) and pieces[-1][1] and text.isspace())  # no gap between two marks
        if pieces and pieces[-1][1] == new:
            pieces[-1] = (pieces[-1][0] + text, new)
        elif text:
            pieces.append((text, new))
    return tuple(pieces)
