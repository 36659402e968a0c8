"""Two systems scored on the same rows: the paired difference, its interval, and tests of it.

Two things vary: the rows, which stand for all rows there could be, and the seeds of training, which stand for all seeds
there could be. The variance of a difference is the sum of both parts. The part of the rows is that of a ratio estimator,
linearised (Cochran 1977, Sampling Techniques, section 6.3), with rows that share a prompt as one cluster; the part of the
seeds is the variance of the seeds' means. The interval is Student's t with Satterthwaite's degrees of freedom (1946).
A bootstrap over few rows or few seeds gives intervals that are too narrow, which is why none is used here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from scipy.special import stdtr, stdtrit

LEVEL = 0.05  # of all tests; intervals are of 1 - LEVEL
NO_SPREAD = 1e-12  # of the mean: a smaller standard error is rounding
POWER = 0.8  # how often a test shows the smallest difference that it is said to be able to show (Cohen 1988, chapter 2)


@dataclass(frozen=True)
class Scores:
    """One system's scores: `values` (S, N), a line a seed; `seeded`: whether seeds stand for chance, as in training."""

    values: numpy.ndarray
    seeded: bool


@dataclass(frozen=True)
class Difference:
    """A paired difference, left less right, with its 95 % interval and the p-value of no difference."""

    mean: float
    low: float
    high: float
    rows: int
    p: float = math.nan
    seeds_known: bool = True  # whether the interval holds the chance of the seeds; with one trained seed it cannot
    detectable: float = math.nan  # the smallest true difference that such rows and seeds show with a chance of POWER

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out: else "no difference shown" is all that can be said."""
        return self.rows > 1 and (self.low > 0 or self.high < 0)


NOTHING = Difference(math.nan, math.nan, math.nan, 0)


def paired_difference(
    left: Scores, right: Scores, weights: numpy.ndarray, clusters: Sequence[object] | None = None
) -> Difference:
    """Weighted mean over rows of left less right, each the mean over its seeds.

    weights: (N,), supervised tokens for a loss, so that the mean equals the difference of the two losses; clusters: (N,),
    rows of the same value vary together. Rows with a score that is not finite are left out.
    """
    deltas = left.values.mean(axis=0) - right.values.mean(axis=0)  # (N,)
    finite = numpy.isfinite(deltas)
    if not finite.any():
        return NOTHING
    deltas, weights = deltas[finite], numpy.asarray(weights, dtype=float)[finite]
    total = weights.sum()
    mean = float(weights @ deltas / total)
    names = numpy.arange(len(finite)) if clusters is None else numpy.asarray(clusters, dtype=object)
    parts = [_of_rows(weights * (deltas - mean) / total, names[finite])]
    trained = [side for side in (left, right) if side.seeded]
    parts += [_of_seeds(side.values[:, finite] @ weights / total) for side in trained if len(side.values) > 1]
    known = all(len(side.values) > 1 for side in trained)
    half, p = _student(mean, parts)
    return Difference(mean, mean - half, mean + half, len(deltas), p, known, _detectable(parts))


def _of_rows(residuals: numpy.ndarray, clusters: numpy.ndarray) -> tuple[float, int]:
    """(variance, degrees of freedom) of a weighted mean. residuals: (N,), each row's share of the deviation from it."""
    _, index = numpy.unique(clusters.astype(str), return_inverse=True)
    sums = numpy.bincount(index, weights=residuals)
    free = len(sums) - 1
    return (float(sums @ sums) * len(sums) / free, free) if free else (math.inf, 1)


def _of_seeds(means: numpy.ndarray) -> tuple[float, int]:
    """(variance, degrees of freedom) of the mean over seeds. means: (S,), S > 1."""
    return float(means.var(ddof=1)) / len(means), len(means) - 1


def _student(mean: float, parts: list[tuple[float, int]], level: float = LEVEL) -> tuple[float, float]:
    """(half width of the interval, p-value of zero) of a mean whose variance is the sum of the parts; the first is of the rows.

    Where all rows differ by the same, there is no variance to test with: p is that of the sign test over the rows' clusters.
    """
    variance = sum(part for part, _ in parts)
    if math.sqrt(variance) <= NO_SPREAD * abs(mean):
        return 0.0, 1.0 if mean == 0 else 2.0 ** -parts[0][1]
    if not math.isfinite(variance):
        return math.inf, 1.0
    freedom, error = _freedom(parts), math.sqrt(variance)
    return float(stdtrit(freedom, 1 - level / 2)) * error, float(2 * stdtr(freedom, -abs(mean) / error))


def _freedom(parts: list[tuple[float, int]]) -> float:
    """Satterthwaite's degrees of freedom (1946) of a variance that is the sum of the parts, which is positive."""
    return sum(part for part, _ in parts) ** 2 / sum(part**2 / free for part, free in parts)


def _detectable(parts: list[tuple[float, int]]) -> float:
    """The smallest difference that the test shows with a chance of POWER (Cohen 1988, chapter 2); infinite for one row."""
    variance = sum(part for part, _ in parts)
    if variance == 0 or not math.isfinite(variance):
        return variance
    freedom = _freedom(parts)
    return float(stdtrit(freedom, 1 - LEVEL / 2) + stdtrit(freedom, POWER)) * math.sqrt(variance)


def ratio_interval(sums: Sequence[float], counts: Sequence[int], level: float = LEVEL) -> tuple[float, float]:
    """Interval of 1 - level, 95 %, of sum(sums) / sum(counts) over rows: the loss of rows with so many tokens. Student's t, as above."""
    sums, counts = numpy.asarray(sums, dtype=float), numpy.asarray(counts, dtype=float)
    mean = float(sums.sum() / counts.sum())
    half, _ = _student(mean, [_of_rows((sums - mean * counts) / counts.sum(), numpy.arange(len(sums)))], level)
    return mean - half, mean + half


def mcnemar(left: numpy.ndarray, right: numpy.ndarray) -> float:
    """Exact two-sided McNemar test. Args: left, right: (N,) of bool, the same rows. Returns the p-value."""
    only_left = int(numpy.sum(left & ~right))
    only_right = int(numpy.sum(~left & right))
    trials = only_left + only_right
    tail = sum(math.comb(trials, k) for k in range(min(only_left, only_right) + 1)) / 2**trials
    return min(1.0, 2 * tail)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests (Holm 1979), in the order given: the family-wise error stays at LEVEL."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
