"""Near-copies: Jaccard similarity of the sets of character 5-grams of two texts (Broder 1997, "resemblance").

Up to EXACT_ROWS rows every pair is compared. Beyond, MinHash with banding (Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", chapter 3) proposes pairs, and each of these is then computed exactly: no pair is wrong, and of those at the
threshold one in 2,000 may be missed, of more similar ones fewer.

Rows of one form share much that says nothing about them: a preamble, a system prompt. It must not make copies of them: see
`without_common_lines`, and `Example.own` for the text of templates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy
import scipy.sparse
from sklearn.feature_extraction.text import CountVectorizer

NGRAM = 5  # characters: long enough to carry words, short enough that one changed word leaves most of them
BLOCK_ROWS = 256  # rows compared at once: bounds the memory
EXACT_ROWS = 5_000  # rows up to which every pair is compared
SPREAD_ROWS = 500  # held-out rows, beyond EXACT_ROWS, whose nearest training row is looked for among all
MISSED = 0.0005  # of the pairs at the threshold, at most
PERMUTATIONS = 512  # of a signature, at most
SEED = 0  # of the permutations
COMMON_SHARE = 0.05  # of the rows: a line that so many of them have belongs to their form
COMMON_ROWS = 10  # and that at least so many have
SHORT = 32  # characters: a shorter line, such as a label, counts however many rows have it
FIRST_MARK = 0xF0000  # the first character of Unicode's second private use area


@dataclass(frozen=True)
class Copies:
    """For each row the earlier kept row that it copies, or -1: the row is kept; and their similarity. Shape (rows,)."""

    copy_of: numpy.ndarray
    similarity: numpy.ndarray


@dataclass(frozen=True)
class Nearest:
    """What training has of held-out rows. `similarity`: of held-out rows to their nearest training row, of all rows or of a
    sample; `crossing`: held-out row, training row and similarity of the pairs at the threshold or above, one a held-out row.
    """

    similarity: numpy.ndarray
    crossing: list[tuple[int, int, float]]


def without_common_lines(texts: list[str]) -> list[str]:
    """The texts, in which a long line that many of them have is one character, the same wherever the line stands."""
    distinct = set(texts)
    rows = Counter(line for text in distinct for line in set(text.split("\n")) if len(line) > SHORT)
    many = max(COMMON_ROWS, COMMON_SHARE * len(distinct))
    common = sorted(line for line, count in rows.items() if count >= many)
    marks = {line: chr(FIRST_MARK + number) for number, line in enumerate(common)}
    return ["\n".join(marks.get(line, line) for line in text.split("\n")) for text in texts] if marks else texts


def first_copies(texts: list[str], threshold: float, staying: int = 0) -> Copies:
    """Which rows copy an earlier kept row: are at least this similar to it. The first `staying` rows are kept in any case."""
    copy_of, similarity = numpy.full(len(texts), -1), numpy.zeros(len(texts))
    if len(texts) <= staying:
        return Copies(copy_of, similarity)
    earlier = _exact_earlier if len(texts) <= EXACT_ROWS else _banded_earlier
    for index, kept, alike in earlier(texts, threshold, copy_of, staying):
        copy_of[index], similarity[index] = kept, alike
    return Copies(copy_of, similarity)


def nearest(heldout: list[str], training: list[str], threshold: float) -> Nearest:
    """How near training comes to held-out rows. Deterministic: a sample is spread evenly over the held-out rows."""
    if len(heldout) + len(training) > EXACT_ROWS:
        sample = [
            heldout[index] for index in numpy.unique(numpy.linspace(0, len(heldout) - 1, SPREAD_ROWS).astype(int))
        ]
        return Nearest(_nearest_of_all(sample, training)[0], list(_banded_crossing(heldout, training, threshold)))
    similarity, found = _nearest_of_all(heldout, training)
    crossing = [
        (int(row), int(found[row]), float(similarity[row])) for row in numpy.flatnonzero(similarity >= threshold)
    ]
    return Nearest(similarity, crossing)


# --- every pair --------------------------------------------------------------------------------------------------------


def shingles(texts: list[str]) -> scipy.sparse.csr_array:
    """Sets of character 5-grams as a binary matrix, shape (texts, distinct 5-grams)."""
    counts = CountVectorizer(analyzer="char", ngram_range=(NGRAM, NGRAM), binary=True, dtype=numpy.float32)
    return scipy.sparse.csr_array(counts.fit_transform(map(_cleaned, texts)))


def similarities(left: scipy.sparse.csr_array, right: scipy.sparse.csr_array) -> Iterator[numpy.ndarray]:
    """Blocks of the matrix of similarities, each of shape (up to BLOCK_ROWS rows of left, all rows of right)."""
    sizes_left, sizes_right = left.sum(axis=1), right.sum(axis=1)
    for start in range(0, left.shape[0], BLOCK_ROWS):
        shared = (left[start : start + BLOCK_ROWS] @ right.T).toarray()
        yield shared / (sizes_left[start : start + BLOCK_ROWS, None] + sizes_right[None, :] - shared)


def _exact_earlier(
    texts: list[str], threshold: float, copy_of: numpy.ndarray, staying: int
) -> Iterator[tuple[int, int, float]]:
    """Row, earlier kept row and similarity of each copy. `copy_of`: what the caller has noted of the rows before."""
    sets, index = shingles(texts), 0
    for block in similarities(sets, sets):
        for row in block:
            earlier = numpy.flatnonzero(row[:index] >= threshold)
            kept = earlier[copy_of[earlier] < 0]
            if len(kept) and index >= staying:
                yield index, int(kept[0]), float(row[kept[0]])
            index += 1


def _nearest_of_all(heldout: list[str], training: list[str]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Each held-out row's similarity to its nearest training row, and which that is. Shapes (held-out rows,).

    Training rows come in blocks, of which only the 5-grams of the held-out rows are counted: memory does not grow with them.
    """
    counts = CountVectorizer(analyzer="char", ngram_range=(NGRAM, NGRAM), binary=True, dtype=numpy.float32)
    left = scipy.sparse.csr_array(counts.fit_transform(map(_cleaned, heldout)))
    sizes = left.sum(axis=1)
    similarity, found = numpy.full(len(heldout), -1.0), numpy.zeros(len(heldout), dtype=int)
    for start in range(0, len(training), BLOCK_ROWS):
        block = training[start : start + BLOCK_ROWS]
        shared = (left @ scipy.sparse.csr_array(counts.transform(map(_cleaned, block))).T).toarray()
        alike = shared / (sizes[:, None] + numpy.array([len(grams(text)) for text in block]) - shared)
        best = alike.argmax(axis=1)
        value = alike[numpy.arange(len(heldout)), best]
        found = numpy.where(value > similarity, start + best, found)
        similarity = numpy.maximum(similarity, value)
    return similarity, found


