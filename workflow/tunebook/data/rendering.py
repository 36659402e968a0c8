"""Templates filled with rows: a raw record -> prompt and completion, or text, or turns of a conversation."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunebook.data.labels import Labels, NotALabel
from tunebook.data.raw import SHOWN, Refusal, Row
from tunebook.errors import TunebookError

COLUMN_NAME = re.compile(r"[^\W\d][\w .:/-]{0,40}")  # what most names of columns are like, and few values
FORMATS = {  # delimiter -> the format that has it
    "\t": "{type: tsv}",
    ";": "{type: csv, delimiter: ';'}",
    "|": "{type: csv, delimiter: '|'}",
    ",": "{type: csv}",
}
SHORT = 32  # characters of a template's text below a condition: longer ones are form, such as a preamble
FIRST_MARK = 0xE000  # the first character of Unicode's private use area


@dataclass(frozen=True)
class Example:
    """A usable row.

    `columns`: as the split files hold it; `whole`: all its text; `own`: the same, but with one character for each text that
    stands in a template: what the row brings itself; `group`: rows that stay together.
    """

    columns: dict[str, Any]
    whole: str
    own: str
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
        self.labels = Labels(spec["label_values"], spec["normalise_labels"])
        self.environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        self.columns = {key: spec[key] for key in ("messages", "label") if spec[key]}
        if "{{" in self.columns.get("label", ""):  # a label made by a template
            del self.columns["label"]
        texts = {key: spec[key] for key in ("prompt", "completion", "text", "label") if spec[key] is not None}
        texts = {key: text for key, text in texts.items() if key not in self.columns}
        self.templates = {key: self.environment.from_string(text) for key, text in texts.items()}
        marks: dict[str, str] = {}
        self.marked = {
            key: self.environment.from_string(_marked(self.environment.parse(text), marks))
            for key, text in texts.items()
        }
        parsed = [self.environment.parse(text) for text in texts.values()]
        available = {*columns, *spec["columns"]}
        self.needed = set().union(*(meta.find_undeclared_variables(tree) for tree in parsed))
        self.needed -= set(self.environment.globals) - available
        self.optional = set().union(*map(_asked_about, parsed))
        self.needed |= set(self.columns.values())
        absent = sorted({*(self.needed - available), *(set(spec["columns"].values()) - set(columns))})
        if absent:
            raise TunebookError(
                f"data set {spec['name']}: no column {', '.join(absent)}; the rows have: {', '.join(columns)}; mend "
                f"the templates, or map names under columns{_format_hint(columns)}"
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
        columns: dict[str, Any] = {"row": row.id}
        columns |= {key: self._fill(key, values) for key in ("prompt", "completion", "text")}
        columns["messages"] = values[self.spec["messages"]] if self.spec["messages"] else None
        given = values[self.columns["label"]] if "label" in self.columns else self._fill("label", values)
        columns["label"] = None if given is None else self._label(given)
        if columns["label"] is not None and columns["completion"] is None:
            columns["completion"] = columns["label"]
        turns = columns["messages"] or [columns[key] for key in ("prompt", "text", "completion") if columns[key]]
        own = columns["messages"] or [self._own(key, values, columns) for key in ("prompt", "text", "completion")]
        return Example(
            columns=columns, whole="\n".join(turns), own="\n".join(filter(None, own)), group=turns[0].casefold()
        )

    def _own(self, key: str, values: dict[str, Any], columns: dict[str, Any]) -> str | None:
        return self.marked[key].render(values) if key in self.marked else columns[key]

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
            text = self.templates[key].render(values)
        except Exception as error:  # a template is a program: whatever it raises is for its author to read
            raise _Unusable(f"the {key} template failed: {error}", str(values)[:SHOWN]) from None
        if not text.strip():
            raise _Unusable(f"empty {key}", repr(text)[:SHOWN])
        return text

    def _label(self, value: Any) -> str:
        try:
            return self.labels.of(value)
        except NotALabel as error:
            raise _Unusable(*error.args) from None


def _marked(template: nodes.Template, marks: dict[str, str]) -> nodes.Template:
    """The template with one character of Unicode's private area for each text of its own.

    Short texts below a condition stay: they may be what tells rows apart. So do those that the template computes with.
    `marks`: text -> character, the same for all templates.
    """
    waiting: list[tuple[nodes.Node, bool]] = [(template, False)]  # a node, and whether it stands below a condition
    while waiting:
        node, conditional = waiting.pop()
        if isinstance(node, nodes.TemplateData) and node.data.strip() and not (conditional and len(node.data) <= SHORT):
            node.data = marks.setdefault(node.data, chr(FIRST_MARK + len(marks)))
        if not isinstance(node, nodes.AssignBlock | nodes.FilterBlock | nodes.CallBlock | nodes.Macro):
            conditional = conditional or isinstance(node, nodes.If)
            waiting += [(child, conditional) for child in node.iter_child_nodes()]
    return template


def _format_hint(columns: list[str]) -> str:
    """What the names of the columns say of a format that does not fit."""
    hint = ""
    if len(columns) == 1:
        hint = "; is the delimiter right?"
        found = max(FORMATS, key=columns[0].count)
        if found in columns[0]:
            hint = f"; the line of column names has {found!r} in it: declare format: {FORMATS[found]}"
    if any(not COLUMN_NAME.fullmatch(name) for name in columns):
        hint += "; if these are a row, the file has no line of column names: list them under format.names"
    return hint


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
