"""Verdicts by stated rules: each rule finds what it names, and does not find it next to its threshold."""

import numpy
import pandas
import pytest

from tunebook.reporting import diagnosis
from tunebook.reporting.curves import between_validations, by_epoch, smooth
from tunebook.reporting.diagnosis import GRAVE, RULES, SEVERITY, diagnose

STEPS = numpy.array([0, 10, 20, 30, 40])
EPOCHS = STEPS / 20
NO_EPOCHS = pandas.DataFrame(columns=["epoch", "training_loss", "validation_loss", "gap"])


def by_row(*losses, steps=STEPS, rows=9, noise=0.001):
    """validation.parquet with these losses as means; `noise`: how far rows scatter around what all of them do."""
    generator = numpy.random.default_rng(0)
    scatter = generator.normal(0, noise, (len(losses), rows))
    scatter -= scatter.mean(axis=1, keepdims=True)
    return pandas.DataFrame(
        [
            {"step": step, "row": f"r{row}", "loss": loss + scatter[at, row], "tokens": 10}
            for at, (step, loss) in enumerate(zip(steps, losses, strict=True))
            for row in range(rows)
        ]
    )


def overfitting(*losses, **rows):
    values = numpy.array(losses)
    return diagnosis.overfitting(STEPS, EPOCHS, values, NO_EPOCHS, by_row(*losses, **rows), "all 9 validation rows")


def test_a_plateau_with_noise_is_not_overfitting():
    assert overfitting(3.0, 2.0, 2.02, 2.03, 2.06, noise=0.02).found
    verdict = overfitting(3.0, 2.0, 2.02, 2.03, 2.06, noise=0.2)  # the same means
    assert not verdict.found
    assert "The 95 % interval of the rise over these rows is " in verdict.figures
    generator = numpy.random.default_rng(1)
    cries = 0
    for _ in range(200):
        losses = numpy.array([3.0, *numpy.full(4, 2.0)])[:, None] + generator.normal(0, 0.04 * 12**0.5, (5, 12))
        rows = by_row(*losses.mean(axis=1), rows=12).sort_values(["step", "row"], ignore_index=True)
        order = numpy.argsort([f"r{row}" for row in range(12)])
        rows["loss"] = losses[:, order].ravel()
        cries += diagnosis.overfitting(STEPS, EPOCHS, losses.mean(axis=1), NO_EPOCHS, rows, "").found
    assert cries / 200 < 0.15  # by the means alone it was a third


def test_a_minimum_before_the_end_is_overfitting():
    verdict = overfitting(3.0, 2.0, 2.2, 2.4, 2.5)
    assert verdict.found
    assert verdict.phrase == "overfits after epoch 0.5, whose weights are the ones kept and scored"
    assert "higher at 2.500. It is over all 9 validation rows." in verdict.figures
    assert "2.000 at step 10 (epoch 0.5), 30 steps before the end" in verdict.figures
    assert "25\u202f% higher at 2.500" in verdict.figures


def test_a_rise_within_the_threshold_is_not_overfitting():
    assert not overfitting(3.0, 2.5, 2.0, 2.01, 2.03).found  # 1.5 %
    assert not overfitting(3.0, 2.5, 2.2, 2.1, 2.0).found


def test_losses_close_to_zero_do_not_overfit_by_noise():
    assert not overfitting(1.0, 0.011, 0.010, 0.012, 0.015).found  # +50 %, but 0.005 nats


def test_the_gap_by_epoch_is_told():
    table = pandas.DataFrame([(1.0, 2.0, 2.5, 0.5), (2.0, 1.0, 3.0, 2.0)], columns=NO_EPOCHS.columns)
    verdict = diagnosis.overfitting(
        STEPS,
        EPOCHS,
        numpy.array([3.0, 2.0, 2.2, 2.4, 2.5]),
        table,
        by_row(3.0, 2.0, 2.2, 2.4, 2.5),
        "all 9 validation rows",
    )
    assert "0.50 (epoch 1), 2.00 (epoch 2)" in verdict.figures


