"""95 % intervals over rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy

from tunebook.statistics.paired import ratio_interval

RESAMPLES = 2000
CONFIDENCE = 0.95


def middle(values: Sequence[float] | numpy.ndarray) -> tuple[float, float]:
    """The limits of the middle 95 % of resampled values."""
    low, high = numpy.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def loss_interval(losses: list[float], tokens: list[int]) -> tuple[float, float]:
    """95 % interval of the loss over rows. losses: summed over each row's tokens."""
    return ratio_interval(losses, tokens)


def mean_interval(values: numpy.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over rows, seeded."""
    drawn = numpy.random.default_rng(0).integers(0, len(values), size=(RESAMPLES, len(values)))
    return middle(values[drawn].mean(axis=1))


def share_interval(hits: int, rows: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share, z = hits / rows, NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle, half = share + z**2 / (2 * rows), z * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    low, high = ((middle + sign * half) / (1 + z**2 / rows) for sign in (-1, 1))
    return max(low, 0.0) if hits else 0.0, min(high, 1.0) if hits < rows else 1.0


def difference_interval(hits: int, rows: int, other_hits: int, other_rows: int) -> tuple[float, float]:
    """95 % interval of the difference of two shares of different rows, from their Wilson intervals (Newcombe 1998, method 10)."""
    one, other = hits / rows, other_hits / other_rows
    (low, high), (other_low, other_high) = share_interval(hits, rows), share_interval(other_hits, other_rows)
    return (
        one - other - math.hypot(one - low, other_high - other),
        one - other + math.hypot(high - one, other - other_low),
    )
