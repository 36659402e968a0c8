"""Metrics. The first sentence of each function's docstring is its definition; the report quotes it."""

from __future__ import annotations

import inspect
import math
import sys
from typing import Any

import numpy

from tunebook.finetuning.intervals import RESAMPLES, difference_interval, middle, share_interval

NO_LABEL = "no label"


def _sklearn() -> Any:
    """scikit-learn's metrics, whose import takes a second: only where there are labels."""
    from sklearn import metrics

    return metrics


def loss(losses: list[float], tokens: list[int]) -> float:
    """Negative log-likelihood of the held-out rows, in nats a supervised token: summed over all tokens, divided by
    their number.
    """
    return float(sum(losses) / sum(tokens))


def perplexity(loss: float) -> float:
    """The exponential of the loss: how many equally likely tokens the model is in doubt between."""
    return float(math.exp(min(loss, 700.0)))


def bits_per_byte(losses: list[float], texts: list[str]) -> float:
    """The summed loss in bits, divided by the UTF-8 bytes of the supervised text: comparable between tokenizers."""
    return float(sum(losses) / math.log(2) / sum(len(text.encode()) for text in texts))


def accuracy(labels: list[str], answers: list[str]) -> float:
    """Share of held-out rows whose answer is the row's label; an answer that is no label is wrong."""
    return sum(label == answer for label, answer in zip(labels, answers, strict=True)) / len(labels)


def macro_f1(labels: list[str], answers: list[str], names: list[str]) -> float:
    """Mean over the labels of F1, the harmonic mean of precision and recall: each label counts the same, however rare."""
    return float(_sklearn().f1_score(labels, answers, labels=names, average="macro", zero_division=0.0))


def invalid_answer_rate(answers: list[str]) -> float:
    """Share of answers that are none of the labels."""
    return answers.count(NO_LABEL) / len(answers)


def likelihood_accuracy(labels: list[str], likeliest: list[str]) -> float:
    """Share of held-out rows whose label is, among the labels, the likeliest completion: no answer is generated, none
    is invalid.
    """
    return accuracy(labels, likeliest)


def likelihood_macro_f1(labels: list[str], likeliest: list[str], names: list[str]) -> float:
    """Macro-F1 of the likeliest labels: the completion with the highest probability, multiplied over its tokens."""
    return macro_f1(labels, likeliest, names)


def neutral_loss(losses: list[float], tokens: list[int]) -> float:
    """Loss on a fixed text of six plain paragraphs, written for this project, that stand in no data set: where it
    rises, finetuning made the model forget. It is one text and no sample of texts, and so has no interval.
    """
    return loss(losses, tokens)


def verbatim_training(completed: list[bool]) -> float:
    """Share of training rows that the model completes verbatim: given the first half of what is learnt, it goes on
    greedily with exactly the tokens that follow, 32 of them at most (after Carlini et al. 2023).
    """
    return sum(completed) / len(completed)


def verbatim_heldout(completed: list[bool]) -> float:
    """Share of test rows that the model completes verbatim in the same way, though it was not trained on them: what can
    be guessed, or was known before.
    """
    return sum(completed) / len(completed)


def verbatim_difference(training: list[bool], heldout: list[bool]) -> float:
    """Share of training rows less share of test rows completed verbatim: what was memorised in training. Its interval
    is Newcombe's (1998, method 10).
    """
    return verbatim_training(training) - verbatim_heldout(heldout)


def add_memorisation(record: dict[str, Any], training: list[bool], heldout: list[bool]) -> None:
    """Add what `memorisation.completed` found on both splits to the content of evaluation.json."""
    record["metrics"] |= {
        "verbatim_training": verbatim_training(training),
        "verbatim_heldout": verbatim_heldout(heldout),
        "verbatim_difference": verbatim_difference(training, heldout),
    }
    record["intervals"] |= {
        "verbatim_training": share_interval(sum(training), len(training)),
        "verbatim_heldout": share_interval(sum(heldout), len(heldout)),
        "verbatim_difference": difference_interval(sum(training), len(training), sum(heldout), len(heldout)),
    }
    record["metric_rows"] |= {
        "verbatim_training": len(training),
        "verbatim_heldout": len(heldout),
        "verbatim_difference": len(training) + len(heldout),
    }


