"""What a run's history says: smoothed losses, losses by epoch, and the training between two validations."""

from __future__ import annotations

import math

import numpy
import pandas

SMOOTHING_SHARE = 0.05  # of the run's logged steps, on each side of a point
RUNNING_MEAN = f"a step and {100 * SMOOTHING_SHARE:g} % of the run's logged steps on either side"
EPOCH_SLACK = 1e-6  # epochs are fractions of steps: 0.9999999 is the end of epoch 1
SAME_EPOCH = 0.01  # losses of two runs are of the same epoch within this part of one: a last batch may be a short one


def same_epoch(one: float, other: float) -> bool:
    """Whether losses measured after so many epochs of two runs may be set side by side."""
    return abs(one - other) <= SAME_EPOCH


def split_rows(history: pandas.DataFrame, split: str) -> pandas.DataFrame:
    """The rows of one split ("train" or "validation") by step, with a fresh index."""
    return history[history["split"] == split].sort_values("step", kind="stable").reset_index(drop=True)


def smooth(values: numpy.ndarray) -> numpy.ndarray:
    """Centred running mean over `SMOOTHING_SHARE` of the points on each side, at least one. (N,) -> (N,)"""
    reach = max(1, round(SMOOTHING_SHARE * len(values)))
    series = pandas.Series(values, dtype=float)
    return series.rolling(2 * reach + 1, center=True, min_periods=1).mean().to_numpy()


def token_weights(rows: pandas.DataFrame) -> numpy.ndarray:
    """Supervised tokens of each logged training row: the steps of the running count `tokens`. (N,)"""
    tokens = numpy.diff(rows["tokens"].to_numpy(dtype=float), prepend=0.0)
    return tokens if len(tokens) and numpy.all(tokens > 0) else numpy.ones(len(rows))


def mean_loss(rows: pandas.DataFrame, chosen: numpy.ndarray, weights: numpy.ndarray) -> float:
    """Token-weighted mean of the training loss over the chosen rows; NaN where there are none."""
    return float(numpy.average(rows["loss"][chosen], weights=weights[chosen])) if chosen.any() else math.nan


def by_epoch(history: pandas.DataFrame) -> pandas.DataFrame:
    """One line an epoch, the last possibly a part of one: epoch, training_loss, validation_loss, gap (nats a token).

    The training loss is the token-weighted mean over the epoch, the validation loss the last one measured in it, the
    gap is validation minus training.
    """
    train, validation = split_rows(history, "train"), split_rows(history, "validation")
    weights = token_weights(train)
    end = float(history["epoch"].max())
    lines = []
    for epoch in range(1, max(1, math.ceil(end - EPOCH_SLACK)) + 1):
        until = min(float(epoch), end)
        inside = _inside(train["epoch"], epoch - 1, epoch)
        measured = validation[_inside(validation["epoch"], epoch - 1, epoch)]
        training_loss = mean_loss(train, inside, weights)
        validation_loss = float(measured["loss"].iloc[-1]) if len(measured) else math.nan
        lines.append((until, training_loss, validation_loss, validation_loss - training_loss))
    return pandas.DataFrame(lines, columns=["epoch", "training_loss", "validation_loss", "gap"])


def between_validations(history: pandas.DataFrame) -> pandas.DataFrame:
    """One line a validation: step, epoch, validation_loss and what training did since the one before.

    Columns: step, epoch, training_loss (nats a token, mean), validation_loss, grad_norm (mean), grad_norm_max,
    learning_rate (at the end).
    """
    train, validation = split_rows(history, "train"), split_rows(history, "validation")
    weights = token_weights(train)
    lines, previous = [], 0
    for point in validation.itertuples():
        inside = ((train["step"] > previous) & (train["step"] <= point.step)).to_numpy()
        rows = train[inside]
        lines.append(
            {
                "step": int(point.step),
                "epoch": float(point.epoch),
                "training_loss": mean_loss(train, inside, weights),
                "validation_loss": float(point.loss),
                "grad_norm": float(rows["grad_norm"].mean()) if len(rows) else math.nan,
                "grad_norm_max": float(rows["grad_norm"].max()) if len(rows) else math.nan,
                "learning_rate": float(rows["learning_rate"].iloc[-1]) if len(rows) else math.nan,
            }
        )
        previous = point.step
    return pandas.DataFrame(lines)


def _inside(epochs: pandas.Series, after: float, until: float) -> numpy.ndarray:
    """Which rows lie in the epoch that ends at `until`; (N,) of bool."""
    return ((epochs > after + EPOCH_SLACK) & (epochs <= until + EPOCH_SLACK)).to_numpy()
