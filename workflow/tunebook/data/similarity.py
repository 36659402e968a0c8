"""Near-copies: Jaccard similarity of the sets of character 5-grams of two texts (Broder 1997, "resemblance").

Rows of one form share much that says nothing about them: a preamble, a system prompt. It must not make copies of them: see
`without_common_lines`, and `Example.own` for the text of templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy
import scipy.sparse
from sklearn.feature_extraction.text import CountVectorizer

NGRAM = 5  # characters: long enough to carry words, short enough that one changed word leaves most of them
BLOCK_ROWS = 256  # rows compared at once: bounds the memory
COMMON_SHARE = 0.05  # of the rows: a line that so many of them have belongs to their form
COMMON_ROWS = 10  # and that at least so many have
SHORT = 32  # characters: a shorter line, such as a label, counts however many rows have it
FIRST_MARK = 0xF0000  # the first character of Unicode's second private use area


@dataclass(frozen=True)
class Copies:
    """For each row the earlier kept row that it copies, or -1: the row is kept; and their similarity. Shape (rows,)."""

    copy_of: numpy.ndarray
    similarity: numpy.ndarray


def without_common_lines(texts: list[str]) -> list[str]:
    """The texts, in which a long line that many of them have is one character, the same wherever the line stands."""
    rows = Counter(line for text in texts for line in set(text.split("\n")))
    many = max(COMMON_ROWS, COMMON_SHARE * len(texts))
    common = [line for line, count in rows.items() if count >= many and len(line) > SHORT]
    marks = {line: chr(FIRST_MARK + number) for number, line in enumerate(common)}
    return ["\n".join(marks.get(line, line) for line in text.split("\n")) for text in texts] if marks else texts


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


def first_copies(sets: scipy.sparse.csr_array, threshold: float) -> Copies:
    """Which rows copy an earlier kept row: are at least this similar to it."""
    copy_of, similarity = numpy.full(sets.shape[0], -1), numpy.zeros(sets.shape[0])
    start = 0
    for block in similarities(sets, sets):
        for offset, row in enumerate(block):
            index = start + offset
            earlier = numpy.flatnonzero(row[:index] >= threshold)
            kept = earlier[copy_of[earlier] < 0]
            if len(kept):
                copy_of[index], similarity[index] = kept[0], row[kept[0]]
        start += len(block)
    return Copies(copy_of, similarity)


def nearest(heldout: scipy.sparse.csr_array, training: scipy.sparse.csr_array) -> numpy.ndarray:
    """Each held-out row's similarity to its nearest training row. Shape (held-out rows,)."""
    return numpy.concatenate([block.max(axis=1) for block in similarities(heldout, training)])
