"""All metrics, in the order in which the report defines them: those of evaluation.json, then those of the answers."""

from __future__ import annotations

from tunebook.finetuning import metrics
from tunebook.reporting.metric import Metric
from tunebook.reporting.text_metrics import ANSWERS

EVALUATED = (
    Metric.of(metrics.text_loss, -1, "loss of the text"),
    Metric.of(metrics.loss, -1, "loss with end tokens"),
    Metric.of(metrics.perplexity, -1, "perplexity with end tokens"),
    Metric.of(metrics.bits_per_byte, -1, "bits per byte of text"),
    Metric.of(metrics.accuracy, 1),
    Metric.of(metrics.macro_f1, 1, "macro-F1"),
    Metric.of(metrics.invalid_answer_rate, -1),
    Metric.of(metrics.likelihood_accuracy, 1, "accuracy by likelihood"),
    Metric.of(metrics.likelihood_macro_f1, 1, "macro-F1 by likelihood"),
    Metric.of(metrics.neutral_loss, -1, "loss on a neutral text"),
    Metric.of(metrics.neutral_loss_untrained, -1, "the same, quantized and untrained"),
    Metric.of(metrics.verbatim_training, -1, "verbatim, training rows"),
    Metric.of(metrics.verbatim_heldout, 0, "verbatim, test rows"),
    Metric.of(metrics.verbatim_difference, -1, "verbatim, difference"),
)


def known() -> dict[str, Metric]:
    """Name -> metric."""
    return {metric.name: metric for metric in (*EVALUATED, *(answered.metric for answered in ANSWERS))}


def title(name: str) -> str:
    """A metric's name as people write it: rouge_l -> ROUGE-L."""
    return _of(name).title


def better(name: str) -> int:
    """+1 where a higher value is better, -1 where a lower one is, 0 where neither."""
    return _of(name).better


def _of(name: str) -> Metric:
    """A metric that no code here computes, as of an earlier version's record, has its key as its title and no better end."""
    return known().get(name) or Metric(name, name.replace("_", " "), 0, "")
