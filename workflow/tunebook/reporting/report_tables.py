"""The report's tables: cells with a text to read and a value to sort by. Words of the headers stand here, looks in `report/`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunebook.reporting.comparison import best_methods, mean
from tunebook.reporting.contests import AgainstExamples, label_contests, loss_contests
from tunebook.reporting.curves import between_validations, same_epoch
from tunebook.reporting.diagnosis import Verdict
from tunebook.reporting.frames import published_of
from tunebook.reporting.metrics import better, title
from tunebook.reporting.published import comparability
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import (
    ABSENT,
    count,
    duration,
    fixed,
    integer,
    number,
    percent,
    plain,
    score,
    signed,
    size,
    visible,
)
from tunebook.reporting.untrained import Baseline, Prompted


@dataclass(frozen=True)
class Cell:
    """What a reader sees, and what sorting compares (None: the text)."""

    text: str
    sort: float | None = None
    kind: str = ""  # a class of the style sheet: good, bad, quiet, long
    link: str = ""
    note: str = ""  # a second, smaller line
    tags: tuple[tuple[str, bool], ...] = ()  # further words and whether they are grave


@dataclass(frozen=True)
class Column:
    label: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with the name of its CSV file, if it has one."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str = ""


def cell(value: float | None, text: str, **more: str) -> Cell:
    """A number's cell; absent numbers sort last."""
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    return Cell(text, None if absent else float(value), **more)


def words(*labels: str) -> tuple[Column, ...]:
    return tuple(Column(label, numeric=False) for label in labels)


def figures(*labels: str) -> tuple[Column, ...]:
    return tuple(Column(label) for label in labels)


@dataclass(frozen=True)
class Line:
    """A line of the summary: a method's runs, one a seed, or one run of them."""

    experiment: Experiment
    runs: tuple[Run, ...]
    outcome: tuple[str, str]  # (kind, words) of their gain
    against: AgainstExamples | None  # what examples in the prompt do instead
    findings: tuple[Verdict, ...]  # of all these runs


def summary_table(lines: Sequence[Line], csv: str = "") -> Table:
    """The summary: a line a method, or a line a run; means over seeds, with their range."""
    several = any(len(line.runs) > 1 for line in lines)
    seeds = not several and any(len(line.experiment.methods[line.runs[0].method]) > 1 for line in lines)
    accuracy = any(line.experiment.has_labels or line.experiment.spec["key_term"] for line in lines)
    rows = []
    for line in lines:
        experiment, runs = line.experiment, line.runs
        tags = ((line.against.words, line.against.kind == "bad"),) if line.against else ()
        rows.append(
            (
                Cell(experiment.title, link=f"#experiment-{experiment.name}"),
                Cell(runs[0].method, kind="name"),
                *((cell(len(runs), integer(len(runs))),) if several else ()),
                *((cell(runs[0].seed, str(runs[0].seed)),) if seeds else ()),
                _before_after(experiment, runs, lambda run: run.text_loss, fixed),
                _change(experiment, runs, line.outcome[0]),
                *(() if several else (_before_after(experiment, runs, lambda run: run.loss, fixed),)),
                *((_accuracy(experiment, runs),) if accuracy else ()),
                _mean_cell(runs, "wall_s", duration),
                _mean_cell(runs, "peak_memory_bytes", size),
                Cell(line.outcome[1], kind=f"verdict {line.outcome[0]}", tags=(*tags, *_found(line))),
            )
        )
    columns = (
        *words("Experiment", "Method"),
        *(figures("Seeds") if several else figures("Seed") if seeds else ()),
        *figures("Held-out loss of the text", "Change"),
        *(() if several else figures("With end tokens")),
        *(figures("Right answers") if accuracy else ()),
        *figures("Training time", "Peak memory"),
        *words("Verdict"),
    )
    return Table(columns, tuple(rows), csv)


