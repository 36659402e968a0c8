"""Templates filled with rows: a raw record -> prompt and completion, or text, or turns of a conversation."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunebook.errors import TunebookError
from tunebook.tabular import Refusal, Row


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
    """Fills a data set's templates. Templates run in Jinja's sandbox: they see the row and nothing else."""

    def __init__(self, spec: dict[str, Any], columns: list[str]) -> None:
        self.spec = spec
        self.environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        self.templates = {
            key: self.environment.from_string(spec[key])
            for key in ("prompt", "completion", "text")
            if spec[key] is not None
        }
        parsed = [self.environment.parse(spec[key]) for key in self.templates]
        self.needed = set().union(*(meta.find_undeclared_variables(tree) for tree in parsed))
        self.needed |= {spec[key] for key in ("messages", "label") if spec[key]}
        available = {*columns, *spec["columns"]}
        absent = sorted({*(self.needed - available), *(set(spec["columns"].values()) - set(columns))})
        if absent:
            raise TunebookError(
                f"data set {spec['name']}: no column {', '.join(absent)}; the rows have: {', '.join(columns)}; mend the "
                "templates, or map names under columns"
            )

    def __call__(self, row: Row) -> Example | Refusal:
        try:
            return self._example(row)
        except _Unusable as reason:
            return Refusal(row.file, row.row, *reason.args)

    def _example(self, row: Row) -> Example:
        values = row.values | {name: row.values.get(column) for name, column in self.spec["columns"].items()}
        for name in sorted(self.needed):
            values[name] = (
                self._turns(name, values.get(name)) if name == self.spec["messages"] else _clean(name, values.get(name))
            )
        columns: dict[str, Any] = {"row": f"{row.file}:{row.row}"}
        columns |= {key: self._fill(key, values) for key in ("prompt", "completion", "text")}
        columns["messages"] = values[self.spec["messages"]] if self.spec["messages"] else None
        columns["label"] = self._label(values[self.spec["label"]]) if self.spec["label"] else None
        if columns["label"] is not None and columns["completion"] is None:
            columns["completion"] = columns["label"]
        turns = columns["messages"] or [columns[key] for key in ("prompt", "completion", "text") if columns[key]]
        return Example(columns=columns, whole="\n".join(turns), group=turns[0].casefold())

    def _fill(self, key: str, values: dict[str, Any]) -> str | None:
        if key not in self.templates:
            return None
        try:
            text = self.templates[key].render(values)
        except jinja2.TemplateError as error:
            raise _Unusable(f"the {key} template failed: {error.message}", str(values)[:80]) from None
        if not text.strip():
            raise _Unusable(f"empty {key}", repr(text)[:80])
        return text

    def _label(self, value: str) -> str:
        if value not in self.spec["labels"]:
            raise _Unusable(f"unknown label; the labels are {', '.join(self.spec['labels'])}", repr(value)[:80])
        return value

    def _turns(self, name: str, value: Any) -> list[str]:
        """A conversation's turns; a last turn of the user's, which nobody answers, is left out."""
        if not isinstance(value, list):
            raise _Unusable(f"{name} is not a list of turns", repr(value)[:80])
        turns = [_clean(f"turn {number} of {name}", turn) for number, turn in enumerate(value, start=1)]
        if len(turns) < 2:
            raise _Unusable("a conversation needs two turns", repr(value)[:80])
        return turns[: len(turns) // 2 * 2]


def _clean(name: str, value: Any) -> Any:
    """Text without outer white space, in Unicode's composed form. Numbers stay numbers. Raises _Unusable if empty."""
    if value is None or (isinstance(value, float) and value != value):
        raise _Unusable(f"missing {name}", repr(value))
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise _Unusable(f"NUL byte in {name}", repr(value)[:80])
    text = unicodedata.normalize("NFC", value).strip()
    if not text:
        raise _Unusable(f"empty {name}", repr(value)[:80])
    return text
