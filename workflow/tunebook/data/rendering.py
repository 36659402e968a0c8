"""Templates filled with rows: a raw record -> prompt and completion, or text, or messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes

from tunebook.configuration.styles import looks_like
from tunebook.data.conversations import Conversation, Unusable, clean, conversation, is_missing
from tunebook.data.labels import Labels, NotALabel
from tunebook.data.raw import SHOWN, Refusal, Row
from tunebook.data.rows import opening, whole_text
from tunebook.data.templates import RowTemplates, TooCostly, computes, names_of
from tunebook.errors import TunebookError
from tunebook.suggestions import nearest

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
    stands in a template: what the row brings itself; `group`: rows that stay together; `dropped_turns`: of a conversation,
    those after its last answer.
    """

    columns: dict[str, Any]
    whole: str
    own: str
    group: str
    dropped_turns: int = 0

    @property
    def label(self) -> str | None:
        return self.columns["label"]


class Renderer:
    """Fills a data set's templates. Templates run in Jinja's sandbox: they see the row and nothing else.

    Every column that a template names must hold something, but for those it asks about (`{% if context %}`).
    """

    def __init__(self, spec: dict[str, Any], columns: list[str]) -> None:
        self.spec = spec
        self.labels = Labels(spec["label_values"], spec["normalise_labels"])
        self.environment = RowTemplates()
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
        self.limited = {key for key, tree in zip(texts, parsed, strict=True) if computes(tree)}
        available = {*columns, *spec["columns"]}
        self.needed = set().union(*(names_of(tree) for tree in parsed))
        self.needed -= set(self.environment.globals) - available
        self.optional = set().union(*map(_asked_about, parsed))
        self.needed |= set(self.columns.values())
        absent = sorted({*(self.needed - available), *(set(spec["columns"].values()) - set(columns))})
        if absent:
            raise TunebookError(
                f"data set {spec['name']}: no column {', '.join(absent)}{nearest(absent[0], filter(COLUMN_NAME.fullmatch, columns))}; the rows have: "
                f"{', '.join(columns)}; mend "
                f"the templates, or map names under columns{_format_hint(columns)}"
            )

    def __call__(self, row: Row) -> Example | Refusal:
        try:
            return self._example(row)
        except Unusable as reason:
            return Refusal(row.file, row.row, *reason.args)

    def _example(self, row: Row) -> Example:
        values = row.values | {name: row.values.get(column) for name, column in self.spec["columns"].items()}
        for name in sorted(self.needed):
            values[name] = self._value(name, values.get(name))
        columns: dict[str, Any] = {"row": row.id}
        columns |= {key: self._fill(key, values) for key in ("prompt", "completion", "text")}
        talk: Conversation | None = values[self.spec["messages"]] if self.spec["messages"] else None
        columns["messages"] = [message.stored() for message in talk.messages] if talk else None
        given = values[self.columns["label"]] if "label" in self.columns else self._fill("label", values)
        columns["label"] = None if given is None else self._label(given)
        if columns["label"] is not None and columns["completion"] is None:
            columns["completion"] = columns["label"]
        return Example(
            columns=columns,
            whole=whole_text(columns),
            own=self._own(values, columns),
            group=opening(columns).casefold(),
            dropped_turns=talk.dropped if talk else 0,
        )

    def _own(self, values: dict[str, Any], columns: dict[str, Any]) -> str:
        if columns["messages"] is not None:
            return whole_text(columns)
        keys = ("prompt", "text", "completion")
        texts = [self._marked_text(key, values) if key in self.marked else columns[key] for key in keys]
        return "\n".join(filter(None, texts))

    def _marked_text(self, key: str, values: dict[str, Any]) -> str:
        return self.environment.fill(self.marked[key], values, limited=key in self.limited)

    def _value(self, name: str, value: Any) -> Any:
        if name == self.spec["messages"]:
            return conversation(name, value, self.spec["style"])
        if name in self.optional and (is_missing(value) or (isinstance(value, str) and not value.strip())):
            return ""
        return clean(name, value)

    def _fill(self, key: str, values: dict[str, Any]) -> str | None:
        if key not in self.templates:
            return None
        try:
            text = self.environment.fill(self.templates[key], values, limited=key in self.limited)
            text.encode()  # half of a surrogate pair is no text
        except TooCostly as error:
            raise TunebookError(f"data set {self.spec['name']}: the {key} template took {error}; simplify it") from None
        except Exception as error:  # a template is a program: whatever it raises is for its author to read
            raise Unusable(f"the {key} template failed: {error}", str(values)[:SHOWN]) from None
        if not text.strip():
            raise Unusable(f"empty {key}", repr(text)[:SHOWN])
        return text

    def _label(self, value: Any) -> str:
        try:
            return self.labels.of(value)
        except NotALabel as error:
            raise Unusable(*error.args) from None


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
    if style := looks_like(columns):
        hint = f"; the rows look like {style}: with format.style: {style} no template is needed"
    return hint


def _asked_about(template: nodes.Template) -> set[str]:
    """Names that a template's conditions ask about."""
    conditions = [branch.test for branch in template.find_all((nodes.If, nodes.CondExpr))]
    names = [*(test for test in conditions if isinstance(test, nodes.Name))]
    names += [name for test in conditions for name in test.find_all(nodes.Name)]
    return {name.name for name in names}