def definitions() -> dict[str, str]:
    """Metric -> the sentence that defines it."""
    module = sys.modules[__name__]
    named = (
        "loss", "perplexity", "bits_per_byte", "accuracy", "macro_f1", "invalid_answer_rate", "likelihood_accuracy",
        "likelihood_macro_f1", "neutral_loss", "verbatim_training", "verbatim_heldout", "verbatim_difference",
    )  # fmt: skip
    return {name: inspect.getdoc(getattr(module, name)).split("\n\n")[0].replace("\n", " ") for name in named}


def per_label(labels: list[str], answers: list[str], names: list[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of rows of each label."""
    columns = _sklearn().precision_recall_fscore_support(labels, answers, labels=names, zero_division=0.0)
    keys = ("precision", "recall", "f1", "support")
    return {
        name: {
            key: float(column[at]) if key != "support" else int(column[at])
            for key, column in zip(keys, columns, strict=True)
        }
        for at, name in enumerate(names)
    }


def confusion(labels: list[str], answers: list[str], names: list[str]) -> list[list[int]]:
    """Rows: true label; columns: the labels, then answers that are no label."""
    matrix = _sklearn().confusion_matrix(labels, answers, labels=[*names, NO_LABEL])
    return matrix[: len(names)].tolist()


def label_of(answer: str, names: list[str]) -> str:
    """The label that an answer is, but for case and outer white space; else `no label`."""
    cleaned = answer.strip().casefold()
    return next((name for name in names if name.casefold() == cleaned), NO_LABEL)


def macro_f1_interval(labels: list[str], answers: list[str], names: list[str]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of macro-F1 over rows, seeded."""
    generator = numpy.random.default_rng(0)
    counts = numpy.asarray(confusion(labels, answers, names), dtype=float)
    cells = numpy.repeat(numpy.arange(counts.size), counts.astype(int).ravel())
    values = []
    for _ in range(RESAMPLES):
        drawn = numpy.bincount(generator.choice(cells, len(cells)), minlength=counts.size).reshape(counts.shape)
        hits, true, answered = numpy.diag(drawn), drawn.sum(axis=1), drawn.sum(axis=0)[: len(names)]
        values.append(numpy.mean(2 * hits / numpy.maximum(true + answered, 1)))
    return middle(values)


def label_record(labels: list[str], given: list[str], names: list[str], intervals: dict[str, Any]) -> dict[str, Any]:
    """The part of evaluation.json that a data set with labels adds."""
    right = sum(a == b for a, b in zip(labels, given, strict=True))
    invalid = given.count(NO_LABEL)
    return {
        "metrics": {
            "accuracy": accuracy(labels, given),
            "macro_f1": macro_f1(labels, given, names),
            "invalid_answer_rate": invalid_answer_rate(given),
        },
        "intervals": {
            **intervals,
            "accuracy": share_interval(right, len(labels)),
            "macro_f1": macro_f1_interval(labels, given, names),
            "invalid_answer_rate": share_interval(invalid, len(labels)),
        },
        "labels": names,
        "per_label": per_label(labels, given, names),
        "confusion": confusion(labels, given, names),
    }


def add_likelihood(record: dict[str, Any], labels: list[str], likeliest: list[str]) -> None:
    """Add the metrics of the likeliest labels, with their intervals, to the content of evaluation.json."""
    names = record["labels"]
    right = sum(a == b for a, b in zip(labels, likeliest, strict=True))
    record["metrics"]["likelihood_accuracy"] = likelihood_accuracy(labels, likeliest)
    record["metrics"]["likelihood_macro_f1"] = likelihood_macro_f1(labels, likeliest, names)
    record["intervals"]["likelihood_accuracy"] = share_interval(right, len(labels))
    record["intervals"]["likelihood_macro_f1"] = macro_f1_interval(labels, likeliest, names)
