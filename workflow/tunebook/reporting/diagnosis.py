"""Verdicts on a run by stated rules: pure functions of its history and of its data's figures.

Each rule stands once, in `RULES`, with its threshold and the sentence that the report's method page quotes; each
verdict names its rule and the figures it saw. The thresholds are this project's choice: they are conventions, not laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import pandas

from tunebook.finetuning.intervals import share_interval
from tunebook.reporting.curves import smooth, split_rows
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.text_metrics import Sample, repeats
from tunebook.reporting.typeset import THIN, fixed, integer, percent, plain, signed
from tunebook.statistics.paired import Difference, Scores, paired_difference

FEWEST_ANSWERS = 2  # one bad answer is no habit
HABIT = 0.1  # a share of bad answers that chance alone may bring about; a verdict needs an interval above it


@dataclass(frozen=True)
class Rule:
    """A rule that a reader can check: what is compared with which threshold."""

    title: str
    threshold: float
    sentence: str
    floor: float = 0.0  # nats a token: smaller changes are noise where losses are close to zero

    @property
    def stated(self) -> str:
        """The rule's sentence with its threshold in place (as a percentage where the sentence asks for one)."""
        return self.sentence.format(
            share=f"{plain(100 * self.threshold)}{THIN}%",
            value=plain(self.threshold),
            floor=plain(self.floor),
            fewest=FEWEST_ANSWERS,
            habit=f"{plain(100 * HABIT)}{THIN}%",
        )


RULES = {
    "divergence": Rule(
        "Divergence",
        1.1,
        "A run diverges when a logged loss is not finite, or when its last validation loss is more than {value} times "
        "its first, which is measured before training.",
    ),
    "overfitting": Rule(
        "Overfitting",
        0.02,
        "A run overfits when its validation loss reached its minimum before the end of training and ends more than "
        "{share}, and more than {floor} nats a token, above it, and the 95 % interval of the paired difference over the "
        "validation rows leaves out zero.",
        floor=0.01,
    ),
    "underfitting": Rule(
        "Could have gone on",
        0.02,
        "A run could have gone on when its last validation loss is its lowest and is more than {share}, and more than "
        "{floor} nats a token, below the last one that was measured within the first three quarters of the steps, and "
        "the 95 % interval of the paired difference over the validation rows leaves out zero.",
        floor=0.01,
    ),
    "rate_high": Rule(
        "Learning rate too high",
        0.05,
        "The learning rate looks too high when, during the first half of the steps, validation loss rises more than "
        "{share}, and more than {floor} nats a token, above its first value.",
        floor=0.01,
    ),
    "rate_low": Rule(
        "Learning rate too low",
        0.02,
        "The learning rate looks too low when validation loss never fell by more than {share} below its first value and "
        "was lowest at the end.",
    ),
    "volatility": Rule(
        "Volatile training loss",
        0.25,
        "The training loss is volatile when, over the second half of the steps, it scatters around its running mean "
        "with a standard deviation above {share} of that mean and above {floor} nats a token; small batches of short "
        "rows are the usual cause.",
        floor=0.1,
    ),
    "truncation": Rule(
        "Truncated rows",
        0.05,
        "Data are truncated too much when more than {share} of an experiment's training rows are longer than its "
        "maximum length.",
    ),
    "leakage": Rule(
        "Leaked rows",
        0.0,
        "Rows leak when any held-out row has a copy or near-copy (similarity at or above the data set's declared "
        "threshold) among the training rows.",
    ),
    "repetition": Rule(
        "Answers that repeat themselves",
        0.2,
        "An answer repeats itself when over half of its 4-grams of words stood in it before. A run's answers repeat "
        "themselves when at least {share} of them, and {fewest} or more, do and the 95 % interval of that share (Wilson 1927) lies above "
        "{habit}. All answers in samples.json count.",
    ),
    "endless": Rule(
        "Answers without an end",
        0.2,
        "A run's answers lack an end when at least {share} of them, and {fewest} or more, are cut at the limit of new tokens and the 95 % "
        "interval of that share lies above {habit}. Where the data's own answers are longer than that limit this is no fault.",
    ),
}
GRAVE = (
    "divergence",
    "leakage",
    "overfitting",
    "rate_high",
    "repetition",
)  # the others inform, and need no mending as such
SEVERITY = (
    "divergence", "leakage", "overfitting", "repetition", "rate_high", "rate_low", "endless", "truncation",
    "underfitting", "volatility",
)  # fmt: skip
OF_ANSWERS = ("repetition", "endless")  # what a loss does not show


