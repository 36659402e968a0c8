"""Turns slotted templates into clean English: the part that the generators of text share."""

import random
import re
from collections.abc import Callable, Mapping

Binding = str | Callable[[], str]

_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa])\(n\) (\S+)")
# Written with a vowel, spoken with a consonant ("a euro", "a USD loan"), and the other way round.
_SPOKEN_CONSONANT = re.compile(r"(eur|usd|uni|use|usu|uti|one\b|once)", re.IGNORECASE)
_SPOKEN_VOWEL = re.compile(r"(8|1[18](?!\d)|hour|hono|heir|MRI|X-ray|NSAID|SSRI|LDL|HbA|S-|ST )")


def expand(
    rng: random.Random, template: str, tables: Mapping[str, tuple[str, ...]], bound: Mapping[str, Binding]
) -> str:
    """Return `template` with every `{slot}` filled.

    A slot takes the value of `bound` (a callable is called at each use), or else a random entry of `tables`;
    values may hold slots themselves. A slot that neither knows raises KeyError with its name.
    """

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        value = bound[name] if name in bound else rng.choice(tables[name])
        return expand(rng, value() if callable(value) else value, tables, bound)

    return _SLOT.sub(fill, template)


def article(word: str) -> str:
    """Return "a" or "an", whichever is spoken before `word`."""
    if _SPOKEN_VOWEL.match(word):
        return "an"
    if _SPOKEN_CONSONANT.match(word):
        return "a"
    return "an" if word[:1].lower() in "aeiou" else "a"


def capitalise(text: str) -> str:
    """Return `text` with its first letter as a capital and the rest as it is."""
    return text[:1].upper() + text[1:]


def tidy(text: str) -> str:
    """Return `text` with `a(n)` resolved, "s's" as "s'", and single spaces."""
    text = _ARTICLE.sub(lambda m: f"{m.group(1)}{article(m.group(2))[1:]} {m.group(2)}", text)
    text = re.sub(r"s's\b", "s'", text)
    return re.sub(r" +", " ", text).strip()


def listed(items: list[str]) -> str:
    """Return `items` as an English list: "a and b", "a, b, and c", and semicolons where one has a comma."""
    if len(items) < 3:
        return " and ".join(items)
    mark = "; " if any("," in item for item in items) else ", "
    return mark.join(items[:-1]) + mark + "and " + items[-1]
