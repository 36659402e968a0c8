"""Metrics of generated answers, computed from samples.json. The first sentence of each docstring is a definition that the
report quotes.

An answer counts once: with few prompts the figures are rough, so each stands with its number of answers, and only from
`FEWEST` answers on with an interval.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from tunebook.errors import TunebookError
from tunebook.finetuning.intervals import mean_interval, share_interval
from tunebook.reporting.metric import Better, Metric

FEWEST = 10  # answers below which an interval would pretend to know more than it does
DRAWN = 42  # words: the size of the draw of McCarthy and Jarvis (2007)
SLOWEST_S = 1.0  # seconds: longer, a regular expression will not end
REPEATED_SHARE = 0.5  # of an answer's 4-grams: from here on it "repeats itself"
Sample = dict[str, Any]  # a line of samples.json


@dataclass(frozen=True)
class Measured:
    """A metric's value, the number of answers it is over, and its 95 % interval where there is one."""

    value: float
    rows: int
    interval: tuple[float, float] | None


Of = Literal["any answer", "answers without labels", "answers with a reference"]


@dataclass(frozen=True)
class Answered:
    """A metric of answers, and how it is computed: `compute` of each answer that it is `of`, then the mean; None: elsewhere.

    `share`: each answer counts 0 or 1, so that the mean is a share.
    """

    metric: Metric
    of: Of
    share: bool = False
    compute: Callable[[Sample], float] | None = None


ANSWERS: list[Answered] = []  # in the order in which tables show them


def answer_metric(better: Better, *, of: Of, share: bool = False, title: str | None = None) -> Callable:
    """A decorator: the function is a metric, computed of each answer and averaged. Its docstring defines it."""

    def known(function: Callable[[Sample], float]) -> Callable[[Sample], float]:
        ANSWERS.append(Answered(Metric.of(function, better, title), of, share, function))
        return function

    return known


def own_metric(better: Better, *, of: Of, title: str | None = None) -> Callable:
    """A decorator: the function is a metric that is no mean over answers; `measure` or `against_references` calls it."""

    def known(function: Callable) -> Callable:
        ANSWERS.append(Answered(Metric.of(function, better, title), of))
        return function

    return known


@answer_metric(1, of="any answer", share=True)
def stop_rate(sample: Sample) -> float:
    """Share of answers that the model ended by itself, before the limit of new tokens."""
    return float(sample["stopped"])


@answer_metric(0, of="any answer", title="answer length (tokens)")
def answer_tokens(sample: Sample) -> float:
    """Mean length of the answers in new tokens, the end token not counted."""
    return float(sample["tokens"])


@answer_metric(-1, of="answers without labels")
def repetition(sample: Sample) -> float:
    """Mean over the answers of the share of an answer's 4-grams of words that occurred in it before."""
    return repeated_share(sample["completion"])


@own_metric(1, of="answers without labels", title="different words (HD-D)")
def hdd_1(samples: list[Sample]) -> float | None:
    """Expected share of different words among 42 words that are drawn at random from all answers together (HD-D, McCarthy and
    Jarvis 2007): unlike distinct-n it does not fall with the length of the answers. Fewer words have none.
    """
    return _hdd(samples, 1)


@own_metric(1, of="answers without labels", title="different word pairs (HD-D)")
def hdd_2(samples: list[Sample]) -> float | None:
    """The same of pairs of neighbouring words: expected share of different ones among 42 pairs drawn from all answers."""
    return _hdd(samples, 2)


@answer_metric(1, of="answers with a reference", title="ROUGE-L")
def rouge_l(sample: Sample) -> float:
    """Mean over the held-out answers of ROUGE-L: F1 of the longest common subsequence of words with the reference (Lin 2004)."""
    return _rouge().score(sample["reference"], sample["completion"])["rougeL"].fmeasure


@answer_metric(1, of="answers with a reference", share=True)
def exact_match(sample: Sample) -> float:
    """Share of held-out answers that equal their reference, but for case and white space."""
    return float(_normal(sample["completion"]) == _normal(sample["reference"]))


@own_metric(1, of="answers with a reference", title="key term named")
def key_term(sample: Sample, term: str) -> float:
    """Share of held-out answers that name the reference's key term, which the experiment's regular expression finds, but for
    case and white space.
    """
    return float(_normal(term) in _normal(sample["completion"]))


