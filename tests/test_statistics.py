"""Paired differences, their intervals and tests: against scipy, and their coverage by simulation."""

import math

import numpy
import pytest
from scipy import stats

from tunebook.statistics.paired import (
    Scores,
    holm,
    mcnemar,
    paired_difference,
    ratio_interval,
)

ROW_SD, NOISE_SD = 0.15, 0.05  # nats a token: how rows, and rows within a seed, differ


def one(values: numpy.ndarray, seeded: bool = False) -> Scores:
    return Scores(numpy.atleast_2d(values), seeded)


def test_with_equal_weights_it_is_the_paired_t_test() -> None:
    generator = numpy.random.default_rng(1)
    left, right = generator.normal(0.1, 1, 40), generator.normal(0, 1, 40)
    found = paired_difference(one(left), one(right), numpy.ones(40))
    known = stats.ttest_rel(left, right)
    interval = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_the_mean_is_the_difference_of_token_weighted_losses() -> None:
    left, right, tokens = numpy.array([1.0, 3.0]), numpy.array([2.0, 1.0]), numpy.array([1, 3])
    found = paired_difference(one(left), one(right), tokens)
    assert found.mean == pytest.approx((1 + 9) / 4 - (2 + 3) / 4)


def test_rows_of_one_prompt_count_as_one() -> None:
    generator = numpy.random.default_rng(2)
    left, right = generator.normal(0.1, 1, 30), numpy.zeros(30)
    alone = paired_difference(one(left), one(right), numpy.ones(30))
    doubled = paired_difference(
        one(numpy.repeat(left, 2)), one(numpy.repeat(right, 2)), numpy.ones(60), numpy.repeat(numpy.arange(30), 2)
    )
    assert (doubled.low, doubled.high) == pytest.approx((alone.low, alone.high))


def test_one_row_or_none_shows_nothing() -> None:
    single = paired_difference(one([1.0]), one([0.0]), numpy.ones(1))
    assert not single.shown
    assert math.isinf(single.high)
    assert not paired_difference(one([math.nan]), one([0.0]), numpy.ones(1)).shown


def test_one_trained_seed_says_that_the_seeds_are_not_in_the_interval() -> None:
    rows = numpy.arange(5.0)
    assert not paired_difference(one(rows, seeded=True), one(rows + 1), numpy.ones(5)).seeds_known
    two = Scores(numpy.stack([rows, rows]), seeded=True)
    assert paired_difference(two, one(rows + 1), numpy.ones(5)).seeds_known


@pytest.mark.parametrize("rows", [24, 64, 500])
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(rows: int, seeds: int) -> None:
    """With one seed the interval speaks of the rows alone, so that the truth is that of these two trained models."""
    generator = numpy.random.default_rng(rows * 10 + seeds)
    seed_sd = 0.02 if seeds > 1 else 0.0
    truth, tries = 0.05, 2500
    hits = 0
    for _ in range(tries):
        tokens = generator.lognormal(3, 0.5, rows).round() + 1
        differs = ROW_SD * generator.standard_t(8, rows)  # rows with heavier tails than a normal distribution
        sides = [
            shift + generator.normal(0, seed_sd, (seeds, 1)) + generator.normal(0, NOISE_SD, (seeds, rows))
            for shift in (truth + differs, 0.0)
        ]
        found = paired_difference(Scores(sides[0], seeds > 1), Scores(sides[1], seeds > 1), tokens)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / tries <= 0.97


def test_the_interval_of_a_loss_covers_it_where_a_bootstrap_did_not() -> None:
    generator = numpy.random.default_rng(5)
    hits = dict.fromkeys((32, 100), 0)
    for rows in hits:
        for _ in range(2000):
            counts = generator.lognormal(3, 0.5, rows).round() + 1
            sums = counts * generator.gamma(9, 3.5 / 9, rows)  # a row's loss is skewed: mean 3.5, deviation 1.2
            low, high = ratio_interval(sums, counts)
            hits[rows] += low <= 3.5 <= high
    assert all(0.92 <= found / 2000 <= 0.97 for found in hits.values()), hits


@pytest.mark.parametrize(("only_left", "only_right"), [(0, 0), (0, 12), (5, 1), (12, 3), (5, 5)])
def test_mcnemar_is_the_binomial_test_of_the_rows_that_only_one_gets_right(only_left: int, only_right: int) -> None:
    left = numpy.array([True] * only_left + [False] * only_right + [True, False])
    right = numpy.array([False] * only_left + [True] * only_right + [True, False])
    trials = only_left + only_right
    assert mcnemar(left, right) == pytest.approx(stats.binomtest(only_left, trials).pvalue if trials else 1.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_the_detectable_difference_is_shown_with_its_power() -> None:
    generator = numpy.random.default_rng(6)

    def tried(truth: float):
        return paired_difference(one(generator.normal(truth, 0.15, 50)), one(numpy.zeros(50)), numpy.ones(50))

    smallest = numpy.mean([tried(0.0).detectable for _ in range(200)])
    assert smallest == pytest.approx(0.061, abs=0.002)  # 2.86 standard errors of 0.15 / sqrt(50)
    assert sum(tried(smallest).shown for _ in range(2000)) / 2000 == pytest.approx(0.8, abs=0.04)


def test_one_row_can_show_nothing() -> None:
    assert paired_difference(one(numpy.ones(1)), one(numpy.zeros(1)), numpy.ones(1)).detectable == math.inf
