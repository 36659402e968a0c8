"""Readers: files of a declared format -> rows, each with the file and line or record it came from.

A row that cannot be read is not dropped: it becomes a refusal with file, row, reason and what was found.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import yaml

from tunebook.errors import TunebookError


@dataclass(frozen=True)
class Refusal:
    """A row that was not taken. `row` counts lines or records from 1, 0 where the whole file is meant."""

    file: str
    row: int
    reason: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason} (found {self.found})"


@dataclass(frozen=True)
class Row:
    """One record as the source gave it."""

    file: str
    row: int
    values: dict[str, Any]


def read_rows(file: Path, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """Rows and refusals of one file. `form` is the config's `format` section. Raises TunebookError for a whole file."""
    kind = form["type"]
    if kind == "parquet":
        yield from _parquet(file)
        return
    text = _decoded(file, form["encoding"])
    if kind in ("csv", "tsv"):
        yield from _separated(file, text, "\t" if kind == "tsv" else form["delimiter"] or ",")
    elif kind == "delimited":
        yield from _delimited(file, text, form["delimiter"], form["names"])
    elif kind == "jsonl":
        yield from _json_lines(file, text)
    else:
        read = {"json": _json_records, "yaml": _yaml_records, "python": _python_records}[kind]
        yield from _records(file, read(file, text, form["key"]), form["names"])


def _decoded(file: Path, encoding: str) -> str:
    """The file's text without a byte order mark; line ends become \\n. Strict: a wrong encoding is an error, with its line."""
    data = file.read_bytes()
    if data[:4] in (b"PAR1",) or data[:2] == b"\x1f\x8b":
        raise TunebookError(
            f"{file.name}: this is a {'Parquet' if data[:1] == b'P' else 'gzip'} file, not text; declare its format"
        )
    try:
        text = data.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TunebookError(
            f"{file.name}, row {line}: byte {data[error.start : error.start + 1]!r} is not {encoding}; declare the file's "
            "encoding under format.encoding (often latin-1 or cp1252)"
        ) from None
    return text.replace("\r\n", "\n")


def _separated(file: Path, text: str, delimiter: str) -> Iterator[Row | Refusal]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    csv.field_size_limit(10_000_000)
    names = next(reader, None)
    if not names:
        raise TunebookError(f"{file.name}: empty; expected a line with column names and rows below it")
    if len(set(names)) != len(names):
        raise TunebookError(f"{file.name}, row 1: a column name stands twice in {names}; each name once")
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Refusal(file.name, line, "not readable as delimited text", str(error))
            return
        if fields is None:
            return
        if len(fields) != len(names):
            yield Refusal(file.name, line, f"expected {len(names)} fields", f"{len(fields)} fields")
        else:
            yield Row(file.name, line, dict(zip(names, fields, strict=True)))


def _delimited(file: Path, text: str, delimiter: str, names: list[str]) -> Iterator[Row | Refusal]:
    """One row a line, split at the last delimiters: the first field may hold the delimiter itself."""
    for line, content in enumerate(text.split("\n"), start=1):
        if not content:
            continue
        fields = content.rsplit(delimiter, len(names) - 1)
        if len(fields) == len(names):
            yield Row(file.name, line, dict(zip(names, fields, strict=True)))
        else:
            yield Refusal(file.name, line, f"expected {len(names)} fields parted by {delimiter!r}", content[:80])


def _json_lines(file: Path, text: str) -> Iterator[Row | Refusal]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            value = json.loads(content)
        except json.JSONDecodeError as error:
            yield Refusal(file.name, line, f"not JSON: {error.msg}", content[:80])
            continue
        if isinstance(value, dict):
            yield Row(file.name, line, value)
        else:
            yield Refusal(file.name, line, "expected a JSON object", content[:80])


def _records(file: Path, records: Any, names: list[str]) -> Iterator[Row | Refusal]:
    """Records of a JSON, YAML or Python list: mappings as they are, sequences under the declared names.

    With one name for a sequence, the sequence as a whole is the value (a conversation's turns).
    """
    if not isinstance(records, list | tuple):
        raise TunebookError(
            f"{file.name}: found {type(records).__name__} where a list of records is expected; set format.key"
        )
    for number, record in enumerate(records, start=1):
        if isinstance(record, dict):
            yield Row(file.name, number, record)
        elif isinstance(record, list | tuple) and len(names) == 1:
            yield Row(file.name, number, {names[0]: [str(item) for item in record]})
        elif isinstance(record, list | tuple) and len(record) == len(names):
            yield Row(file.name, number, dict(zip(names, record, strict=True)))
        else:
            yield Refusal(file.name, number, f"expected {len(names)} fields", str(record)[:80])


def _json_records(file: Path, text: str, key: str | None) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise TunebookError(
            f"{file.name}, row {error.lineno}: not JSON: {error.msg}; one object a line is format jsonl"
        ) from None
    return _below(file, value, key)


def _yaml_records(file: Path, text: str, key: str | None) -> Any:
    try:
        return _below(file, yaml.load(text, Loader=yaml.CSafeLoader), key)
    except yaml.YAMLError as error:
        raise TunebookError(f"{file.name}: not YAML: {' '.join(str(error).split())}") from None


def _below(file: Path, value: Any, key: str | None) -> Any:
    if key is None:
        return value
    if not isinstance(value, dict) or key not in value:
        keys = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise TunebookError(f"{file.name}: no key {key!r}; found: {keys}")
    return value[key]


def _python_records(file: Path, text: str, key: str | None) -> Any:
    """The literal assigned to a variable of a Python file, read from its syntax tree: the file is never executed."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise TunebookError(f"{file.name}, row {error.lineno}: not Python: {error.msg}") from None
    names = []
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            names.append(getattr(target, "id", "?"))
            if names[-1] == key and node.value is not None:
                return ast.literal_eval(node.value)
    raise TunebookError(f"{file.name}: no variable {key!r}; found: {', '.join(names) or 'none'}")


def _parquet(file: Path) -> Iterator[Row]:
    try:
        table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise TunebookError(
            f"{file.name}: not a Parquet file ({str(error).splitlines()[0][:120]}); declare its format"
        ) from None
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(file.name, number, values)
