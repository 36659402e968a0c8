"""Labels: the value that a row holds -> one of the data set's labels. Light: the config imports it."""

from __future__ import annotations

import difflib
import re
from typing import Any

SHOWN = 80  # characters of a value, in a message
BETWEEN = re.compile(r"\s*[|,;]\s*")  # what stands between several labels in one text
READ_AS_BOOLEANS = ("yes", "no", "on", "off")  # by YAML, without quotes


class NotALabel(Exception):
    """Why a value is no label of the data set, and what was found."""


def label_text(value: Any) -> str:
    """A value as the text of a label: 1 and 1.0 are "1", True is "true", a text is itself."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


class Labels:
    """The labels of a data set.

    `values`: text of a value in the rows -> label. `normalise`: case and the number of spaces do not count. Numbers and
    truth values are compared as such: "1.0" is the label 1, "TRUE" the label true.
    """

    def __init__(self, values: dict[str, str], normalise: bool) -> None:
        self.values, self.normalise = values, normalise
        self.names = list(dict.fromkeys(values.values()))
        alike: dict[str, set[str]] = {}
        for text, name in values.items():
            alike.setdefault(comparable(text, normalise), set()).add(name)
        self.alike = {text: names.pop() for text, names in alike.items() if len(names) == 1}

    def of(self, value: Any) -> str:
        """The label of a value. Raises NotALabel."""
        if isinstance(value, list | tuple | dict):
            raise NotALabel(*self._several(value))
        text = label_text(value)
        name = self.values.get(text) or self.alike.get(comparable(text, self.normalise))
        if name is None:
            raise NotALabel(*self._unknown(text))
        return name

    def _several(self, value: Any) -> tuple[str, str]:
        hint = "; if it is always one, take it by a template, such as label: '{{ labels[0] }}'"
        return f"several labels a row (multi-label) are not offered{hint}", repr(value)[:SHOWN]

    def _unknown(self, text: str) -> tuple[str, str]:
        parts = BETWEEN.split(text)
        if len(parts) > 1 and all(part in self.values for part in parts):
            return "several labels a row (multi-label) are not offered; a row has one label", repr(text[:SHOWN])
        if re.fullmatch(r"-?\d+\.\d*[1-9]\d*", text):
            reason = "a score to predict (regression) is not offered; make classes of scores by a template under label"
            return reason, text[:SHOWN]
        found = repr(text[:SHOWN])
        nearest = difflib.get_close_matches(text, self.values, n=1)
        if comparable(text, True) in {comparable(known, True) for known in self.values}:
            found += "; normalise_labels: true takes another case or other spaces as the same label"
        elif text.casefold() in READ_AS_BOOLEANS and {"true", "false"} & set(self.values):
            found += "; YAML reads yes, no, on and off as true and false: write them in quotes under labels"
        elif nearest:
            found += f"; did you mean {nearest[0]}?"
        elif re.fullmatch(r"-?\d+", text):
            found += f"; a mapping gives numbers their names, labels: {{{text}: ...}}"
        return f"unknown label; the labels are {', '.join(self.values)}", found


def comparable(text: str, normalise: bool) -> str:
    """What is compared of two labels that are not the same text."""
    if normalise:
        text = " ".join(text.split()).casefold()
    if text.casefold() in ("true", "false"):
        return text.casefold()
    return re.sub(r"^(-?\d+)\.0*$", r"\1", text)