@dataclass(frozen=True)
class Verdict:
    """What one rule says of one run. `found` is None where the run holds too few figures to tell."""

    rule: str
    found: bool | None
    phrase: str  # two or three words for a table's cell; empty unless found
    figures: str  # the numbers that the rule saw, as a sentence

    @property
    def title(self) -> str:
        return RULES[self.rule].title

    @property
    def grave(self) -> bool:
        return self.rule in GRAVE


def diagnose_run(experiment: Experiment, run: Run) -> tuple[Verdict, ...]:
    """`diagnose` with everything that a study's folder holds of a run."""
    return diagnose(
        run.history,
        run.epochs,
        experiment.lengths["train"],
        experiment.profile,
        validation=run.validation,
        validated=validated_words(experiment, run),
        samples=run.samples(),
        before=experiment.base.samples(),
    )


def validated_words(experiment: Experiment, run: Run) -> str:
    """Which rows a run's validation losses are over, in words."""
    used, rows = experiment.validated_rows(run), experiment.lengths["validation"]["rows"]
    return f"{'all' if used == rows else f'the first {integer(used)} of'} {integer(rows)} validation rows"


def diagnose(
    history: pandas.DataFrame,
    epochs: pandas.DataFrame,
    lengths: dict[str, Any],
    profile: dict[str, Any],
    *,
    validation: pandas.DataFrame,
    validated: str = "the validation rows",
    samples: Sequence[Sample] = (),
    before: Sequence[Sample] = (),
) -> tuple[Verdict, ...]:
    """All verdicts on a run, the gravest rule first.

    Args: history: history.csv; epochs: `curves.by_epoch` of it; lengths: the training split's entry of lengths.json;
    profile: profile.json; validation: validation.parquet; validated: what validation losses are over; samples, before: samples.json of the run and of the
    untouched model.
    """
    train, points = split_rows(history, "train"), split_rows(history, "validation")
    steps, losses = points["step"].to_numpy(), points["loss"].to_numpy(dtype=float)
    training = train["loss"].to_numpy(dtype=float)
    verdicts = (
        divergence(training, losses),
        overfitting(steps, points["epoch"].to_numpy(dtype=float), losses, epochs, validation, validated),
        underfitting(steps, losses, validation),
        rate_high(steps, losses),
        rate_low(losses),
        volatility(training),
        truncation(lengths["rows"], lengths["truncated"]),
        leakage(profile),
        repetition(samples, before),
        endless(samples, before),
    )
    return tuple(sorted(verdicts, key=lambda verdict: SEVERITY.index(verdict.rule)))


def divergence(training: numpy.ndarray, validation: numpy.ndarray) -> Verdict:
    """Args: training: (N,) and validation: (V,) losses in nats a token, by step."""
    broken = int(numpy.sum(~numpy.isfinite(training)) + numpy.sum(~numpy.isfinite(validation)))
    if broken:
        return Verdict("divergence", True, "diverged", f"{integer(broken)} logged losses are not finite.")
    if len(validation) < 2:
        return Verdict("divergence", None, "", "Validation loss was measured fewer than two times.")
    found = bool(validation[-1] > RULES["divergence"].threshold * validation[0])
    figures = f"All losses are finite; validation loss goes from {fixed(validation[0])} to {fixed(validation[-1])}."
    return Verdict("divergence", found, "diverged" if found else "", figures)


