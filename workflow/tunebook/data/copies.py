"""Copies among the rows of a data set: which rows are dropped, and which held-out rows have a copy in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from tunebook.data import similarity
from tunebook.data.dropped import LISTED, Pair
from tunebook.data.rendering import Example


@dataclass(frozen=True)
class Distinct:
    """`kept`: whether a row stays, shape (rows,); `exact` and `near`: pairs of those that do not."""

    kept: numpy.ndarray
    exact: list[Pair]
    near: list[Pair]


@dataclass(frozen=True)
class Rows:
    """The usable rows of a data set. `texts`: what of them is compared, see `Example.own`."""

    examples: list[Example]
    texts: list[str]

    @classmethod
    def of(cls, examples: list[Example]) -> Rows:
        return cls(examples, similarity.without_common_lines([example.own for example in examples]))

    def only(self, wanted: numpy.ndarray) -> Rows:
        """Those rows where `wanted`, shape (rows,), is true."""
        chosen = numpy.flatnonzero(wanted)
        return Rows([self.examples[index] for index in chosen], [self.texts[index] for index in chosen])

    def distinct(self, threshold: float, staying: list[int], droppable: list[int]) -> Distinct:
        """Drop rows that copy an earlier one, exactly or nearly.

        `staying`: rows to compare with that stay whatever they are, before all others; `droppable`: those that may go.
        """
        firsts: dict[str, int] = {self.examples[index].whole: index for index in reversed(staying)}
        compared, exact = list(staying), []
        for index in droppable:
            first = firsts.setdefault(self.examples[index].whole, index)
            if first == index:
                compared.append(index)
            else:
                exact.append(self.pair(index, first, 1.0))
        copies = similarity.first_copies([self.texts[index] for index in compared], threshold, staying=len(staying))
        near = [
            self.pair(compared[row], compared[copies.copy_of[row]], copies.similarity[row])
            for row in numpy.flatnonzero(copies.copy_of >= 0)
        ]
        kept = numpy.full(len(self.examples), True)
        kept[droppable] = False
        kept[[index for index, copied in zip(compared, copies.copy_of, strict=True) if copied < 0]] = True
        return Distinct(kept, exact, near)

    def leaks(self, assigned: numpy.ndarray, threshold: float) -> dict[str, Any]:
        """What profile.json says of copies between training and held-out rows. `assigned`: splits, shape (rows,)."""
        heldout, training = (
            numpy.flatnonzero(numpy.isin(assigned, ("validation", "test"))),
            numpy.flatnonzero(assigned == "train"),
        )
        found = similarity.nearest(
            [self.texts[row] for row in heldout], [self.texts[row] for row in training], threshold
        )
        alike = found.similarity
        spread = {
            "median": numpy.median(alike),
            "p95": numpy.quantile(alike, 0.95),
            "max": max([alike.max(), *(value for _, _, value in found.crossing)]),
        }
        pairs = [self.pair(heldout[row], training[other], value) for row, other, value in found.crossing[:LISTED]]
        return {
            "crossing_copies": len(found.crossing),
            "crossing": [pair.record() for pair in pairs],
            "heldout_nearest_similarity": {name: round(float(value), 4) for name, value in spread.items()},
        }

    def pair(self, copy: int, kept: int, alike: float) -> Pair:
        ours, theirs = self.examples[copy], self.examples[kept]
        return Pair(ours.columns["row"], theirs.columns["row"], float(alike), (ours.whole, theirs.whole))