@pytest.mark.parametrize(
    ("losses", "found"),
    [([3.0, 2.8, 2.6, 2.4, 2.2], True), ([3.0, 2.2, 2.1, 2.02, 2.0], False), ([3.0, 2.2, 2.0, 1.9, 2.1], False)],
)
def test_underfitting_asks_whether_the_last_quarter_still_gained(losses, found):
    assert diagnosis.underfitting(STEPS, numpy.array(losses), by_row(*losses)).found is found


def test_underfitting_names_points_that_were_measured():
    verdict = diagnosis.underfitting(
        numpy.array([0, 9, 21]), numpy.array([4.0, 3.0, 2.0]), by_row(4.0, 3.0, 2.0, steps=[0, 9, 21])
    )
    assert (
        verdict.figures == "Between the validations at steps 9 and 21 the loss fell by 33\u202f%, from 3.000 to 2.000."
    )


@pytest.mark.parametrize(
    ("training", "validation", "found"),
    [
        ([3.0, 2.0, 1.0], [3.0, 2.0], False),
        ([3.0, float("nan"), 1.0], [3.0, 2.0], True),
        ([3.0, 4.0, 5.0], [3.0, 3.2], False),
        ([3.0, 4.0, 5.0], [3.0, 3.4], True),
        ([3.0, 4.0, 5.0], [3.0], None),
    ],
)
def test_divergence(training, validation, found):
    assert diagnosis.divergence(numpy.array(training), numpy.array(validation)).found is found


def test_a_learning_rate_too_high_makes_validation_worse_at_first():
    assert diagnosis.rate_high(STEPS, numpy.array([3.0, 3.5, 2.8, 2.5, 2.4])).found
    assert not diagnosis.rate_high(STEPS, numpy.array([3.0, 3.1, 2.8, 2.5, 2.4])).found
    assert not diagnosis.rate_high(STEPS, numpy.array([3.0, 2.0, 2.0, 4.0, 5.0])).found  # late: that is overfitting


def test_a_learning_rate_too_low_moves_nothing():
    assert diagnosis.rate_low(numpy.array([3.0, 2.99, 2.98, 2.97, 2.96])).found
    assert not diagnosis.rate_low(numpy.array([3.0, 2.9, 2.8, 2.7, 2.6])).found


def test_volatility_is_scatter_around_the_running_mean():
    calm = numpy.full(40, 2.0)
    wild = calm + numpy.tile([1.0, -1.0], 20)
    assert not diagnosis.volatility(calm).found
    assert diagnosis.volatility(wild).found
    assert not diagnosis.volatility(wild / 40).found  # below the floor of 0.1 nats
    assert diagnosis.volatility(wild[:5]).found is None


def test_truncation_and_leakage_count_rows():
    assert diagnosis.truncation(100, 6).found
    assert not diagnosis.truncation(100, 5).found
    profile = {"near_duplicate_threshold": 0.8, "heldout_nearest_similarity": {"median": 0.1, "p95": 0.3, "max": 0.75}}
    assert not diagnosis.leakage(profile | {"crossing_copies": 0}).found
    verdict = diagnosis.leakage(profile | {"crossing_copies": 2})
    assert verdict.found
    assert "2 held-out rows" in verdict.figures


def answers(*told):
    """Samples of (completion, stopped)."""
    return [{"completion": completion, "stopped": stopped} for completion, stopped in told]


