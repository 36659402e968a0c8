"""Two runs on the same held-out rows: paired differences, what they show, and which method to choose.

Intervals are 95 % percentile bootstrap intervals over rows (Efron & Tibshirani 1993, chapter 13), seeded, so that the
same predictions always give the same words.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy
import pandas

from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.untrained import Baseline, Prompted

RESAMPLES = 2000
BOOTSTRAP_SEED = 20231
FEW_ROWS = 50  # below so many test rows a verdict says how many: bootstrap intervals of few rows are too narrow
CHOICE_MARGIN = 0.02  # nats a token: a smaller loss of quality is not worth a larger machine
HIGHER_IS_BETTER = (
    "accuracy", "macro_f1", "exact_match", "rouge_l", "likelihood_accuracy", "likelihood_macro_f1", "stop_rate",
    "hdd_1", "hdd_2",
)  # fmt: skip
LOWER_IS_BETTER = (
    "text_loss", "loss", "perplexity", "bits_per_byte", "invalid_rate", "invalid_answer_rate", "repetition", "neutral_loss",
    "neutral_loss_untrained", "verbatim_training", "verbatim_difference",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A paired difference of losses over rows, in nats a token, with its 95 % interval."""

    mean: float
    low: float
    high: float
    rows: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out: else "no difference shown" is all that can be said."""
        return self.rows > 1 and (self.low > 0 or self.high < 0)


def paired_difference(left: numpy.ndarray, right: numpy.ndarray, tokens: numpy.ndarray) -> Difference:
    """Token-weighted mean of left - right over rows, so that it equals the difference of the two runs' losses.

    Args: left, right: (N,) losses of the same rows in the same order, nats a token; tokens: (N,) supervised tokens.
    """
    deltas = numpy.asarray(left, dtype=float) - numpy.asarray(right, dtype=float)
    weights = numpy.asarray(tokens, dtype=float)
    finite = numpy.isfinite(deltas)
    deltas, weights = deltas[finite], weights[finite]
    if len(deltas) == 0:
        return Difference(math.nan, math.nan, math.nan, 0)
    drawn = _resamples(len(deltas))
    means = (drawn @ (weights * deltas)) / (drawn @ weights)  # (RESAMPLES, N) @ (N,) -> (RESAMPLES,)
    low, high = numpy.percentile(means, [2.5, 97.5])
    return Difference(float(numpy.average(deltas, weights=weights)), float(low), float(high), len(deltas))


@functools.lru_cache(maxsize=8)
def _resamples(rows: int) -> numpy.ndarray:
    """How often each row is drawn in each resample with replacement: (RESAMPLES, rows)."""
    generator = numpy.random.default_rng(BOOTSTRAP_SEED)
    return generator.multinomial(rows, numpy.full(rows, 1 / rows), size=RESAMPLES).astype(float)


def mcnemar(left: numpy.ndarray, right: numpy.ndarray) -> float:
    """Exact two-sided McNemar test. Args: left, right: (N,) of bool, the same rows. Returns the p-value."""
    only_left = int(numpy.sum(left & ~right))
    only_right = int(numpy.sum(~left & right))
    trials = only_left + only_right
    tail = sum(math.comb(trials, k) for k in range(min(only_left, only_right) + 1)) / 2**trials
    return min(1.0, 2 * tail)


def row_losses(runs: tuple[Run | Prompted, ...]) -> pandas.DataFrame:
    """Each held-out row's loss of the text in nats a token, averaged over the runs (one a seed, or a draw of examples), and
    its tokens; index: row."""
    frames = [run.scores for run in runs]
    losses = pandas.concat([frame["text_loss"] for frame in frames], axis=1).mean(axis=1)
    return pandas.DataFrame({"loss": losses, "tokens": frames[0]["text_tokens"]})


def loss_difference(left: tuple[Run | Prompted, ...], right: tuple[Run | Prompted, ...]) -> Difference:
    """Difference of two methods' losses of the text, left - right, on the rows that both scored."""
    both = row_losses(left).join(row_losses(right)["loss"].rename("loss_right"), how="inner")
    return paired_difference(both["loss"].to_numpy(), both["loss_right"].to_numpy(), both["tokens"].to_numpy())


def correct_pair(left: Run | Baseline, right: Run | Baseline) -> tuple[numpy.ndarray, numpy.ndarray] | None:
    """Which rows both runs got right; (N,) of bool each. None where right and wrong have no meaning."""
    frames = [run.scores for run in (left, right)]
    if any(frame["correct"].isna().any() for frame in frames):
        return None
    both = pandas.concat([frame["correct"] for frame in frames], axis=1, join="inner")
    return both.iloc[:, 0].to_numpy(dtype=bool), both.iloc[:, 1].to_numpy(dtype=bool)


@dataclass(frozen=True)
class Choice:
    """The method to choose among several, by the rule of `choose`."""

    method: str
    best: str  # the method of the lowest held-out loss
    rivals: tuple[str, ...]  # the methods that are as good as the best, within the margin
    differences: dict[str, Difference]  # method -> loss of the method minus loss of the best


CHOICE_RULE = (
    "Among the methods of an experiment, those whose held-out loss of the text is within {margin} nats a token of the lowest, or is "
    "not shown to be higher than it (the 95 % interval of the paired difference over rows includes zero), count as "
    "equally good; of these, the one with the lowest peak memory in training is recommended. Loss and memory decide alone: "
    "what the verdicts find in the answers of the recommended method is said beside it."
)


def choose(experiment: Experiment) -> Choice | None:
    """Which method to take: of those about as good as the best, the one that needs least memory to train."""
    methods = experiment.methods
    if len(methods) < 2:
        return None
    losses = {name: mean(run.text_loss for run in runs) for name, runs in methods.items()}
    best = min(losses, key=losses.__getitem__)
    differences = {name: loss_difference(runs, methods[best]) for name, runs in methods.items() if name != best}
    rivals = [
        name
        for name in methods
        if name == best or losses[name] - losses[best] <= CHOICE_MARGIN or differences[name].low <= 0
    ]
    memory = {name: mean(run.training["peak_memory_bytes"] for run in methods[name]) for name in rivals}
    return Choice(min(rivals, key=memory.__getitem__), best, tuple(rivals), differences)


def over_seeds(runs: tuple[Run | Baseline, ...]) -> dict[str, tuple[int, float, float, float]]:
    """Metric -> number of seeds (or draws), mean, lowest and highest value over a method's runs, for the metrics that all have."""
    found = {}
    for metric in runs[0].metrics:
        values = [run.metrics.get(metric) for run in runs]
        if None not in values:
            found[metric] = (len(values), mean(values), min(values), max(values))
    return found


def share_removed(base: Run, run: Run) -> float:
    """The share of the untouched model's held-out loss of the text that finetuning removed, of 1."""
    return 1 - run.text_loss / base.text_loss


def mean(values) -> float:
    """Arithmetic mean of an iterable of numbers."""
    values = list(values)
    return sum(values) / len(values)


def better(metric: str) -> int:
    """+1 where a higher value is better, -1 where a lower one is, 0 where neither."""
    return (metric in HIGHER_IS_BETTER) - (metric in LOWER_IS_BETTER)
