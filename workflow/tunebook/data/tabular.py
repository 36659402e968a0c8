"""Readers: files of a declared format -> rows, each with the file and line or record it came from.

A row that cannot be read is not dropped: it becomes a refusal with file, row, reason and what was found.
"""

from __future__ import annotations

import ast
import codecs
import csv
import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import yaml

from tunebook.errors import TunebookError

CELL_CHARACTERS = 10_000_000  # the longest cell that is read
SHOWN = 80  # characters of what was found, in a refusal
BINARY = {  # how a file begins -> what it is
    b"PAR1": "a Parquet file, not text: declare format parquet",
    b"\x1f\x8b": "a gzip file, not text: unpack it (gunzip)",
    b"PK\x03\x04": "a zip archive or a spreadsheet, not text: unpack it, or export it as csv",
}
MARKS = {  # byte order marks, the longer first -> the encoding they stand for
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}


@dataclass(frozen=True)
class Refusal:
    """A row that was not taken. `row` counts lines or records from 1, 0 where the whole file is meant."""

    file: str
    row: int
    reason: str
    found: str

    def __str__(self) -> str:
        place = f"{self.file}, row {self.row}" if self.row else self.file
        return f"{place}: {self.reason} (found {self.found})"


@dataclass(frozen=True)
class Row:
    """One record as the source gave it."""

    file: str
    row: int
    values: dict[str, Any]


