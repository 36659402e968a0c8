"""Methods on the same held-out rows: paired differences of their losses, and which method to choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import pandas

from tunebook.reporting.metrics import better
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.untrained import Baseline, Prompted
from tunebook.statistics.paired import Difference, Scores, paired_difference

FEW_ANSWERS = 10  # below so many answers no value is called the best
FEW_ROWS = 100  # below so many test rows a verdict says how many: intervals over few rows cover less than they say
Runs = tuple[Run | Baseline, ...]  # of one method, one a seed


def loss_difference(left: Runs, right: Runs) -> Difference:
    """Difference of two methods' losses of the text, left - right, on the test rows that both scored; rows of one prompt are
    a cluster."""
    return _difference(left, right, "text_loss", lambda run: run.scores, weight="text_tokens")


def accuracy_difference(left: Runs, right: Runs) -> Difference:
    """Difference of two methods' shares of right answers, left - right, on the test rows that both answered."""
    return _difference(left, right, "correct", lambda run: run.scores, weight=None)


def validation_difference(left: tuple[Run, ...], right: tuple[Run, ...]) -> Difference:
    """As `loss_difference`, on the validation rows, with the weights that were kept."""
    return _difference(left, right, "loss", lambda run: run.validation_scores)


def _difference(
    left: Runs, right: Runs, column: str, scores: Callable[[Run], pandas.DataFrame], weight: str | None = "tokens"
) -> Difference:
    frames = [scores(run) for run in (*left, *right)]
    both = pandas.concat([frame[column].astype(float) for frame in frames], axis=1, join="inner")
    values, rows = both.to_numpy().T, frames[0].loc[both.index]
    return paired_difference(
        Scores(values[: len(left)], seeded=_varies(left)),
        Scores(values[len(left) :], seeded=_varies(right)),
        numpy.ones(len(both)) if weight is None else rows[weight].to_numpy(),
        rows["cluster"].to_numpy() if "cluster" in rows else None,
    )


def _varies(runs: Runs) -> bool:
    """Whether the runs of a method stand for chance: the seeds of training, or draws of examples in the prompt."""
    return any(isinstance(run, Prompted) or (isinstance(run, Run) and run.training is not None) for run in runs)


def correct_pair(left: Run | Baseline, right: Run | Baseline) -> tuple[numpy.ndarray, numpy.ndarray] | None:
    """Which rows both runs got right; (N,) of bool each. None where right and wrong have no meaning."""
    frames = [run.scores for run in (left, right)]
    if any(frame["correct"].isna().any() for frame in frames):
        return None
    both = pandas.concat([frame["correct"] for frame in frames], axis=1, join="inner")
    return both.iloc[:, 0].to_numpy(dtype=bool), both.iloc[:, 1].to_numpy(dtype=bool)


def too_small(experiment: Experiment, difference: Difference) -> bool:
    """Whether a difference of losses is too small to matter, be it shown or not."""
    return abs(difference.mean) < experiment.smallest_difference


@dataclass(frozen=True)
class Choice:
    """The method to choose among several, by the rule of `choose`; losses and differences are of the validation rows."""

    method: str
    best: str  # the method of the lowest validation loss
    rivals: tuple[str, ...]  # the methods that are as good as the best, within the margin
    losses: dict[str, float]  # method -> mean of its runs' validation losses
    differences: dict[str, Difference]  # method -> loss of the method minus loss of the best


CHOICE_RULE = (
    "The method is chosen on the validation rows; the test rows take no part in the choice. Methods count as equally good "
    "as the one with the lowest validation loss when theirs is within the smallest relevant difference (the config's "
    "`smallest_relevant_difference`) of it, or is not shown to be "
    "higher (the 95 % interval of the paired difference includes zero). Of these, the one with the lowest peak memory in "
    "training is recommended. Loss and memory decide alone: what the verdicts find in the answers of the recommended "
    "method is said beside it."
)


def choose(experiment: Experiment) -> Choice | None:
    """Which method to take: of those about as good as the best on validation rows, the one that needs least memory."""
    methods = experiment.methods
    if len(methods) < 2:
        return None
    losses = {name: mean(run.training["best_validation_loss"] for run in runs) for name, runs in methods.items()}
    best = min(losses, key=losses.__getitem__)
    differences = {name: validation_difference(runs, methods[best]) for name, runs in methods.items() if name != best}
    rivals = [
        name
        for name in methods
        if name == best or losses[name] - losses[best] <= experiment.smallest_difference or differences[name].low <= 0
    ]
    memory = {name: mean(run.training["peak_memory_bytes"] for run in methods[name]) for name in rivals}
    return Choice(min(rivals, key=memory.__getitem__), best, tuple(rivals), losses, differences)


def over_seeds(runs: tuple[Run | Baseline, ...]) -> dict[str, tuple[int, float, float, float]]:
    """Metric -> number of seeds (or draws), mean, lowest and highest value over a method's runs, for the metrics that all have."""
    found = {}
    for metric in runs[0].metrics:
        values = [run.metrics.get(metric) for run in runs]
        if None not in values:
            found[metric] = (len(values), mean(values), min(values), max(values))
    return found


ROW_DIFFERENCES = {
    "text_loss": loss_difference,
    "accuracy": accuracy_difference,
}  # metrics that are compared row by row


def best_methods(experiment: Experiment, metric: str) -> tuple[str, ...]:
    """The finetuned methods of the best value of a metric; where rows are compared, those not shown to differ from it too.

    Empty where there is one method only, where the metric has no better end, or where it was measured on fewer than
    FEW_ANSWERS rows or answers.
    """
    methods = experiment.methods
    values = {name: [run.metrics.get(metric) for run in runs] for name, runs in methods.items()}
    few = any(run.rows_of(metric) < FEW_ANSWERS for run in experiment.runs)
    if len(methods) < 2 or not better(metric) or few or any(None in of_seeds for of_seeds in values.values()):
        return ()
    means = {name: mean(of_seeds) for name, of_seeds in values.items()}
    best = max(means.values(), key=lambda value: better(metric) * value)
    first = next(name for name, value in means.items() if value == best)
    differs = ROW_DIFFERENCES.get(metric)
    return tuple(
        name
        for name in methods
        if means[name] == best or (differs and not differs(methods[name], methods[first]).shown)
    )


def share_removed(base: Run, run: Run) -> float:
    """The share of the untouched model's held-out loss of the text that finetuning removed, of 1."""
    return 1 - run.text_loss / base.text_loss


def mean(values) -> float:
    """Arithmetic mean of an iterable of numbers."""
    values = list(values)
    return sum(values) / len(values)
