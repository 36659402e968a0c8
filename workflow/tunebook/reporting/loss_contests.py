"""Which of two has the lower loss on the same held-out rows: paired differences with bootstrap intervals, on every task."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tunebook.reporting.comparison import Difference, loss_difference
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.untrained import Prompted


@dataclass(frozen=True)
class LossContest:
    """Two of an experiment's methods, or a method and something untrained; `difference` is left less right."""

    left: str
    right: str
    difference: Difference

    @property
    def words(self) -> str:
        if not self.difference.shown:
            return "no difference shown"
        return f"{self.left if self.difference.mean < 0 else self.right} has the lower loss"


def loss_contests(experiment: Experiment) -> list[LossContest]:
    """Each method against base and base with examples, then the methods against each other; the mean over seeds and draws."""
    rivals = {"base": (experiment.base,)} | _draws(experiment)
    methods = experiment.methods
    pairs = [*itertools.product(methods.items(), rivals.items()), *itertools.combinations(methods.items(), 2)]
    return [LossContest(left, right, loss_difference(one, other)) for (left, one), (right, other) in pairs]


def _draws(experiment: Experiment) -> dict[str, tuple[Prompted, ...]]:
    """Name -> all draws of so many examples in the untouched model's prompt."""
    groups = experiment.untrained_groups
    return {name: group for name, group in groups.items() if isinstance(group[0], Prompted)}


def prompted_base(experiment: Experiment) -> tuple[Prompted, ...]:
    """The untouched model with the most examples in its prompt that were scored, all draws; empty where none were."""
    return max(_draws(experiment).values(), key=lambda draws: draws[0].examples, default=())


@dataclass(frozen=True)
class AgainstExamples:
    """Finetuning against examples in the base model's prompt, the mean over draws of them."""

    difference: Difference  # finetuned less prompted
    examples: int
    draws: int

    @property
    def kind(self) -> str:
        return ("good" if self.difference.mean < 0 else "bad") if self.difference.shown else "quiet"

    @property
    def words(self) -> str:
        relation = {"good": "better than", "bad": "worse than", "quiet": "not distinguishable from"}[self.kind]
        return f"{relation} {self.examples} example{'s' if self.examples > 1 else ''} in the prompt"


def against_examples(experiment: Experiment, runs: tuple[Run, ...]) -> AgainstExamples | None:
    """A method's runs against the base model with examples; None where that was not run."""
    draws = prompted_base(experiment)
    if not draws:
        return None
    return AgainstExamples(loss_difference(runs, draws), draws[0].examples, len(draws))
