"""Generates short case vignettes with an assessment and next steps.

Synthetic text for research on finetuning only. It is not medical advice, was not checked by a clinician, and
must not be used to diagnose or treat anyone. The cases come from tables written for this project; they
describe no patient.
"""

import random

from tunebook.data.generators.clinical_acute import ACUTE
from tunebook.data.generators.clinical_condition import TELLING, Condition, alternatives
from tunebook.data.generators.clinical_general import GENERAL
from tunebook.data.generators.clinical_injury import INJURY
from tunebook.data.generators.phrasing import Binding, capitalise, expand, listed, tidy

CONDITIONS = ACUTE + INJURY + GENERAL
CASE_WORDS = (25, 60)  # both ends included
ASSESSMENT_WORDS = (20, 45)  # both ends included

_ARRIVALS = (
    "presents with",
    "presents to the clinic with",
    "sees a general practitioner with",
    "is seen because of",
    "reports",
    "seeks advice about",
)
# For complaints of minutes or hours, which nobody takes to a practice.
_URGENT_ARRIVALS = (
    "presents with",
    "comes to the emergency department with",
    "is taken to hospital with",
    "arrives by ambulance with",
    "is seen urgently because of",
)
_ARRIVALS_OF_CHILDREN = (
    "is brought to the clinic with",
    "is brought in by a parent with",
    "is seen with a parent because of",
)
_EXAMINED = (
    "examination and tests show {seen}",
    "on assessment, the doctor finds {seen}",
    "findings include {seen}",
    "the assessment reveals {seen}",
    "the doctor notes {seen}",
    "the work-up so far shows {seen}",
)
_QUESTIONS = (
    "what is the likely diagnosis and what are the next steps?",
    "what is the most likely diagnosis, and how should it be managed?",
    "how should this patient be assessed and treated?",
    "what would you suspect, and what would you do next?",
    "which diagnosis fits best, and what should follow?",
    "what is going on here, and what is the plan?",
    "please give an assessment and next steps.",
    "what is your assessment, and which steps come next?",
)
_LEADS = (
    "this patient's symptoms suggest {name}",
    "the symptoms and findings suggest {name}",
    "the picture is most consistent with {name}",
    "the most likely diagnosis is {name}",
    "this presentation points to {name}",
    "these findings fit {name}",
)
_GROUNDS = ("given {reason}", "in view of {reason}", "with {reason} in support", "supported by {reason}")
_PLANS = (
    "next steps include {steps}",
    "next steps are {steps}",
    "management should include {steps}",
    "the plan is {steps}",
    "recommended next steps are {steps}",
)


def generate(*, rows: int, seed: int) -> list[dict[str, str]]:
    """Return `rows` distinct vignettes as `{"case", "assessment"}`, shuffled, conditions about equally often.

    The same `rows` and `seed` give the same list on every machine. Raises ValueError for `rows` below 1, and
    where so many distinct cases cannot be found.
    """
    if rows < 1:
        raise ValueError(f"clinical vignettes: rows is {rows}, but must be at least 1")
    rng = random.Random(seed)
    order = rng.sample(CONDITIONS, len(CONDITIONS))
    seen: set[str] = set()
    made = []
    for index in range(rows):
        vignette = _new_vignette(rng, order[index % len(order)], seen)
        seen.add(vignette["case"])
        made.append(vignette)
    rng.shuffle(made)
    return made


def _new_vignette(rng: random.Random, condition: Condition, seen: set[str]) -> dict[str, str]:
    for _ in range(1000):
        vignette = _vignette(rng, condition)
        case_words, assessment_words = (len(vignette[key].split()) for key in ("case", "assessment"))
        if (
            vignette["case"] not in seen
            and CASE_WORDS[0] <= case_words <= CASE_WORDS[1]
            and ASSESSMENT_WORDS[0] <= assessment_words <= ASSESSMENT_WORDS[1]
        ):
            return vignette
    raise ValueError(f"clinical vignettes: no new case of {condition.name} in 1000 draws; ask for fewer rows")


def _vignette(rng: random.Random, condition: Condition) -> dict[str, str]:
    age, sex = rng.randint(*condition.ages), rng.choice(condition.sexes)
    findings = _findings(rng, condition)
    span = rng.choice(alternatives(condition.spans))
    slots = _pronouns(sex) | {"t": span, "seen": listed(findings)}
    urgent = span.endswith(("hour", "hours", "minutes"))
    arrival = rng.choice(_ARRIVALS_OF_CHILDREN if age < 10 else _URGENT_ARRIVALS if urgent else _ARRIVALS)
    sentences = [f"a(n) {age}-year-old {_person(age, sex)} {arrival} {rng.choice(alternatives(condition.complaints))}"]
    middle = [rng.choice(alternatives(condition.histories)), rng.choice(_EXAMINED)]
    if rng.random() < 0.25:
        middle.reverse()
    closing = rng.choice(_QUESTIONS)
    case = _sentences(rng, [*sentences, *middle], slots) + " " + capitalise(closing)
    return {"case": case, "assessment": _assessment(rng, condition, findings)}


def _findings(rng: random.Random, condition: Condition) -> list[str]:
    """Return two or three findings in random order, a telling one among them."""
    findings = alternatives(condition.findings)
    while True:
        chosen = rng.sample(findings, rng.choice((2, 2, 3)))
        if not set(chosen).isdisjoint(findings[:TELLING]):
            return chosen


def _assessment(rng: random.Random, condition: Condition, findings: list[str]) -> str:
    """Return the diagnosis, at times with a finding of the case, and three or four next steps in order."""
    first, *others = alternatives(condition.steps)
    telling = alternatives(condition.findings)[:TELLING]
    chosen = sorted(rng.sample(range(len(others)), rng.choice((2, 2, 3))))
    slots = {
        "name": condition.name,
        "reason": rng.choice([each for each in findings if each in telling]),
        "steps": listed([first, *(others[place] for place in chosen)]),
    }
    lead = rng.choice(_LEADS)
    if rng.random() < 0.5:
        lead += ", " + rng.choice(_GROUNDS)
    return _sentences(rng, [lead, rng.choice(_PLANS)], slots)


def _sentences(rng: random.Random, templates: list[str], slots: dict[str, Binding]) -> str:
    return tidy(" ".join(capitalise(expand(rng, template, {}, slots)) + "." for template in templates))


def _person(age: int, sex: str) -> str:
    if age < 18:
        return "girl" if sex == "F" else "boy"
    return "woman" if sex == "F" else "man"


def _pronouns(sex: str) -> dict[str, Binding]:
    if sex == "F":
        return {"He": "She", "His": "Her", "his": "her", "him": "her"}
    return {"He": "He", "His": "His", "his": "his", "him": "him"}
