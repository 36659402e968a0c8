"""Metrics of generated answers, computed from samples.json. The first sentence of each docstring is a definition that the
report quotes.

An answer counts once: with few prompts the figures are rough, so each stands with its number of answers, and only from
`FEWEST` answers on with an interval.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

from tunebook.errors import TunebookError
from tunebook.finetuning.intervals import mean_interval, share_interval

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


def stop_rate(sample: Sample) -> float:
    """Share of answers that the model ended by itself, before the limit of new tokens."""
    return float(sample["stopped"])


def repetition(sample: Sample) -> float:
    """Mean over the answers of the share of an answer's 4-grams of words that occurred in it before."""
    return repeated_share(sample["completion"])


def answer_tokens(sample: Sample) -> float:
    """Mean length of the answers in new tokens, the end token not counted."""
    return float(sample["tokens"])


def rouge_l(sample: Sample) -> float:
    """Mean over the held-out answers of ROUGE-L: F1 of the longest common subsequence of words with the reference (Lin 2004)."""
    return _rouge().score(sample["reference"], sample["completion"])["rougeL"].fmeasure


def exact_match(sample: Sample) -> float:
    """Share of held-out answers that equal their reference, but for case and white space."""
    return float(_normal(sample["completion"]) == _normal(sample["reference"]))


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


def hdd_1(samples: list[Sample]) -> float | None:
    """Expected share of different words among 42 words that are drawn at random from all answers together (HD-D, McCarthy and
    Jarvis 2007): unlike distinct-n it does not fall with the length of the answers. Fewer words have none.
    """
    return _hdd(samples, 1)


def hdd_2(samples: list[Sample]) -> float | None:
    """The same of pairs of neighbouring words: expected share of different ones among 42 pairs drawn from all answers."""
    return _hdd(samples, 2)


def definitions() -> dict[str, str]:
    """Metric -> the sentence that defines it."""
    named = ("stop_rate", "repetition", "hdd_1", "hdd_2", "answer_tokens", "rouge_l", "exact_match", "key_term")
    module = sys.modules[__name__]
    return {name: inspect.getdoc(getattr(module, name)).split("\n\n")[0].replace("\n", " ") for name in named}


def measure(samples: list[Sample], *, labels: bool, term: str | None = None) -> dict[str, Measured]:
    """Metric -> what it is over the answers of one run; empty where there are none. Args: term: the experiment's `key_term`.

    Where the data have labels, an answer is one word and evaluation.json judges it: only whether it ends is told here.
    """
    if not samples:
        return {}
    told = {
        "stop_rate": over_answers(stop_rate, samples, share=True),
        "answer_tokens": over_answers(answer_tokens, samples),
    }
    if labels:
        return told
    told["repetition"] = over_answers(repetition, samples)
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
    told = {
        "rouge_l": over_answers(rouge_l, answered),
        "exact_match": over_answers(exact_match, answered, share=True),
    }
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