def found_term(pattern: str, reference: str) -> str | None:
    """The key term of a reference: the text of the pattern's group, None where it finds none.

    Raises: TunebookError: the pattern takes longer than SLOWEST_S, as nested repetitions do.
    """
    import regex  # as re, with a limit of time

    try:
        found = regex.search(pattern, reference, timeout=SLOWEST_S)
    except TimeoutError:
        raise TunebookError(
            f"key_term: {pattern!r} takes longer than {SLOWEST_S} s on a reference; leave out repetitions within repetitions"
        ) from None
    return found.group(1) if found else None


def measure(samples: list[Sample], *, labels: bool, term: str | None = None) -> dict[str, Measured]:
    """Metric -> what it is over the answers of one run; empty where there are none. Args: term: the experiment's `key_term`.

    Where the data have labels, an answer is one word and evaluation.json judges it: only whether it ends is told here.
    """
    if not samples:
        return {}
    told = _means("any answer", samples)
    if labels:
        return told
    told |= _means("answers without labels", samples)
    # No interval: rows drawn twice repeat their words, so that resampling would only show smaller values
    varied = {metric.__name__: metric(samples) for metric in (hdd_1, hdd_2)}
    told |= {name: Measured(value, len(samples), None) for name, value in varied.items() if value is not None}
    return told | against_references(samples, term)


def against_references(samples: list[Sample], term: str | None = None) -> dict[str, Measured]:
    """The metrics of answers that have a reference; empty where none has. Args: term: the experiment's `key_term`.

    Raises: TunebookError: `term` finds nothing in any reference.
    """
    answered = [sample for sample in samples if sample["reference"]]
    if not answered:
        return {}
    told = _means("answers with a reference", answered)
    if term is None:
        return told
    terms = [(sample, found) for sample in answered if (found := found_term(term, sample["reference"]))]
    if not terms:
        example = answered[0]["reference"][:80]
        raise TunebookError(
            f"key_term: {term!r} finds nothing in any of {len(answered)} references, such as {example!r}; correct it and run the "
            "study again: nothing is trained again"
        )
    named = dict(zip(map(id, (sample for sample, _ in terms)), (found for _, found in terms), strict=True))
    told["key_term"] = over_answers(
        lambda sample: key_term(sample, named[id(sample)]), [s for s, _ in terms], share=True
    )
    return told


def _means(of: Of, samples: list[Sample]) -> dict[str, Measured]:
    """Those metrics that are means over such answers."""
    return {
        one.metric.name: over_answers(one.compute, samples, share=one.share)
        for one in ANSWERS
        if one.of == of and one.compute
    }


def over_answers(metric: Callable[[Sample], float], samples: list[Sample], *, share: bool = False) -> Measured:
    """The mean of a metric over answers, with Wilson's interval for a share, else a bootstrap interval over answers."""
    values = numpy.array([metric(sample) for sample in samples])
    interval = None
    if len(values) >= FEWEST:
        interval = share_interval(int(values.sum()), len(values)) if share else mean_interval(values)
    return Measured(float(values.mean()), len(values), interval)


def repeated_share(text: str) -> float:
    """Share of an answer's 4-grams of words that occurred in it before, of 1; 0 where it has fewer than four words."""
    grams = _grams(text.split(), 4)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def repeats(text: str) -> bool:
    """Whether more than half of an answer's 4-grams of words occurred in it before."""
    return repeated_share(text) > REPEATED_SHARE


def _hdd(samples: list[Sample], n: int) -> float | None:
    """Mean over draws of DRAWN n-grams of the share of different ones: an n-gram that occurs k times among N is in a draw with
    probability 1 - C(N - k, DRAWN) / C(N, DRAWN)."""
    counts = Counter(gram for sample in samples for gram in _grams(sample["completion"].casefold().split(), n))
    total = sum(counts.values())
    if total < DRAWN:
        return None
    draws = math.comb(total, DRAWN)
    return sum(1 - math.comb(total - count, DRAWN) / draws for count in counts.values()) / DRAWN


def _grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


class _Words:
    """rouge-score's tokenizer knows Latin letters and digits only; this one takes words of any script."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


@functools.cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # here, for it takes a second to import

    return RougeScorer(["rougeL"], tokenizer=_Words())
