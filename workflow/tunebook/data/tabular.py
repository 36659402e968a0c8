"""Readers: files of a declared format -> rows, each with the file and line or record it came from.

A row that cannot be read is not dropped: it becomes a refusal with file, row, reason and what was found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tunebook.data.budgets import check_parquet, check_text
from tunebook.data.decoding import decoded
from tunebook.data.delimited import delimited, separated
from tunebook.data.nested import json_lines, json_rows, python_rows, yaml_rows
from tunebook.data.raw import SHOWN, Refusal, Row
from tunebook.errors import TunebookError

BINARY = {  # how a file begins -> what it is
    b"PAR1": "a Parquet file, not text: declare format parquet",
    b"\x1f\x8b": "a gzip file, not text: unpack it (gunzip)",
    b"PK\x03\x04": "a zip archive or a spreadsheet, not text: unpack it, or export it as csv",
}
READERS: dict[str, Callable[[str, str, dict[str, Any]], Iterator[Row | Refusal]]] = {  # format -> reader of its text
    "csv": separated,
    "tsv": separated,
    "delimited": delimited,
    "json": json_rows,
    "jsonl": json_lines,
    "yaml": yaml_rows,
    "python": python_rows,
}


def read_rows(file: Path, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """Rows and refusals of one file. `form` is the config's `format` section. Raises TunebookError for a whole file."""
    empty = True
    for row in _read(file, form):
        empty = False
        yield _checked(row) if isinstance(row, Row) else row
    if empty:
        yield Refusal(file.name, 0, "the file holds no row", f"{file.stat().st_size} bytes")


def _read(file: Path, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    if form["type"] == "parquet":
        return _parquet(file)
    check_text(file)
    data = file.read_bytes()
    for beginning, what in BINARY.items():
        if data.startswith(beginning):
            raise TunebookError(f"{file.name}: found {what}")
    return READERS[form["type"]](file.name, decoded(file.name, data, form["encoding"]), form)


def _checked(row: Row) -> Row | Refusal:
    """The row, if it can be kept as JSON text: a half of a surrogate pair or a list within itself cannot."""
    try:
        json.dumps(row.values, ensure_ascii=False, default=str).encode()
    except (ValueError, TypeError, RecursionError) as error:
        return Refusal(row.file, row.row, "a value cannot be kept as text", str(error)[:SHOWN])
    return row


def _parquet(file: Path) -> Iterator[Row]:
    try:
        check_parquet(file, pyarrow.parquet.read_metadata(file))
        table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise TunebookError(
            f"{file.name}: not a Parquet file ({' '.join(str(error).split())[:120]}); declare its format"
        ) from None
    try:
        records = table.to_pylist()
    except (ValueError, OverflowError, TypeError, KeyError) as error:  # a year beyond 9999, a zone that nobody knows
        raise TunebookError(
            f"{file.name}: a column holds dates or times that Python cannot hold ({' '.join(str(error).split())[:120]}); write "
            "them as text"
        ) from None
    for number, values in enumerate(records, start=1):
        yield Row(file.name, number, values)
