"""Every test row: its loss and its answer, before and after finetuning, for a reader who looks for what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pandas

from tunebook.digests import checked
from tunebook.reporting.answers import marked
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.text_metrics import found_term, key_term
from tunebook.reporting.typeset import visible

MOST_ROWS = 100  # of an experiment in the report; rows-{experiment}.csv has all
CHARACTERS = 240  # of a text in the table
NOT_A_LABEL = "no label"


@dataclass(frozen=True)
class TestRow:
    """One row as the report shows it. `tags`: what a reader can look for."""

    __test__ = False  # no test of pytest's

    row: str
    prompt: str
    reference: str
    before: str | None  # the untouched model's answer; None where it was not asked
    after: tuple[tuple[str, bool], ...] | None  # pieces of the answer, True where the one before lacks them
    base_loss: float
    loss: float
    gap: float | None  # highest less lowest loss of the methods
    wrong: str  # what is wrong with the answer; empty where nothing is known to be
    tags: tuple[str, ...]

    @property
    def change(self) -> float:
        return self.loss - self.base_loss


def rows_frame(experiment: Experiment) -> pandas.DataFrame:
    """A line a test row: row, input, reference; of base and of each method `{name}_text_loss` (nats a token, the mean over
    seeds), `{name}_answer` and `{name}_correct` (of the first seed; none where the row was not answered)."""
    frame = _predictions(experiment.base)[["row", "input", "reference"]]
    for name, runs in {"base": (experiment.base,), **experiment.methods}.items():
        first = _answered(runs[0])
        losses = pandas.concat([run.scores["text_loss"] for run in runs], axis=1).mean(axis=1)
        told = pandas.DataFrame(
            {f"{name}_text_loss": losses, f"{name}_answer": first["prediction"], f"{name}_correct": first["correct"]}
        )
        frame = frame.join(told, on="row")
    return frame


def _predictions(run: Run) -> pandas.DataFrame:
    columns = ["row", "input", "reference", "prediction", "correct"]
    return pandas.read_parquet(checked(run.folder / "predictions.parquet"), columns=columns)


def _answered(run: Run) -> pandas.DataFrame:
    """The predictions by row, or where rows have no labels the answers to those that were asked."""
    scored = _predictions(run).set_index("row")
    if scored["prediction"].notna().any():
        return scored
    answers = {
        (one["prompt"], one["reference"]): one["completion"] for one in run.samples() if one["source"] != "config"
    }
    pairs = list(zip(scored["input"], scored["reference"], strict=True))
    right = [_names_term(answers.get(pair), pair[1], run.key_term) for pair in pairs]
    return scored.assign(prediction=[answers.get(pair) for pair in pairs], correct=right)


def _names_term(answer: str | None, reference: str, pattern: str | None) -> bool | None:
    """Whether an answer has the key term of its reference; None where there is no answer or no term."""
    term = found_term(pattern, reference) if pattern and answer is not None else None
    return bool(key_term({"completion": answer}, term)) if term else None


def shown_rows(experiment: Experiment, method: str) -> tuple[list[TestRow], int]:
    """The rows to show for a method, and how many there are: wrong answers first, then by the loss after training."""
    frame = rows_frame(experiment)
    losses = frame[[f"{name}_text_loss" for name in experiment.methods]]
    frame = frame.assign(
        gap=losses.max(axis=1) - losses.min(axis=1) if len(experiment.methods) > 1 else None,
        wrong=[not pandas.isna(one) and not one for one in frame[f"{method}_correct"]],
    )
    ordered = frame.sort_values(["wrong", f"{method}_text_loss"], ascending=False, kind="stable")
    rows = [_row(experiment, line, method) for line in ordered.head(MOST_ROWS).to_dict("records")]
    return rows, len(frame)


def _row(experiment: Experiment, line: dict, method: str) -> TestRow:
    before, after = (_cut(line[f"{name}_answer"]) for name in ("base", method))
    base_loss, loss = line["base_text_loss"], line[f"{method}_text_loss"]
    return TestRow(
        row=visible(str(line["row"])),
        prompt=_cut(line["input"]) or "",
        reference=_cut(line["reference"]) or "",
        before=before,
        after=None if after is None else marked(before or "", after) if after else (),
        base_loss=base_loss,
        loss=loss,
        gap=None if pandas.isna(line["gap"]) else line["gap"],
        wrong=wrong_words(experiment) if line["wrong"] else "",
        tags=(*_tags(experiment, line, method), *(("loss rose",) if loss > base_loss else ())),
    )


def wrong_words(experiment: Experiment) -> str:
    return "wrong" if experiment.has_labels else "key term not named"


def _tags(experiment: Experiment, line: dict, method: str) -> tuple[str, ...]:
    """Right or wrong, before and after, and the cell of the confusion matrix."""
    known = [line[f"{name}_correct"] for name in ("base", method)]
    if any(map(pandas.isna, known)):
        return ()
    before, after = map(bool, known)
    turned = {(False, True): "became right", (True, False): "became wrong"}.get((before, after))
    told = (*(() if after else (wrong_words(experiment),)), *((turned,) if turned else ()))
    if not experiment.has_labels:
        return told
    labels = {label.casefold(): label for label in experiment.base.evaluation["labels"]}
    given = labels.get(str(line[f"{method}_answer"]).strip().casefold(), NOT_A_LABEL)
    cell = f"{line['reference']} answered as {given}"
    return (*told, visible(cell))


def _cut(text: str | None) -> str | None:
    if pandas.isna(text):
        return None
    shown = visible(text).strip()
    return shown if len(shown) <= CHARACTERS else f"{shown[:CHARACTERS]}…"