def test_answers_that_repeat_themselves_or_do_not_end_are_counted():
    fine, dashes = ("To be or not to be. - Nobody", True), ("you go. " + "- " * 28, False)
    base = answers(*[(fine[0], False)] * 7)
    verdict = diagnosis.repetition(answers(*[fine] * 4, *[dashes] * 3), base)
    assert verdict.found
    assert verdict.grave
    assert verdict.phrase == "3 of 7 answers repeat themselves"
    assert verdict.figures == "3 of 7 answers repeat themselves (the untouched model: 0 of 7)."
    verdict = diagnosis.endless(answers(*[fine] * 4, *[dashes] * 3), base)
    assert verdict.phrase == "3 of 7 answers do not end"
    assert "(the untouched model: 7 of 7)" in verdict.figures
    for rule in (diagnosis.repetition, diagnosis.endless):
        assert not rule(answers(*[fine] * 6, dashes), base).found  # one of seven
        assert not rule(answers(dashes), base).found  # all of them, but one answer is no habit
        assert not rule(answers(*[fine] * 20, *[dashes] * 2), base).found
        assert not rule(answers(*[fine] * 8, *[dashes] * 2), base).found  # a fifth, but of ten only
        assert rule(answers(*[fine] * 24, *[dashes] * 8), base).found
        assert rule([], []).found is None


def test_rules_say_their_thresholds():
    assert set(SEVERITY) == set(RULES)
    assert set(GRAVE) <= set(RULES)
    assert "more than 2\u202f%, and more than 0.01 nats a token, above it" in RULES["overfitting"].stated
    for rule in RULES.values():
        assert "{" not in rule.stated


def history():
    """Two epochs of two steps each; the running count of tokens gives 10, 30, 10 and 10 tokens a step."""
    lines = [
        (0, 0.0, "validation", 5.0, None, None, 0),
        (1, 0.5, "train", 4.0, 1e-3, 1.0, 10),
        (2, 1.0, "train", 2.0, 5e-4, 3.0, 40),
        (2, 1.0, "validation", 3.0, None, None, 40),
        (3, 1.5, "train", 2.0, 2e-4, 2.0, 50),
        (3, 1.5, "validation", 2.5, None, None, 50),
        (4, 1.75, "train", 1.0, 1e-4, 2.0, 60),
    ]
    return pandas.DataFrame(
        lines, columns=["step", "epoch", "split", "loss", "learning_rate", "grad_norm", "tokens"]
    ).assign(wall_s=0.0)


def test_an_epochs_training_loss_is_weighted_by_tokens():
    table = by_epoch(history())
    assert table["epoch"].tolist() == [1.0, 1.75]
    assert table["training_loss"].tolist() == [pytest.approx((10 * 4 + 30 * 2) / 40), pytest.approx(1.5)]
    assert table["validation_loss"].tolist() == [3.0, 2.5]
    assert table["gap"].tolist() == [pytest.approx(0.5), pytest.approx(1.0)]


def test_between_validations_tells_what_training_did():
    table = between_validations(history())
    assert table["step"].tolist() == [0, 2, 3]
    assert table["training_loss"].isna().tolist() == [True, False, False]
    assert table["grad_norm"].tolist()[1:] == [2.0, 2.0]
    assert table["grad_norm_max"].tolist()[1:] == [3.0, 2.0]
    assert table["learning_rate"].tolist()[1:] == [5e-4, 2e-4]


def test_smoothing_keeps_length_and_constants():
    assert smooth(numpy.full(7, 2.0)).tolist() == [2.0] * 7
    assert smooth(numpy.array([0.0, 3.0, 0.0])).tolist() == [1.5, 1.0, 1.5]


def test_diagnose_names_every_rule_once_gravest_first():
    profile = {
        "near_duplicate_threshold": 0.8,
        "crossing_copies": 0,
        "heldout_nearest_similarity": {"median": 0.1, "p95": 0.3, "max": 0.75},
    }
    verdicts = diagnose(
        history(),
        by_epoch(history()),
        {"rows": 10, "truncated": 0},
        profile,
        validation=by_row(5.0, 3.0, 2.5, steps=[0, 2, 3]),
    )
    assert tuple(verdict.rule for verdict in verdicts) == SEVERITY
    assert all(verdict.figures for verdict in verdicts)
    assert not any(verdict.phrase for verdict in verdicts if not verdict.found)
