"""What the vignettes' tables say of one condition."""

from dataclasses import dataclass

TELLING = 2


@dataclass(frozen=True)
class Condition:
    """One condition; every text field but `name` holds alternatives separated by " | ".

    Complaints follow "with" and may hold {t}, one of `spans`, and {his}; histories are sentences about {He};
    findings and steps are noun phrases. The first `TELLING` findings speak for the condition, others may be
    normal. The first step is always part of the plan.
    """

    name: str  # with its article, as in "suggest a lateral ankle sprain"
    ages: tuple[int, int]  # years, both ends included
    sexes: str  # "F", "M" or "FM"
    spans: str
    complaints: str
    histories: str
    findings: str
    steps: str


def alternatives(text: str) -> list[str]:
    """Return the alternatives of a table's field."""
    return text.split(" | ")