def overfitting(
    steps: numpy.ndarray,
    epochs: numpy.ndarray,
    losses: numpy.ndarray,
    epoch_table: pandas.DataFrame,
    rows: pandas.DataFrame,
    validated: str,
) -> Verdict:
    """Args: steps, epochs, losses: (V,) at each validation; epoch_table: `curves.by_epoch`; rows: validation.parquet;
    validated: what losses are over."""
    if len(losses) < 2:
        return Verdict("overfitting", None, "", "Validation loss was measured fewer than two times.")
    best = int(numpy.nanargmin(losses))
    rise = losses[-1] / losses[best] - 1
    change = validation_change(rows, steps[best], steps[-1])
    beyond = best < len(losses) - 1 and _beyond(RULES["overfitting"], losses[-1] - losses[best], losses[best])
    found = beyond and change.low > 0
    epoch = plain(round(epochs[best], 2))
    where = f"{fixed(losses[best])} at step {integer(steps[best])} (epoch {epoch})"
    if best == len(losses) - 1:
        figures = f"Validation loss is lowest at the end: {where}."
    else:
        figures = (
            f"Validation loss is lowest, {where}, {integer(steps[-1] - steps[best])} steps before the end, and ends "
            f"{percent(rise, 2)} higher at {fixed(losses[-1])}."
        )
    figures += f" It is over {validated}."
    if beyond:
        figures += f" The 95 % interval of the rise over these rows is {signed(change.low)} to {signed(change.high)}."
    gaps = [f"{fixed(line.gap, 2)} (epoch {plain(round(line.epoch, 2))})" for line in epoch_table.dropna().itertuples()]
    if gaps:
        figures += f" Gap between validation and training loss: {', '.join(gaps)}."
    phrase = f"overfits after epoch {epoch}, whose weights are the ones kept and scored" if found else ""
    return Verdict("overfitting", found, phrase, figures)


def validation_change(rows: pandas.DataFrame, before: int, after: int) -> Difference:
    """Loss at step `after` less loss at step `before`, paired over the validation rows. Args: rows: validation.parquet."""
    losses = rows.pivot(index="row", columns="step", values="loss")
    tokens = rows[rows["step"] == after].set_index("row")["tokens"].loc[losses.index]
    sides = (Scores(losses[step].to_numpy()[None], seeded=False) for step in (after, before))
    return paired_difference(*sides, tokens.to_numpy())


def underfitting(steps: numpy.ndarray, losses: numpy.ndarray, rows: pandas.DataFrame) -> Verdict:
    """Args: steps, losses: (V,) at each validation; rows: validation.parquet."""
    if len(losses) < 3:
        return Verdict("underfitting", None, "", "Validation loss was measured fewer than three times.")
    since = int(numpy.flatnonzero(steps <= 0.75 * steps[-1])[-1])
    start = losses[since]
    fall = 1 - losses[-1] / start
    found = bool(losses[-1] <= losses.min()) and _beyond(RULES["underfitting"], start - losses[-1], start)
    found = found and validation_change(rows, steps[since], steps[-1]).high < 0
    direction = f"fell by {percent(fall, 2)}" if fall >= 0 else f"rose by {percent(-fall, 2)}"
    figures = (
        f"Between the validations at steps {integer(steps[since])} and {integer(steps[-1])} the loss {direction}, from "
        f"{fixed(start)} to {fixed(losses[-1])}."
    )
    return Verdict("underfitting", found, "still improving" if found else "", figures)


def rate_high(steps: numpy.ndarray, losses: numpy.ndarray) -> Verdict:
    """Args: steps, losses: (V,) at each validation, the first before training."""
    early = losses[1:][steps[1:] <= steps[-1] / 2] if len(losses) else losses
    if not numpy.isfinite(early).any():
        return Verdict("rate_high", None, "", "Validation loss was not measured in the first half of the steps.")
    climb = float(numpy.nanmax(early) - losses[0])
    figures = (
        f"Validation loss starts at {fixed(losses[0])}; its highest value in the first half is {fixed(early.max())}."
    )
    found = _beyond(RULES["rate_high"], climb, losses[0])
    return Verdict("rate_high", found, "learning rate too high" if found else "", figures)


