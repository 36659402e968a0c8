"""Metrics. The first sentence of each function's docstring is its definition; the report quotes it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy

from tunebook.finetuning.intervals import RESAMPLES, difference_interval, loss_interval, middle, share_interval
from tunebook.finetuning.losses import NeutralLosses, RowScore

NO_LABEL = "no label"


def _sklearn() -> Any:
    """scikit-learn's metrics, whose import takes a second: only where there are labels."""
    from sklearn import metrics

    return metrics


def text_loss(losses: list[float], tokens: list[int]) -> float:
    """Negative log-likelihood of the text of the held-out rows, in nats a token: summed over all supervised tokens but those
    that end an answer or a text, divided by their number.
    """
    return float(sum(losses) / sum(tokens))


def loss(losses: list[float], tokens: list[int]) -> float:
    """Negative log-likelihood of the held-out rows with their end tokens, in nats a supervised token: what training lowers.
    An untouched model expects other ends, so that the loss with them overstates what was learnt of the text.
    """
    return float(sum(losses) / sum(tokens))


def perplexity(loss: float) -> float:
    """The exponential of the loss with end tokens: how many equally likely tokens the model is in doubt between."""
    return float(math.exp(min(loss, 700.0)))


def bits_per_byte(text_losses: list[float], text_bytes: list[int]) -> float | None:
    """The summed loss of the text in bits, divided by the UTF-8 bytes of the tokens that it is over: comparable between
    tokenizers. A class has no bytes.
    """
    return float(sum(text_losses) / math.log(2) / sum(text_bytes)) if sum(text_bytes) else None


def loss_record(scored: list[RowScore]) -> dict[str, Any]:
    """The part of evaluation.json that tells of the losses of the rows."""
    losses, tokens = [one.loss for one in scored], [one.tokens for one in scored]
    text_losses, text_tokens = [one.text_loss for one in scored], [one.text_tokens for one in scored]
    mean = loss(losses, tokens)
    return {
        "tokens": sum(tokens),
        "text_tokens": sum(text_tokens),
        "text_loss": text_loss(text_losses, text_tokens),
        "loss": mean,
        "perplexity": perplexity(mean),
        "bits_per_byte": bits_per_byte(text_losses, [one.text_bytes for one in scored]),
        "intervals": {"text_loss": loss_interval(text_losses, text_tokens), "loss": loss_interval(losses, tokens)},
    }


def over_draws(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, lowest and highest value of each figure over draws of examples: `mean`, `range`."""
    figures = [
        {name: told[name] for name in ("text_loss", "loss", "perplexity", "bits_per_byte")} | told["metrics"]
        for told in draws
    ]
    values = {name: [one[name] for one in figures] for name in figures[0] if figures[0][name] is not None}
    return {
        "mean": {name: sum(each) / len(each) for name, each in values.items()},
        "range": {name: [min(each), max(each)] for name, each in values.items()},
    }


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
    """Loss in nats a token on a fixed text of plain paragraphs, written for this project, that stand in no data set: where it
    rises, such text became less likely to the model. Its interval is over paragraphs.
    """
    return loss(losses, tokens)


def neutral_loss_untrained(losses: list[float], tokens: list[int]) -> float:
    """The same of the run's own base model, quantized as the run's is and without its adapter: what quantization alone does."""
    return loss(losses, tokens)


def add_neutral(record: dict[str, Any], found: NeutralLosses) -> None:
    """Add the losses on the neutral text to the content of evaluation.json."""
    measured = {"neutral_loss": found.losses} | (
        {"neutral_loss_untrained": found.untrained_losses} if found.untrained_losses else {}
    )
    for name, losses in measured.items():
        record["metrics"][name] = loss(losses, found.tokens)
        record["intervals"][name] = loss_interval(losses, found.tokens)
        record["metric_rows"][name] = len(found.tokens)
    record["neutral_text"] = asdict(found)


def verbatim_training(completed: list[bool]) -> float:
    """Share of training rows, of those that training has shown the model, that it completes verbatim: given the first half
    of what is learnt, it goes on greedily with exactly the tokens that follow, 32 of them at most (after Carlini et al. 2023).
    The untouched model, which saw none, is asked the first of the split.
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


def macro_f1_interval(labels: list[str], answers: list[str], names: list[str]) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of macro-F1 over rows, seeded. None where all resamples agree, as they do
    where no answer, or every one, is right: what never varied in the rows says nothing about how far it may vary.
    """
    generator = numpy.random.default_rng(0)
    counts = numpy.asarray(confusion(labels, answers, names), dtype=float)
    cells = numpy.repeat(numpy.arange(counts.size), counts.astype(int).ravel())
    values = []
    for _ in range(RESAMPLES):
        drawn = numpy.bincount(generator.choice(cells, len(cells)), minlength=counts.size).reshape(counts.shape)
        hits, true, answered = numpy.diag(drawn), drawn.sum(axis=1), drawn.sum(axis=0)[: len(names)]
        values.append(numpy.mean(2 * hits / numpy.maximum(true + answered, 1)))
    low, high = middle(values)
    return (low, high) if low < high else None


def label_record(labels: list[str], given: list[str], names: list[str], intervals: dict[str, Any]) -> dict[str, Any]:
    """The part of evaluation.json that a data set with labels adds."""
    right = sum(a == b for a, b in zip(labels, given, strict=True))
    invalid = given.count(NO_LABEL)
    f1_interval = macro_f1_interval(labels, given, names)
    return {
        "metrics": {
            "accuracy": accuracy(labels, given),
            "macro_f1": macro_f1(labels, given, names),
            "invalid_answer_rate": invalid_answer_rate(given),
        },
        "intervals": {
            **intervals,
            "accuracy": share_interval(right, len(labels)),
            **({"macro_f1": f1_interval} if f1_interval else {}),
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
    if interval := macro_f1_interval(labels, likeliest, names):
        record["intervals"]["likelihood_macro_f1"] = interval