def _found(line: Line) -> list[tuple[str, bool]]:
    """What the rules found, each rule once: of one run with its figures, of several how many runs it holds for."""
    if len(line.runs) == 1:
        return [(verdict.phrase, verdict.grave) for verdict in line.findings]
    rules = dict.fromkeys(verdict.rule for verdict in line.findings)
    first = {verdict.rule: verdict for verdict in reversed(line.findings)}
    held = Counter(verdict.rule for verdict in line.findings)
    total = len(line.runs)
    return [
        (
            f"{first[rule].title.lower()}: {'all' if held[rule] == total else f'{held[rule]} of {total}'} seeds",
            first[rule].grave,
        )
        for rule in rules
    ]


def _mean_cell(runs: tuple[Run, ...], key: str, written: Callable[[float], str]) -> Cell:
    value = mean(run.training[key] for run in runs)
    return cell(value, written(value))


def _before_after(
    experiment: Experiment, runs: tuple[Run, ...], measured: Callable[[Run], float], written: Callable[[float], str]
) -> Cell:
    values = [measured(run) for run in runs]
    after = mean(values)
    spread = f"{written(min(values))} to {written(max(values))}" if len(values) > 1 else ""
    return cell(after, f"{written(measured(experiment.base))} → {written(after)}", note=spread)


def _change(experiment: Experiment, runs: tuple[Run, ...], kind: str) -> Cell:
    change = mean(run.text_loss for run in runs) - experiment.base.text_loss
    return cell(change, signed(change), kind=kind)


def _accuracy(experiment: Experiment, runs: tuple[Run, ...]) -> Cell:
    if "key_term" in experiment.base.metrics:
        found = _before_after(experiment, runs, lambda run: run.metrics["key_term"], percent)
        told = f"key term named, n = {integer(experiment.base.rows_of('key_term'))}"
        return replace(found, note=f"{found.note}; {told}" if found.note else told)
    if not experiment.has_labels:
        return Cell(ABSENT, kind="quiet")
    return _before_after(experiment, runs, lambda run: run.evaluation["metrics"]["accuracy"], percent)


def losses_table(experiment: Experiment) -> Table:
    """Epoch | Training loss | Validation loss, of the epochs that were measured."""
    several = len(experiment.runs) > 1
    rows = []
    for run in experiment.runs:
        for line in run.epochs.itertuples():
            losses = [line.training_loss, line.validation_loss]
            name = (Cell(_run_words(experiment, run)),) if several else ()
            epoch = cell(line.epoch, plain(round(line.epoch, 2)))
            rows.append((*name, epoch, *(cell(value, fixed(value, 4)) for value in losses)))
    columns = figures("Epoch", "Training loss", "Validation loss")
    return Table((*words("Run"), *columns) if several else columns, tuple(rows), "losses")


def published_table(experiment: Experiment) -> Table:
    """Published against reproduced: a line a published loss and run, with the difference, ours minus theirs."""
    several = len(experiment.runs) > 1
    quiet = "" if comparability(experiment).comparable else "quiet"
    rows = []
    for run in experiment.runs:
        for line in published_of(experiment, run):
            figures_of = [(line["published"], fixed), (line["ours"], fixed), (line["difference"], signed)]
            cells = [cell(value, form(value, 4)) for value, form in figures_of]
            cells[-1] = replace(cells[-1], kind=quiet)
            name = (Cell(_run_words(experiment, run)),) if several else ()
            epoch = cell(line["epoch"], plain(line["epoch"]))
            cells[1] = replace(cells[1], note=_other_epoch(line))
            rows.append((*name, epoch, Cell(line["loss"]), *cells, Cell(line["verdict"])))
    columns = (*figures("Epoch"), *words("Loss"), *figures("Published", "Ours", "Difference"), *words("Verdict"))
    return Table((*words("Run"), *columns) if several else columns, tuple(rows), "published")


def _other_epoch(line: dict[str, Any]) -> str:
    """Says where ours is not of the published figure's epoch."""
    if math.isnan(line["our_epoch"]):
        return "not reached"
    if same_epoch(line["our_epoch"], line["epoch"]):
        return ""
    return f"after {plain(round(line['our_epoch'], 2))} epochs"