def _beyond(rule: Rule, change: float, reference: float) -> bool:
    """Whether a change of a loss passes the rule's threshold, as a share of the reference, and its floor."""
    return bool(change > rule.threshold * reference and change > rule.floor)


def rate_low(losses: numpy.ndarray) -> Verdict:
    """Args: losses: (V,) validation losses in nats a token, by step."""
    if len(losses) < 2:
        return Verdict("rate_low", None, "", "Validation loss was measured fewer than two times.")
    fall = 1 - losses.min() / losses[0]
    found = bool(fall <= RULES["rate_low"].threshold and losses.argmin() == len(losses) - 1)
    figures = f"Validation loss fell by at most {percent(fall, 2)} from its first value, {fixed(losses[0])}."
    return Verdict("rate_low", found, "learning rate too low" if found else "", figures)


def volatility(training: numpy.ndarray) -> Verdict:
    """Args: training: (N,) losses in nats a token, by step."""
    if len(training) < 8 or not numpy.isfinite(training).all():
        return Verdict("volatility", None, "", "Too few finite training losses were logged to tell.")
    half = len(training) // 2
    curve = smooth(training)
    scatter, level = float(numpy.std((training - curve)[half:])), float(numpy.mean(curve[half:]))
    found = _beyond(RULES["volatility"], scatter, level)
    figures = (
        f"Over the second half the training loss scatters by {fixed(scatter)} around {fixed(level)} "
        f"({percent(scatter / level, 2)})."
    )
    return Verdict("volatility", found, "volatile loss" if found else "", figures)


def truncation(rows: int, truncated: int) -> Verdict:
    """Args: rows: training rows; truncated: those longer than the maximum length."""
    share = truncated / rows if rows else 0.0
    figures = f"{integer(truncated)} of {integer(rows)} training rows were cut ({percent(share, 2)})."
    found = share > RULES["truncation"].threshold
    return Verdict("truncation", found, "rows truncated" if found else "", figures)


def leakage(profile: dict[str, Any]) -> Verdict:
    """Args: profile: profile.json with crossing_copies and heldout_nearest_similarity."""
    copies = profile["crossing_copies"]
    nearest = profile["heldout_nearest_similarity"]
    figures = (
        f"{integer(copies)} held-out rows have a near-copy in the training rows; the likeness of a held-out row to its "
        f"nearest training row is {fixed(nearest['median'], 2)} at the median, {fixed(nearest['p95'], 2)} at the 95th "
        f"percentile and {fixed(nearest['max'], 2)} at most (declared threshold {profile['near_duplicate_threshold']})."
    )
    return Verdict("leakage", copies > RULES["leakage"].threshold, "leaked rows" if copies else "", figures)


def repetition(samples: Sequence[Sample], before: Sequence[Sample]) -> Verdict:
    """Args: samples, before: the run's answers and the untouched model's."""
    return _of_answers(
        "repetition", "repeat themselves", *([repeats(s["completion"]) for s in x] for x in (samples, before))
    )


def endless(samples: Sequence[Sample], before: Sequence[Sample]) -> Verdict:
    """Args: samples, before: the run's answers and the untouched model's."""
    return _of_answers("endless", "do not end", *([not s["stopped"] for s in x] for x in (samples, before)))


def _of_answers(rule: str, words: str, bad: list[bool], bad_before: list[bool]) -> Verdict:
    """Args: bad, bad_before: of which answers the words hold, after finetuning and before."""
    if not bad:
        return Verdict(rule, None, "", "The run answered nothing.")
    told = f"{sum(bad)} of {len(bad)} answers {words}"
    enough = sum(bad) >= max(FEWEST_ANSWERS, RULES[rule].threshold * len(bad))
    found = enough and share_interval(sum(bad), len(bad))[0] > HABIT
    figures = f"{told} (the untouched model: {sum(bad_before)} of {len(bad_before)})."
    return Verdict(rule, found, told if found else "", figures)
