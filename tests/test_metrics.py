"""Every metric and every interval: a case computed by hand, and the same figure from a library where one has it."""

import math
import re

import numpy
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from sklearn import metrics as sklearn

from tunebook.finetuning import intervals, metrics
from tunebook.finetuning.scoring import token_losses
from tunebook.reporting import text_metrics
from tunebook.reporting.metrics import known

NAMES = ["a", "b", "c"]
LABELS = ["a", "a", "b", "b", "c"]
GIVEN = ["a", "b", "b", metrics.NO_LABEL, "c"]
ANSWERS = [
    {"completion": "the cat sat", "reference": "the cat lay down", "stopped": True, "tokens": 3},
    {"completion": "The dog. The dog.", "reference": " the  DOG. the dog.", "stopped": False, "tokens": 8},
]
LOGITS = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([[-100, 3, 1, 6, -100], [-100, -100, 2, 2, 0]])
CLASSES = torch.tensor([4, 0])


# 42 of 84 words are drawn, of which each occurs twice: it is missing with probability 42 * 41 / (84 * 83)
HALVES = [{"completion": " ".join(f"w{at}" for at in range(42))}] * 2
HDD = 42 * (1 - 42 * 41 / (84 * 83)) / 42


def of_answers(name):
    told = text_metrics.measure(ANSWERS, labels=False)
    return told[name].value


def summed(losses):
    return [losses.sum().item()], [int((TARGETS != -100).sum())]


def torch_loss(reduction="mean"):
    """torch's own, of the tokens that follow."""
    return torch.nn.functional.cross_entropy(
        LOGITS[:, :-1].flatten(0, 1), TARGETS[:, 1:].flatten(), reduction=reduction
    )


OURS = token_losses(LOGITS, TARGETS, "causal-lm")
ROUGE = RougeScorer(["rougeL"])
# name -> ours and by hand; ours and a library's, or None where no library that is installed has it
CASES = {
    "text_loss": (
        (metrics.text_loss([10.0, 2.0], [10, 1]), 12 / 11), (metrics.text_loss(*summed(OURS)), torch_loss().item()),
    ),
    "loss": ((metrics.loss([10.0, 2.0], [10, 1]), 12 / 11), (metrics.loss(*summed(OURS)), torch_loss().item())),
    "perplexity": ((metrics.perplexity(math.log(7)), 7), (metrics.perplexity(2.5), torch.tensor(2.5).exp().item())),
    "bits_per_byte": (
        (metrics.bits_per_byte([math.log(2) * 6], [1, 2]), 2),
        (metrics.bits_per_byte(summed(OURS)[0], [3]), torch_loss("sum").item() / math.log(2) / 3),
    ),
    "accuracy": ((metrics.accuracy(LABELS, GIVEN), 3 / 5), (metrics.accuracy(LABELS, GIVEN), sklearn.accuracy_score(LABELS, GIVEN))),
    "macro_f1": (
        (metrics.macro_f1(LABELS, GIVEN, NAMES), (2 / 3 + 1 / 2 + 1) / 3),
        (metrics.macro_f1(LABELS, GIVEN, NAMES), sklearn.f1_score(LABELS, GIVEN, labels=NAMES, average="macro", zero_division=0)),
    ),
    "invalid_answer_rate": ((metrics.invalid_answer_rate(GIVEN), 1 / 5), None),
    "likelihood_accuracy": (
        (metrics.likelihood_accuracy(LABELS, ["a", "a", "a", "b", "c"]), 4 / 5),
        (metrics.likelihood_accuracy(LABELS, NAMES + NAMES[:2]), sklearn.accuracy_score(LABELS, NAMES + NAMES[:2])),
    ),
    "likelihood_macro_f1": (
        (metrics.likelihood_macro_f1(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]), 2 / 3),
        (metrics.likelihood_macro_f1(LABELS, NAMES + NAMES[:2], NAMES),
         sklearn.f1_score(LABELS, NAMES + NAMES[:2], average="macro")),
    ),
    "neutral_loss": ((metrics.neutral_loss([6.0, 3.0], [2, 4]), 1.5), (metrics.neutral_loss(*summed(OURS)), torch_loss().item())),
    "neutral_loss_untrained": ((metrics.neutral_loss_untrained([6.0, 3.0], [2, 4]), 1.5), None),
    "verbatim_training": ((metrics.verbatim_training([True, False, True, True]), 3 / 4), None),
    "verbatim_heldout": ((metrics.verbatim_heldout([True, False, False, False]), 1 / 4), None),
    "verbatim_difference": ((metrics.verbatim_difference([True, False], [True, False, False, False]), 1 / 4), None),
    "stop_rate": ((of_answers("stop_rate"), 1 / 2), None),
    "answer_tokens": ((of_answers("answer_tokens"), 5.5), None),
    "repetition": ((text_metrics.repeated_share("a b c d a b c d"), 1 / 5), None),
    "hdd_1": ((text_metrics.hdd_1(HALVES), HDD), None),
    "hdd_2": ((text_metrics.hdd_2([{"completion": "a b " * 30}]), (2 - 0) / 42), None),  # "a b" and "b a" are in every draw
    "rouge_l": (
        (text_metrics.rouge_l(ANSWERS[0]), 4 / 7),
        (text_metrics.rouge_l(ANSWERS[0]), ROUGE.score("the cat lay down", "the cat sat")["rougeL"].fmeasure),
    ),
    "key_term": ((text_metrics.measure(ANSWERS, labels=False, term=r"(?i)the (cat lay|dog)")["key_term"].value, 1 / 2), None),
    "exact_match": ((of_answers("exact_match"), 1 / 2), None),
}  # fmt: skip


