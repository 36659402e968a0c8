"""Near-copies of many rows: what MinHash proposes is what comparing every pair finds, but for one pair in a thousand."""

import random

import numpy
import pytest

from tests.bad_data import WORDS
from tunebook.data import similarity

PROSE = WORDS.split()


def texts_with_copies(rows: int, seed: int) -> list[str]:
    """Texts of 10 to 60 words, a third of them earlier ones with one word in 10 to 40 changed."""
    draw = random.Random(seed)
    vocabulary = ["".join(draw.sample("abcdefghijklmnoprstuvw", draw.randint(3, 9))) for _ in range(2000)]
    texts: list[list[str]] = []
    for _ in range(rows):
        if texts and draw.random() < 0.33:
            words = list(draw.choice(texts))
            for _ in range(max(1, len(words) // draw.randint(10, 40))):
                words[draw.randrange(len(words))] = draw.choice(vocabulary)
        else:
            words = draw.choices(vocabulary, k=draw.randint(10, 60))
        texts.append(words)
    return [" ".join(words) for words in texts]


def both_ways(compute, monkeypatch):
    exact = compute()
    monkeypatch.setattr(similarity, "EXACT_ROWS", 0)
    return exact, compute()


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_minhash_finds_the_copies_that_every_pair_has(monkeypatch, threshold):
    texts = texts_with_copies(1500, seed=int(threshold * 100))
    exact, banded = both_ways(lambda: similarity.first_copies(texts, threshold), monkeypatch)
    found, expected = banded.copy_of >= 0, exact.copy_of >= 0
    assert expected.sum() > 20
    assert (found & expected).sum() >= 0.999 * expected.sum()
    assert (found & ~expected).sum() <= 0.001 * expected.sum()  # a row whose kept row was missed
    same = found & expected & (banded.copy_of == exact.copy_of)
    assert same.sum() >= 0.99 * expected.sum()
    assert numpy.allclose(banded.similarity[same], exact.similarity[same], atol=1e-6)


def test_minhash_finds_what_crosses_and_leaves_no_pair_that_does_not(monkeypatch):
    texts = texts_with_copies(1200, seed=7)
    heldout, training = texts[:300], texts[300:]
    exact, banded = both_ways(lambda: similarity.nearest(heldout, training, 0.8), monkeypatch)
    assert len(exact.crossing) > 30
    assert [row for row, _, _ in banded.crossing] == [row for row, _, _ in exact.crossing]
    assert numpy.allclose([pair[2] for pair in banded.crossing], [pair[2] for pair in exact.crossing], atol=1e-6)
    assert numpy.allclose(numpy.sort(banded.similarity), numpy.sort(exact.similarity), atol=1e-6)


def test_rows_that_stay_are_kept_and_compared_with(monkeypatch):
    text, other = texts_with_copies(2, seed=1)
    for _ in both_ways(lambda: None, monkeypatch):
        copies = similarity.first_copies([text, text + " x", other, text + " y"], 0.8, staying=2)
        assert list(copies.copy_of) == [-1, -1, -1, 0]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_miss_few_pairs_at_the_threshold(threshold):
    bands, rows = similarity.bands_of(threshold)
    assert (1 - threshold**rows) ** bands <= similarity.MISSED
    assert bands * rows <= similarity.PERMUTATIONS


def test_many_copies_of_one_row_are_compared_with_one(monkeypatch):
    """Comparing copies with each other would take the square of their number."""
    monkeypatch.setattr(similarity, "EXACT_ROWS", 0)
    made = []
    monkeypatch.setattr(similarity, "grams", lambda text, real=similarity.grams: made.append(text) or real(text))
    text = texts_with_copies(1, seed=2)[0]
    copies = similarity.first_copies([f"{text} {number}" for number in range(300)], 0.8)
    assert (copies.copy_of[1:] == 0).all()
    assert len(made) == 300 + 299