def grounds_table(experiment: Experiment) -> Table:
    """What comparing depends on: theirs, ours, the same or not."""
    words_of = {True: "yes", False: "no", None: "not known"}
    grounds = comparability(experiment).grounds
    rows = [
        (
            Cell(one.question),
            Cell(one.published, note=f"inferred from {one.inferred}" if one.inferred else ""),
            Cell(one.ours),
            Cell(words_of[one.same]),
        )
        for one in grounds
    ]
    return Table(words("What", "Published", "Ours", "The same?"), tuple(rows))


def _run_words(experiment: Experiment, run: Run) -> str:
    """A run's name within its experiment; the seed only where there are several."""
    return run.method if len(experiment.methods[run.method]) == 1 else f"{run.method}, seed {run.seed}"


def metrics_table(experiment: Experiment) -> Table:
    """A line a metric; base run, baselines and each method: its 95 % interval below or, over seeds and draws, mean and range."""
    groups = experiment.untrained_groups | experiment.methods
    names = dict.fromkeys(name for runs in groups.values() for name in runs[0].metrics)
    rows = []
    for name in names:
        direction = {1: "higher is better", -1: "lower is better", 0: ""}[better(name)]
        bold = best_methods(experiment, name)
        cells = [_metric_cell(name, runs, "best" if method in bold else "") for method, runs in groups.items()]
        rows.append((Cell(title(name), note=direction), *cells))
    return Table((*words("Metric"), *figures(*groups)), tuple(rows), "metrics")


def _metric_cell(name: str, runs: tuple[Run | Baseline, ...], kind: str) -> Cell:
    values = [run.metrics.get(name) for run in runs]
    if any(value is None for value in values):
        return Cell(ABSENT, kind="quiet")
    value = mean(values)
    if len(values) > 1:
        each = "draws" if isinstance(runs[0], Prompted) else "seeds"
        spread = f"{score(min(values))} to {score(max(values))} over {len(values)} {each}"
        return cell(value, score(value), kind=kind, note=spread)
    return cell(value, score(value), kind=kind, note=_doubt(name, runs[0]))


def _doubt(name: str, run: Run | Baseline) -> str:
    """The 95 % interval of a metric; the number of answers where it is not over all test rows."""
    low, high = run.intervals.get(name, (None, None))
    told = "" if low is None else f"{score(low)} to {score(high)}"
    if not run.beside(name):
        return told
    rows = f"n = {integer(run.rows_of(name))}"
    return f"{told}, {rows}" if told else f"{rows}, no interval"


def contests_table(experiment: Experiment) -> Table | None:
    """Pairs on the same rows by their right answers; None where there is nothing to be right or wrong about."""
    rows = [
        (
            Cell(contest.left),
            Cell(contest.right),
            cell(contest.difference.mean, signed(contest.difference.mean)),
            *(
                Cell(ABSENT, kind="quiet") if alone is None else cell(alone, integer(alone))
                for alone in (contest.only_left, contest.only_right)
            ),
            cell(contest.p, number(contest.p, 2)),
            Cell(contest.words, kind="" if contest.shown else "quiet"),
        )
        for contest in label_contests(experiment)
    ]
    names = ("Difference in accuracy", "Rows only one gets right", "Rows only the other gets right", "p, adjusted")
    columns = (*words("One", "Other"), *figures(*names))
    return Table((*columns, *words("Verdict")), tuple(rows), "comparisons") if rows else None


def loss_contests_table(experiment: Experiment) -> Table:
    """Pairs on the same rows by their losses of the text: the paired difference with its 95 % interval."""
    rows = []
    for contest in loss_contests(experiment):
        difference = contest.difference
        between = f"{signed(difference.low)} to {signed(difference.high)}"
        rows.append(
            (
                Cell(contest.left),
                Cell(contest.right),
                cell(difference.mean, signed(difference.mean), note=between),
                cell(difference.detectable, fixed(difference.detectable)),
                cell(difference.rows, integer(difference.rows)),
                cell(contest.p, number(contest.p, 2)),
                Cell(contest.words, kind="" if contest.matters else "quiet"),
            )
        )
    names = ("Difference in loss of the text", "Smallest to be shown", "Rows", "p, adjusted")
    return Table(
        (*words("One", "Other"), *figures(*names), *words("Verdict")),
        tuple(rows),
        "comparisons",
    )


