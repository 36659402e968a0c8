"""Pairs of an experiment's methods on the same held-out rows: which has the lower loss, which is right more often.

All seeds of a method take part, and all draws of examples in the prompt. p-values are adjusted for the number of pairs (Holm 1979).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from tunebook.reporting.comparison import Runs, accuracy_difference, correct_pair, loss_difference, too_small
from tunebook.reporting.study_folder import Experiment
from tunebook.reporting.untrained import Prompted
from tunebook.statistics.paired import LEVEL, Difference, holm, mcnemar

LABELS_RULE = (
    "Methods that answer the same rows with labels are compared by the rows that only one of them gets right. Of two runs, "
    "such rows would fall to either side like a fair coin if both were equally good (McNemar's test, exact and two-sided). "
    "Of methods with several seeds, the shares of right answers are compared as losses are. From p = 0.05 on, adjusted for "
    "the number of pairs, the report says “no difference shown”."
)


@dataclass(frozen=True)
class Contest:
    """Two of an experiment's methods, or a method and something untrained; `difference` is left less right."""

    left: str
    right: str
    difference: Difference
    p: float  # adjusted for all pairs of the experiment
    small: bool = False  # too small to matter, be it shown or not

    @property
    def shown(self) -> bool:
        return self.p < LEVEL

    @property
    def words(self) -> str:
        if not self.shown:
            return "no difference shown"
        return f"{self._better}, too little to matter" if self.small else self._better

    @property
    def matters(self) -> bool:
        return self.shown and not self.small


@dataclass(frozen=True)
class LossContest(Contest):
    """Which has the lower loss."""

    @property
    def _better(self) -> str:
        return f"{self.left if self.difference.mean < 0 else self.right} has the lower loss"


@dataclass(frozen=True)
class LabelContest(Contest):
    """Which is right more often: the difference is of the shares of right answers. `only_left`, `only_right`: rows that one of
    two runs alone gets right; None where several seeds take part."""

    only_left: int | None = None
    only_right: int | None = None

    @property
    def rows(self) -> int:
        return self.difference.rows

    @property
    def _better(self) -> str:
        return f"{self.left if self.difference.mean > 0 else self.right} is right more often"


SomeContest = TypeVar("SomeContest", bound=Contest)


def loss_contests(experiment: Experiment) -> list[LossContest]:
    """Each method against base and base with examples, then the methods against each other."""
    rivals = {"base": (experiment.base,)} | _draws(experiment)
    found = [
        LossContest(
            left, right, difference := loss_difference(one, other), difference.p, too_small(experiment, difference)
        )
        for (left, one), (right, other) in _pairs(experiment, rivals)
    ]
    return _adjusted(found)


def label_contests(experiment: Experiment) -> list[LabelContest]:
    """Each method against base and TF-IDF, then the methods against each other; empty where the data have no labels."""
    if not experiment.has_labels:
        return []
    rivals = {name: group for name, group in experiment.untrained_groups.items() if name != "majority"}
    found = [_label_contest(*pair) for pair in _pairs(experiment, rivals)]
    return _adjusted([contest for contest in found if contest])


def _pairs(experiment: Experiment, rivals: dict[str, Runs]) -> Iterator[tuple[tuple[str, Runs], tuple[str, Runs]]]:
    methods = experiment.methods
    return itertools.chain(
        itertools.product(methods.items(), rivals.items()), itertools.combinations(methods.items(), 2)
    )


def _label_contest(left: tuple[str, Runs], right: tuple[str, Runs]) -> LabelContest | None:
    (name, one), (other_name, other) = left, right
    if any(run.scores["correct"].isna().any() for run in (*one, *other)):
        return None
    difference = accuracy_difference(one, other)
    if len(one) > 1 or len(other) > 1:
        return LabelContest(name, other_name, difference, difference.p)
    mine, theirs = correct_pair(one[0], other[0])
    alone = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    return LabelContest(name, other_name, difference, mcnemar(mine, theirs), False, *alone)


def _adjusted(contests: list[SomeContest]) -> list[SomeContest]:
    return [replace(one, p=p) for one, p in zip(contests, holm([one.p for one in contests]), strict=True)]


def _draws(experiment: Experiment) -> dict[str, tuple[Prompted, ...]]:
    """Name -> all draws of so many examples in the untouched model's prompt."""
    groups = experiment.untrained_groups
    return {name: group for name, group in groups.items() if isinstance(group[0], Prompted)}


def prompted_base(experiment: Experiment) -> tuple[Prompted, ...]:
    """The untouched model with the most examples in its prompt that were scored, all draws; empty where none were."""
    return max(_draws(experiment).values(), key=lambda draws: draws[0].examples, default=())


@dataclass(frozen=True)
class AgainstExamples:
    """Finetuning against examples in the base model's prompt, over all draws of them."""

    difference: Difference  # finetuned less prompted
    examples: int
    draws: int
    small: bool = False  # too small to matter, be it shown or not

    @property
    def kind(self) -> str:
        matters = self.difference.shown and not self.small
        return ("good" if self.difference.mean < 0 else "bad") if matters else "quiet"

    @property
    def words(self) -> str:
        relation = {"good": "better than", "bad": "worse than", "quiet": "not distinguishable from"}[self.kind]
        if self.difference.shown and self.small:
            relation = "too little apart to matter from"
        return f"{relation} {self.examples} example{'s' if self.examples > 1 else ''} in the prompt"


def against_examples(experiment: Experiment, runs: Runs) -> AgainstExamples | None:
    """A method's runs against the base model with examples; None where that was not run."""
    draws = prompted_base(experiment)
    if not draws:
        return None
    difference = loss_difference(runs, draws)
    return AgainstExamples(difference, draws[0].examples, len(draws), too_small(experiment, difference))
