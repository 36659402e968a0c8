"""Readers of JSON, JSON lines, YAML and literals of Python: values that hold a list of records."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import yaml

from tunebook.data.budgets import check_yaml
from tunebook.data.delimited import numbered_lines
from tunebook.data.raw import SHOWN, Refusal, Row
from tunebook.data.record_shapes import records_in
from tunebook.errors import TunebookError


def json_rows(file: str, text: str, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    return _rows(file, _json_value(file, text), form)


def yaml_rows(file: str, text: str, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    try:
        check_yaml(file, text)
        value = yaml.load(text, Loader=_TextLoader)
    except TunebookError:
        raise
    except Exception as error:  # PyYAML lets through whatever Python raises at a tag such as !!int
        raise TunebookError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    return _rows(file, value, form)


def python_rows(file: str, text: str, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    return _rows(file, _python_value(file, text, form["key"]), form | {"key": None})


def json_lines(file: str, text: str, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """One record a line; a comma at its end does not count. Raises TunebookError for JSON that runs over lines."""
    first = True
    for line, content in numbered_lines(text):
        try:
            value = json.loads(content.rstrip().removesuffix(","))
        except (ValueError, RecursionError) as error:
            if first and _is_json(file, text):
                raise TunebookError(
                    f"{file}, row {line}: JSON that runs over several lines, not one record a line; declare format json"
                ) from None
            yield Refusal(file, line, f"not JSON: {getattr(error, 'msg', error)}", content[:SHOWN])
        else:
            yield _row(file, line, value, form["names"])
        first = False


def _rows(file: str, value: Any, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    for number, record in enumerate(records_in(file, value, form["key"]), start=1):
        yield _row(file, number, record, form["names"])


def _row(file: str, number: int, record: Any, names: list[str]) -> Row | Refusal:
    """A mapping as it is, a sequence under the declared names.

    With one name for a sequence, the sequence as a whole is the value (a conversation's turns).
    """
    if isinstance(record, dict):
        return Row(file, number, {str(key): value for key, value in record.items()})
    if not isinstance(record, list | tuple) or not names:
        wanted = f"a list of {len(names)} fields" if names else "a mapping"
        return Refusal(file, number, f"expected {wanted}; fields are named in format.names", str(record)[:SHOWN])
    if len(names) == 1:
        return Row(file, number, {names[0]: list(record)})
    if len(record) != len(names):
        return Refusal(file, number, f"expected {len(names)} fields", f"{len(record)} fields")
    return Row(file, number, dict(zip(names, record, strict=True)))


def _json_value(file: str, text: str) -> Any:
    """The value of a JSON text. Several objects one after another, with or without commas between, are a list."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            return list(_json_objects(file, text))
        raise _not_json(file, error) from None
    except (ValueError, RecursionError) as error:
        raise TunebookError(f"{file}: not JSON that can be read: {error}") from None


def _json_objects(file: str, text: str) -> Iterator[dict[str, Any]]:
    decoder, between = json.JSONDecoder(), re.compile(r"[\s,]*")
    at = between.match(text).end()
    while at < len(text):
        try:
            if text[at] != "{":
                raise json.JSONDecodeError("expected one more object", text, at)
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _not_json(file, error) from None
        yield value
        at = between.match(text, at).end()


def _not_json(file: str, error: json.JSONDecodeError) -> TunebookError:
    found = error.doc[error.pos : error.pos + SHOWN].split("\n")[0]
    return TunebookError(f"{file}, row {error.lineno}: not JSON: {error.msg} (found {found!r})")


def _is_json(file: str, text: str) -> bool:
    try:
        _json_value(file, text)
    except (TunebookError, RecursionError):
        return False
    return True


class _TextLoader(yaml.CSafeLoader):
    """YAML whose plain words stay words: `No` is an answer here and not false, `12:30` a time and not 750."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way of saying it
        first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[1] in ("null", "merge")]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _python_value(file: str, text: str, key: str) -> Any:
    """The literal assigned to a variable of a Python file, read from its syntax tree: the file is never executed."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about how the file is written, which is not ours to mend
            tree = ast.parse(text)
    except SyntaxError as error:
        raise TunebookError(f"{file}, row {error.lineno}: not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise TunebookError(f"{file}: not Python that can be read: {error}") from None
    names = []
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            names.append(getattr(target, "id", "?"))
            if names[-1] == key and node.value is not None:
                return _literal(file, key, node.value)
    raise TunebookError(f"{file}: no variable {key!r}; found: {', '.join(names) or 'none'}")


def _literal(file: str, key: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise TunebookError(
            f"{file}, row {node.lineno}: {key} is not a literal (found {ast.unparse(node)[:SHOWN]}); the file is "
            "read and never run: write the rows out"
        ) from None