def labels_table(run: Run) -> Table:
    """Precision, recall and F1 of each label."""
    rows = [
        (Cell(visible(label)), *(cell(line[key], fixed(line[key])) for key in ("precision", "recall", "f1")),
         cell(line["support"], integer(line["support"])))
        for label, line in run.evaluation["per_label"].items()
    ]  # fmt: skip
    return Table((*words("Label"), *figures("Precision", "Recall", "F1", "Rows")), tuple(rows))


def confusion_table(run: Run) -> Table:
    """The confusion matrix: a line a true label, a column a predicted one."""
    labels, matrix = run.evaluation["labels"], run.evaluation["confusion"]
    columns = [*labels, "no label"][: len(matrix[0])]
    rows = [
        (Cell(visible(label)), *(cell(v, integer(v)) for v in line)) for label, line in zip(labels, matrix, strict=True)
    ]
    return Table((*words("True label"), *figures(*columns)), tuple(rows))


def methods_table(experiment: Experiment) -> Table:
    """What each method trains, stores and costs; means over seeds."""
    keys = ("trainable_parameters", "weight_bytes", "optimizer_bytes", "peak_memory_bytes", "wall_s", "tokens_per_s")
    written = (count, size, size, size, duration, number)
    rows = [
        (
            Cell("base"),
            *[Cell(ABSENT, kind="quiet")] * (len(keys) + 1),
            cell(experiment.base.text_loss, fixed(experiment.base.text_loss)),
        )
    ]
    for method, runs in experiment.methods.items():
        values = [mean(run.training[key] for run in runs) for key in keys]
        share = values[0] / runs[0].training["parameters"]
        first, *rest = [cell(value, show(value)) for value, show in zip(values, written, strict=True)]
        losses = [run.text_loss for run in runs]
        spread = f"{fixed(min(losses))} to {fixed(max(losses))} over {len(losses)} seeds" if len(losses) > 1 else ""
        loss = cell(mean(losses), fixed(mean(losses)), note=spread)
        rows.append((Cell(method), first, cell(share, percent(share)), *rest, loss))
    columns = figures(
        "Trainable",
        "Share of all",
        "Weights",
        "Optimizer",
        "Peak memory",
        "Time",
        "Tokens/s",
        "Held-out loss of the text",
    )
    return Table((*words("Method"), *columns), tuple(rows), "methods")


def curve_table(experiment: Experiment) -> Table:
    """The loss curves in figures: a line a validation, the training loss since the one before."""
    written = {"training_loss": fixed, "validation_loss": fixed}
    return _course(experiment, figures("Training loss", "Validation loss"), written)


def gradient_table(experiment: Experiment) -> Table:
    """Gradient norm and learning rate in figures: a line a validation, over the steps since the one before."""
    written = {"grad_norm": number, "grad_norm_max": number, "learning_rate": number}
    return _course(experiment, figures("Gradient norm, mean", "highest", "Learning rate"), written)


def _course(experiment: Experiment, columns: tuple[Column, ...], written: dict[str, Callable[[float], str]]) -> Table:
    """Lines of `curves.between_validations` of all runs. Args: written: column -> how its values are written."""
    rows = [
        (
            Cell(_run_words(experiment, run)),
            cell(line["step"], integer(line["step"])),
            cell(line["epoch"], fixed(line["epoch"], 2)),
            *(cell(line[key], show(line[key])) for key, show in written.items()),
        )
        for run in experiment.runs
        for line in between_validations(run.history).to_dict("records")
    ]
    return Table((*words("Run"), *figures("Step", "Epoch"), *columns), tuple(rows))


def lengths_table(experiment: Experiment) -> Table:
    """Token lengths a split."""
    rows = [
        (Cell(split), *(cell(line[key], integer(line[key])) for key in
         ("rows", "tokens", "supervised_tokens", "min", "median", "p95", "max", "truncated")))
        for split, line in experiment.split_lengths().items()
    ]  # fmt: skip
    columns = figures("Rows", "Tokens", "of them learnt", "Shortest", "Median", "95th percentile", "Longest", "Cut")
    return Table((*words("Split"), *columns), tuple(rows))
