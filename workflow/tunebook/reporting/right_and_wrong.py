"""Which of two is right more often on the same held-out rows: McNemar's exact test, where the data have labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tunebook.reporting.comparison import correct_pair, mcnemar
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.untrained import Baseline

LEVEL = 0.05
MCNEMAR_RULE = (
    "Two that answer the same rows are compared by the rows that only one of them gets right: were both equally good, "
    "such rows would fall to either side like a fair coin (McNemar's test, exact and two-sided). From p = 0.05 on the "
    "report says “no difference shown”. Each pair is tested by itself: among many pairs, one in twenty falls below 0.05 by chance."
)


@dataclass(frozen=True)
class Contest:
    """Two of an experiment's runs or baselines: rows that only one of them answers right, and the p-value."""

    left: str
    right: str
    only_left: int
    only_right: int
    p: float
    rows: int

    @property
    def shown(self) -> bool:
        return self.p < LEVEL

    @property
    def words(self) -> str:
        if not self.shown:
            return "no difference shown"
        return f"{self.left if self.only_left > self.only_right else self.right} is right more often"


def contests(experiment: Experiment) -> list[Contest]:
    """Each method against base and TF-IDF, then the methods against each other; of several seeds the first,
    of several draws of examples the one of median accuracy.

    Empty where right and wrong have no meaning.
    """
    if not experiment.has_labels:
        return []
    methods = [runs[0] for runs in experiment.methods.values()]
    groups = [group for name, group in experiment.untrained_groups.items() if name != "majority"]
    rivals = [sorted(group, key=lambda one: one.metrics["accuracy"])[len(group) // 2] for group in groups]
    pairs = [*itertools.product(methods, rivals), *itertools.combinations(methods, 2)]
    return [found for left, right in pairs if (found := _contest(left, right))]


def _contest(left: Run, right: Run | Baseline) -> Contest | None:
    pair = correct_pair(left, right)
    if pair is None:
        return None
    one, other = pair
    alone = int((one & ~other).sum()), int((~one & other).sum())
    return Contest(left.method, right.method, *alone, mcnemar(one, other), len(one))