def test_the_list_is_whole():
    assert set(CASES) == set(known())


@pytest.mark.parametrize("name", CASES)
def test_each_metric_by_hand_and_by_library(name):
    by_hand, by_library = CASES[name]
    assert by_hand[0] == pytest.approx(by_hand[1], abs=1e-6)
    if by_library:
        assert by_library[0] == pytest.approx(by_library[1], abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_each_metric_is_defined_in_a_sentence(name):
    sentence = known()[name].definition
    assert re.fullmatch(r"[A-Z].*\.", sentence)
    assert "  " not in sentence


def test_losses_of_the_other_tasks_are_torchs():
    told = token_losses(LOGITS, TARGETS, "seq2seq-lm").sum().item()
    assert told == pytest.approx(torch.nn.functional.cross_entropy(LOGITS.flatten(0, 1), TARGETS.flatten(), reduction="sum").item(), abs=1e-4)  # fmt: skip
    told = token_losses(LOGITS[:, 0], CLASSES, "sequence-classification").mean().item()
    assert told == pytest.approx(torch.nn.functional.cross_entropy(LOGITS[:, 0], CLASSES).item(), abs=1e-5)


def test_scores_of_each_label():
    told = metrics.per_label(LABELS, GIVEN, NAMES)
    assert told["a"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert told["b"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    theirs = sklearn.classification_report(LABELS, GIVEN, labels=NAMES, output_dict=True, zero_division=0)
    for name in NAMES:
        assert told[name] == pytest.approx({key.replace("-score", ""): value for key, value in theirs[name].items()})


def test_the_confusion_matrix():
    assert metrics.confusion(LABELS, GIVEN, NAMES) == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    theirs = sklearn.confusion_matrix(LABELS, GIVEN, labels=[*NAMES, metrics.NO_LABEL])
    assert metrics.confusion(LABELS, GIVEN, NAMES) == theirs[:3].tolist()


def test_wilsons_interval():
    """Wilson 1927: the shares p with |h - p| <= z sqrt(p (1 - p) / n)."""
    hits, rows, z = 8, 10, stats.norm.ppf(0.975)
    middle, reach = (hits + z * z / 2) / (rows + z * z), z * math.sqrt(hits * 2 / rows + z * z / 4) / (rows + z * z)
    assert intervals.share_interval(hits, rows) == pytest.approx((middle - reach, middle + reach))
    library = stats.binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert intervals.share_interval(hits, rows) == pytest.approx((library.low, library.high))
    assert intervals.share_interval(0, 20)[0] == 0


def test_newcombes_interval_of_a_difference():
    """Newcombe 1998, table II, example (a), method 10: 56/70 against 48/80 gives 0.0524 to 0.3339."""
    assert intervals.difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = intervals.difference_interval(8, 8, 0, 8)
    assert 0 < low < high == pytest.approx(1)


def test_bootstrap_intervals():
    """Of one value, nothing varies; of many, the percentile interval is scipy's up to the draw."""
    assert intervals.loss_interval([3.0] * 5, [2] * 5) == (1.5, 1.5)
    values = numpy.random.default_rng(5).gamma(2.0, size=60)
    theirs = stats.bootstrap((values,), numpy.mean, n_resamples=5000, method="percentile", rng=1).confidence_interval
    assert intervals.mean_interval(values) == pytest.approx((theirs.low, theirs.high), rel=0.03)
    student = stats.ttest_1samp(values, 0).confidence_interval()
    assert intervals.loss_interval(values.tolist(), [1] * len(values)) == pytest.approx((student.low, student.high))


def test_the_bootstrap_of_macro_f1():
    labels, given = ["a", "b"] * 40, ["a", "b", "a", "a"] * 20
    generator = numpy.random.default_rng(3)
    drawn = [generator.integers(0, 80, 80) for _ in range(1500)]
    scores = [
        sklearn.f1_score([labels[at] for at in rows], [given[at] for at in rows], average="macro") for rows in drawn
    ]
    assert metrics.macro_f1_interval(labels, given, ["a", "b"]) == pytest.approx(intervals.middle(scores), abs=0.02)
