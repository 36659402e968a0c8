"""Rows that are not used - refused, or copies of others - and whether they may be so many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tunebook.data.raw import Refusal
from tunebook.errors import TunebookError

LISTED = 5  # refusals, pairs or values that a message or profile.json shows
TOLERABLE = 0.1  # share of refused rows up to which a message offers to tolerate them
WARNED = 0.1  # share of dropped rows from which a warning stands on the terminal and in the report


@dataclass(frozen=True)
class Pair:
    """A row that was dropped as a copy of another. `row`, `copy_of`: their ids; `similarity`: 0 to 1; `texts`: of both."""

    row: str
    copy_of: str
    similarity: float
    texts: tuple[str, str]

    def __str__(self) -> str:
        ours, theirs = (repr(text[:60]) for text in self.texts)
        return f"{self.row} copies {self.copy_of}, similarity {self.similarity:.2f}: {ours} / {theirs}"

    def record(self) -> dict[str, Any]:
        """As profile.json has it."""
        return {"row": self.row, "copy_of": self.copy_of, "similarity": round(self.similarity, 4)}


@dataclass(frozen=True)
class Dropped:
    """All dropped rows of a data set. `rows`: how many there were."""

    name: str
    rows: int
    refused: list[Refusal]
    exact: list[Pair]
    near: list[Pair]

    @property
    def share(self) -> float:
        return (len(self.refused) + len(self.exact) + len(self.near)) / self.rows

    @property
    def counts(self) -> str:
        return f"{len(self.refused)} refused, {len(self.exact)} exact copies, {len(self.near)} near-copies"

    def pairs(self) -> list[Pair]:
        """Some pairs of copies: the least alike, which show best whether the threshold is right, then exact ones."""
        return [*sorted(self.near, key=lambda pair: pair.similarity)[:LISTED], *self.exact][:LISTED]

    def warnings(self) -> list[str]:
        """What a reader must know of the rows that are missing: nothing, or a sentence."""
        if self.share <= WARNED:
            return []
        dropped = round(self.share * self.rows)
        return [f"{dropped} of {self.rows} rows were dropped ({self.counts}); profile.json shows pairs of copies"]

    def check(self, largest: float) -> None:
        """Raise TunebookError if more than this share of the rows is dropped."""
        if self.share <= largest:
            return
        dropped, pairs = round(self.share * self.rows), self.pairs()
        advice = (
            "where the rows below differ in what matters raise near_duplicate_threshold; where they are copies raise "
            if pairs
            else "mend the rows, or raise "
        )
        raise TunebookError(
            f"data set {self.name}: {dropped} of {self.rows} rows are dropped ({self.counts}), max_dropped {largest} allows "
            f"{int(largest * self.rows)}; {advice}max_dropped{_listed(pairs)}"
        )


def check_refusals(name: str, rows: int, refusals: list[Refusal], tolerance: float) -> None:
    """Raise TunebookError if more than this share of the rows is refused."""
    if len(refusals) <= tolerance * rows:
        return
    if len(refusals) == rows:
        raise TunebookError(f"data set {name}: none of {rows} rows can be used{_listed(_by_reason(refusals))}")
    share = len(refusals) / rows
    advice = (
        f"mend the rows, or declare a tolerance of at least {share:.4f}"
        if share <= TOLERABLE
        else "so many hint at the templates, the labels or the format: mend these"
    )
    more = [f"... and {len(refusals) - LISTED} more"] if len(refusals) > LISTED else []
    raise TunebookError(
        f"data set {name}: {len(refusals)} of {rows} rows are refused, tolerance {tolerance} allows "
        f"{int(tolerance * rows)}; {advice}{_listed([*refusals[:LISTED], *more])}"
    )


def _by_reason(refusals: list[Refusal]) -> list[str]:
    """A line a reason: how many rows it holds for, the first of them, and what was found most often."""
    reasons = Counter(refusal.reason for refusal in refusals)
    lines = []
    for reason, count in reasons.most_common(LISTED):
        those = [refusal for refusal in refusals if refusal.reason == reason]
        found = ", ".join(
            f"{value} ({number}x)" for value, number in Counter(r.found for r in those).most_common(LISTED)
        )
        lines.append(f"{count} rows, the first {those[0].file}, row {those[0].row}: {reason} (found {found})")
    return lines


def _listed(lines: list[Any]) -> str:
    return "".join(f"\n  - {line}" for line in lines)