# --- pairs that MinHash proposes ---------------------------------------------------------------------------------------


def bands_of(threshold: float) -> tuple[int, int]:
    """(bands, rows a band): the longest bands with which a pair at the threshold is missed no more often than MISSED.

    Two sets of similarity s agree in a band of r rows with probability s ** r, and in none of b with (1 - s ** r) ** b.
    """
    for rows in range(20, 0, -1):
        bands = math.ceil(math.log(MISSED) / math.log1p(-(min(threshold, 0.99) ** rows)))
        if rows * bands <= PERMUTATIONS or rows == 1:
            return bands, rows
    raise AssertionError("a band of one row always serves")


class _Index:
    """Rows by the bands of their MinHash signature. `texts`: all rows; 5-grams are made again when a pair is computed."""

    def __init__(self, threshold: float) -> None:
        import rensa  # only here: small data sets do without

        self.threshold = threshold
        bands, rows = bands_of(threshold)
        self.signature = lambda sets: rensa.RMinHash.from_token_sets([sets], num_perm=bands * rows, seed=SEED)[0]
        self.table = rensa.RMinHashLSH(threshold=threshold, num_perm=bands * rows, num_bands=bands)
        self.texts: dict[int, str] = {}

    def add(self, key: int, text: str, signature: object) -> None:
        self.table.insert(key, signature)
        self.texts[key] = text

    def like(self, own: set[str], signature: object) -> list[tuple[int, float]]:
        """Keys of the rows that are at least as similar as the threshold, ascending, with their similarity."""
        candidates = ((key, grams(self.texts[key])) for key in sorted(self.table.query(signature)))
        pairs = ((key, len(own & other) / len(own | other)) for key, other in candidates)
        return [(key, alike) for key, alike in pairs if alike >= self.threshold]


def _banded_earlier(
    texts: list[str], threshold: float, copy_of: numpy.ndarray, staying: int
) -> Iterator[tuple[int, int, float]]:
    """As _exact_earlier. Only kept rows are in the index, so that many copies of one row are compared with one."""
    index = _Index(threshold)
    for row, text in enumerate(texts):
        own = grams(text)
        signature = index.signature(own)
        like = index.like(own, signature) if row >= staying else []
        if like:
            yield row, *like[0]
        else:
            index.add(row, text, signature)


def _banded_crossing(heldout: list[str], training: list[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    index = _Index(threshold)
    for row, text in enumerate(training):
        index.add(row, text, index.signature(grams(text)))
    for row, text in enumerate(heldout):
        own = grams(text)
        if like := index.like(own, index.signature(own)):
            yield row, *max(like, key=lambda pair: pair[1])


def grams(text: str) -> set[str]:
    """The character 5-grams of a text. Case and spacing do not count."""
    cleaned = _cleaned(text)
    return {cleaned[start : start + NGRAM] for start in range(len(cleaned) - NGRAM + 1)}


def _cleaned(text: str) -> str:
    return " ".join(text.lower().split()).ljust(NGRAM, "_")
