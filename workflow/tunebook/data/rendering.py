"""Templates filled with rows: a raw record -> prompt and completion, or text, or turns of a conversation."""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes

from tunebook.data.tabular import SHOWN, Refusal, Row
from tunebook.data.templates import RowTemplates, TooCostly, computes, names_of
from tunebook.errors import TunebookError


@dataclass(frozen=True)
class Example:
    """A usable row. `columns`: as the split files hold it; `whole`: all its text; `group`: rows that stay together."""

    columns: dict[str, Any]
    whole: str
    group: str

    @property
    def label(self) -> str | None:
        return self.columns["label"]


class _Unusable(Exception):
    """Why a row cannot be used, and what was found."""


class Renderer:
    """Fills a data set's templates. Templates run in Jinja's sandbox: they see the row and nothing else.

    Every column that a template names must hold something, but for those it asks about (`{% if context %}`).
    """

    def __init__(self, spec: dict[str, Any], columns: list[str]) -> None:
        self.spec = spec
        self.environment = RowTemplates()
        self.columns = {key: spec[key] for key in ("messages", "label") if spec[key]}
        if "{{" in self.columns.get("label", ""):  # a label made by a template
            del self.columns["label"]
        texts = {key: spec[key] for key in ("prompt", "completion", "text", "label") if spec[key] is not None}
        texts = {key: text for key, text in texts.items() if key not in self.columns}
        self.templates = {key: self.environment.from_string(text) for key, text in texts.items()}
        parsed = [self.environment.parse(text) for text in texts.values()]
        self.limited = {key for key, tree in zip(texts, parsed, strict=True) if computes(tree)}
        available = {*columns, *spec["columns"]}
        self.needed = set().union(*(names_of(tree) for tree in parsed))
        self.needed -= set(self.environment.globals) - available
        self.optional = set().union(*map(_asked_about, parsed))
        self.needed |= set(self.columns.values())
        absent = sorted({*(self.needed - available), *(set(spec["columns"].values()) - set(columns))})
        if absent:
            alone = "; is the delimiter right?" if len(columns) == 1 else ""
            raise TunebookError(
                f"data set {spec['name']}: no column {', '.join(absent)}; the rows have: {', '.join(columns)}; mend "
                f"the templates, or map names under columns{alone}"
            )

    def __call__(self, row: Row) -> Example | Refusal:
        try:
            return self._example(row)
        except _Unusable as reason:
            return Refusal(row.file, row.row, *reason.args)

    def _example(self, row: Row) -> Example:
        values = row.values | {name: row.values.get(column) for name, column in self.spec["columns"].items()}
        for name in sorted(self.needed):
            values[name] = self._value(name, values.get(name))
        columns: dict[str, Any] = {"row": f"{row.file}:{row.row}"}
        columns |= {key: self._fill(key, values) for key in ("prompt", "completion", "text")}
        columns["messages"] = values[self.spec["messages"]] if self.spec["messages"] else None
        given = values[self.columns["label"]] if "label" in self.columns else self._fill("label", values)
        columns["label"] = None if given is None else self._label(given)
        if columns["label"] is not None and columns["completion"] is None:
            columns["completion"] = columns["label"]
        turns = columns["messages"] or [columns[key] for key in ("prompt", "text", "completion") if columns[key]]
        return Example(columns=columns, whole="\n".join(turns), group=turns[0].casefold())

    def _value(self, name: str, value: Any) -> Any:
        if name == self.spec["messages"]:
            return _turns(name, value)
        if name in self.optional and (_is_missing(value) or (isinstance(value, str) and not value.strip())):
            return ""
        return _clean(name, value)

    def _fill(self, key: str, values: dict[str, Any]) -> str | None:
        if key not in self.templates:
            return None
        try:
            text = self.environment.fill(self.templates[key], values, limited=key in self.limited)
            text.encode()  # half of a surrogate pair is no text
        except TooCostly as error:
            raise TunebookError(f"data set {self.spec['name']}: the {key} template took {error}; simplify it") from None
        except Exception as error:  # a template is a program: whatever it raises is for its author to read
            raise _Unusable(f"the {key} template failed: {error}", str(values)[:SHOWN]) from None
        if not text.strip():
            raise _Unusable(f"empty {key}", repr(text)[:SHOWN])
        return text

    def _label(self, value: Any) -> str:
        """The label as text: 1 is the label "1"."""
        labels, text = self.spec["labels"], str(value)
        if text in labels:
            return text
        nearest = difflib.get_close_matches(text, labels, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise _Unusable(f"unknown label; the labels are {', '.join(labels)}", f"{text[:SHOWN]!r}{hint}")


def _asked_about(template: nodes.Template) -> set[str]:
    """Names that a template's conditions ask about."""
    conditions = [branch.test for branch in template.find_all((nodes.If, nodes.CondExpr))]
    names = [*(test for test in conditions if isinstance(test, nodes.Name))]
    names += [name for test in conditions for name in test.find_all(nodes.Name)]
    return {name.name for name in names}


def _turns(name: str, value: Any) -> list[str]:
    """A conversation's turns; a last turn of the user's, which nobody answers, is left out."""
    if not isinstance(value, list):
        raise _Unusable(f"{name} is not a list of turns", repr(value)[:SHOWN])
    turns = [_clean(f"turn {number} of {name}", turn) for number, turn in enumerate(value, start=1)]
    if len(turns) < 2:
        raise _Unusable("a conversation needs two turns", repr(value)[:SHOWN])
    for number, turn in enumerate(turns, start=1):
        if isinstance(turn, list | dict):
            raise _Unusable(f"turn {number} of {name} is not text", repr(turn)[:SHOWN])
    return [str(turn) for turn in turns[: len(turns) // 2 * 2]]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _clean(name: str, value: Any) -> Any:
    """Text without outer white space, in Unicode's composed form. Numbers stay numbers. Raises _Unusable if empty."""
    if _is_missing(value):
        raise _Unusable(f"missing {name}", repr(value))
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise _Unusable(f"NUL byte in {name}", repr(value)[:SHOWN])
    text = unicodedata.normalize("NFC", value).strip()
    if not text:
        raise _Unusable(f"empty {name}", repr(value)[:SHOWN])
    return text