def read_rows(file: Path, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """Rows and refusals of one file. `form` is the config's `format` section. Raises TunebookError for a whole file."""
    empty = True
    for row in _read(file, form):
        empty = False
        yield _checked(row) if isinstance(row, Row) else row
    if empty:
        yield Refusal(file.name, 0, "the file holds no row", f"{file.stat().st_size} bytes")


def _read(file: Path, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    kind = form["type"]
    if kind == "parquet":
        yield from _parquet(file)
        return
    text = _decoded(file, form["encoding"])
    if kind in ("csv", "tsv"):
        yield from _separated(file, text, "\t" if kind == "tsv" else form["delimiter"] or ",")
    elif kind == "delimited":
        yield from _delimited(file, text, form["delimiter"], form["names"])
    elif kind == "text":
        yield from _documents(file, text, form["documents"])
    elif kind == "jsonl":
        yield from _json_lines(file, text)
    else:
        read = {"json": _json_records, "yaml": _yaml_records, "python": _python_records}[kind]
        yield from _records(file, read(file, text, form["key"]), form["names"])


def _checked(row: Row) -> Row | Refusal:
    """The row, if it can be kept as JSON text: a half of a surrogate pair or a list within itself cannot."""
    try:
        json.dumps(row.values, ensure_ascii=False, default=str).encode()
    except (ValueError, TypeError, RecursionError) as error:
        return Refusal(row.file, row.row, "a value cannot be kept as text", str(error)[:SHOWN])
    return row


def _decoded(file: Path, encoding: str) -> str:
    """The file's text without a byte order mark; line ends become \\n. A wrong encoding is an error, with its line."""
    data = file.read_bytes()
    for beginning, what in BINARY.items():
        if data.startswith(beginning):
            raise TunebookError(f"{file.name}: found {what}")
    declared = codecs.lookup(encoding).name
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), declared)
    if not declared.startswith(marked):
        raise TunebookError(
            f"{file.name}: begins with the byte order mark of {marked}, declared is {encoding}; declare "
            f"format.encoding: {marked}"
        )
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TunebookError(
            f"{file.name}, row {line}: byte {data[error.start : error.start + 1]!r} is not {encoding}; declare the "
            "file's encoding under format.encoding (often latin-1 or cp1252)"
        ) from None
    except UnicodeError as error:
        raise TunebookError(f"{file.name}: not {encoding} ({error}); declare the file's encoding") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separated(file: Path, text: str, delimiter: str) -> Iterator[Row | Refusal]:
    """Rows below a line of column names. A quote that swallows lines is an error: they would be lost uncounted."""
    csv.field_size_limit(CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    names = [name.strip() for name in _header(file, reader)]
    if len(set(names)) != len(names):
        raise TunebookError(f"{file.name}, row 1: a column name stands twice in {names}; each name once")
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if reader.line_num > line:
                raise TunebookError(
                    f"{file.name}, row {line}: a quote opens here that is not closed up to row {reader.line_num} "
                    f"({error}); close it, or double a quote that is meant as one"
                ) from None
            yield Refusal(file.name, line, "not readable as delimited text", str(error))
            continue
        if fields is None:
            return
        if fields and len(fields) != len(names):
            yield Refusal(file.name, line, f"expected {len(names)} fields", f"{len(fields)} fields")
        elif fields:  # an empty line is none
            yield Row(file.name, line, dict(zip(names, fields, strict=True)))


def _header(file: Path, reader: Any) -> list[str]:
    try:
        names = next(reader, None)
    except csv.Error as error:
        raise TunebookError(f"{file.name}, row 1: not readable as column names: {error}") from None
    if not names:
        raise TunebookError(f"{file.name}, row 1: empty; expected a line with column names and rows below it")
    return names


def _delimited(file: Path, text: str, delimiter: str, names: list[str]) -> Iterator[Row | Refusal]:
    """One row a line, split at the last delimiters: the first field may hold the delimiter itself."""
    for line, content in _lines(text):
        fields = content.rsplit(delimiter, len(names) - 1)
        if len(fields) == len(names):
            yield Row(file.name, line, dict(zip(names, fields, strict=True)))
        else:
            yield Refusal(
                file.name, line, f"expected {len(names)} fields parted by {delimiter!r}", repr(content[:SHOWN])
            )


def _documents(file: Path, text: str, documents: str) -> Iterator[Row]:
    """The whole text as one row, or one a stretch between blank lines, known by its first line."""
    if documents == "file":
        if text.strip():
            yield Row(file.name, 1, {"text": text})
        return
    begin, stretch = 0, []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip():
            begin, stretch = (begin or number), [*stretch, line]
        elif stretch:
            yield Row(file.name, begin, {"text": "\n".join(stretch)})
            begin, stretch = 0, []


def _json_lines(file: Path, text: str) -> Iterator[Row | Refusal]:
    for line, content in _lines(text):
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            reason = f"not JSON: {getattr(error, 'msg', error)}"
            yield Refusal(file.name, line, reason, content[:SHOWN])
            continue
        if isinstance(value, dict):
            yield Row(file.name, line, value)
        else:
            yield Refusal(file.name, line, "expected a JSON object", content[:SHOWN])


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, less the blank ones."""
    return ((line, content) for line, content in enumerate(text.split("\n"), start=1) if content.strip())


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
            yield Row(file.name, number, {str(key): value for key, value in record.items()})
        elif isinstance(record, list | tuple) and len(names) == 1:
            yield Row(file.name, number, {names[0]: list(record)})
        elif isinstance(record, list | tuple) and names and len(record) == len(names):
            yield Row(file.name, number, dict(zip(names, record, strict=True)))
        elif isinstance(record, list | tuple) and names:
            yield Refusal(file.name, number, f"expected {len(names)} fields", f"{len(record)} fields")
        else:
            wanted = "a mapping" if not names else f"a list of {len(names)} fields"
            yield Refusal(
                file.name, number, f"expected {wanted}; fields are named in format.names", str(record)[:SHOWN]
            )


def _json_records(file: Path, text: str, key: str | None) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise TunebookError(
            f"{file.name}, row {error.lineno}: not JSON: {error.msg}; one object a line is format jsonl"
        ) from None
    except (ValueError, RecursionError) as error:
        raise TunebookError(f"{file.name}: not JSON that can be read: {error}") from None
    return _below(file, value, key)


class _TextLoader(yaml.CSafeLoader):
    """YAML whose plain words stay words: `No` is an answer here and not false, `12:30` a time and not 750."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way of saying it
        first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[1] in ("null", "merge")]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _yaml_records(file: Path, text: str, key: str | None) -> Any:
    try:
        value = yaml.load(text, Loader=_TextLoader)
    except Exception as error:  # PyYAML lets through whatever Python raises at a tag such as !!int
        raise TunebookError(f"{file.name}: not YAML: {' '.join(str(error).split())}") from None
    return _below(file, value, key)


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
        with warnings.catch_warnings(action="ignore"):  # about how the file is written, which is not ours to mend
            tree = ast.parse(text)
    except SyntaxError as error:
        raise TunebookError(f"{file.name}, row {error.lineno}: not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise TunebookError(f"{file.name}: not Python that can be read: {error}") from None
    names = []
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            names.append(getattr(target, "id", "?"))
            if names[-1] == key and node.value is not None:
                return _literal(file, key, node.value)
    raise TunebookError(f"{file.name}: no variable {key!r}; found: {', '.join(names) or 'none'}")


def _literal(file: Path, key: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise TunebookError(
            f"{file.name}, row {node.lineno}: {key} is not a literal (found {ast.unparse(node)[:SHOWN]}); the file is "
            "read and never run: write the rows out"
        ) from None


def _parquet(file: Path) -> Iterator[Row]:
    try:
        table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise TunebookError(
            f"{file.name}: not a Parquet file ({' '.join(str(error).split())[:120]}); declare its format"
        ) from None
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(file.name, number, values)
