"""Near-copies: Jaccard similarity of the sets of character 5-grams of two texts (Broder 1997, "resemblance")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy
import scipy.sparse
from sklearn.feature_extraction.text import CountVectorizer

NGRAM = 5  # characters: long enough to carry words, short enough that one changed word leaves most of them
BLOCK_ROWS = 256  # rows compared at once: bounds the memory


def shingles(texts: list[str]) -> scipy.sparse.csr_array:
    """Sets of character 5-grams as a binary matrix, shape (texts, distinct 5-grams). Case and spacing do not count."""
    cleaned = [" ".join(text.lower().split()).ljust(NGRAM, "_") for text in texts]
    counts = CountVectorizer(analyzer="char", ngram_range=(NGRAM, NGRAM), binary=True, dtype=numpy.float32)
    return scipy.sparse.csr_array(counts.fit_transform(cleaned))


def similarities(left: scipy.sparse.csr_array, right: scipy.sparse.csr_array) -> Iterator[numpy.ndarray]:
    """Blocks of the matrix of similarities, each of shape (up to BLOCK_ROWS rows of left, all rows of right)."""
    sizes_left, sizes_right = left.sum(axis=1), right.sum(axis=1)
    for start in range(0, left.shape[0], BLOCK_ROWS):
        shared = (left[start : start + BLOCK_ROWS] @ right.T).toarray()
        yield shared / (sizes_left[start : start + BLOCK_ROWS, None] + sizes_right[None, :] - shared)


def first_copies(sets: scipy.sparse.csr_array, threshold: float) -> numpy.ndarray:
    """For each row the index of an earlier kept row at least this similar, or -1: the row is kept. Shape (rows,)."""
    copy_of = numpy.full(sets.shape[0], -1)
    start = 0
    for block in similarities(sets, sets):
        for offset, row in enumerate(block):
            index = start + offset
            earlier = numpy.flatnonzero(row[:index] >= threshold)
            kept = earlier[copy_of[earlier] < 0]
            copy_of[index] = kept[0] if len(kept) else -1
        start += len(block)
    return copy_of


def nearest(heldout: scipy.sparse.csr_array, training: scipy.sparse.csr_array) -> numpy.ndarray:
    """Each held-out row's similarity to its nearest training row. Shape (held-out rows,)."""
    return numpy.concatenate([block.max(axis=1) for block in similarities(heldout, training)])
