"""Readers: files of a declared format -> rows, each with the file and line or record it came from.

A row that cannot be read is not dropped: it becomes a refusal with file, row, reason and what was found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunebook.data.binary_tables import arrow_rows, parquet_rows, xlsx_rows
from tunebook.data.budgets import check_text
from tunebook.data.containers import unpacked
from tunebook.data.decoding import decoded
from tunebook.data.delimited import delimited, separated
from tunebook.data.documents import documents
from tunebook.data.nested import json_lines, json_rows, python_rows, yaml_rows
from tunebook.data.raw import SHOWN, Refusal, Row

Rows = Iterator[Row | Refusal]
TEXT_READERS: dict[str, Callable[[str, str, dict[str, Any]], Rows]] = {  # format -> reader of a file's text
    "csv": separated,
    "tsv": separated,
    "delimited": delimited,
    "json": json_rows,
    "jsonl": json_lines,
    "yaml": yaml_rows,
    "python": python_rows,
    "text": documents,
}
TABLE_READERS: dict[str, Callable[[str, Path, dict[str, Any]], Rows]] = {  # format -> reader of a file
    "parquet": parquet_rows,
    "arrow": arrow_rows,
    "xlsx": xlsx_rows,
}


def read_rows(file: Path, form: dict[str, Any], name: str | None = None) -> Rows:
    """Rows and refusals of one file. `form`: the config's `format` section; `name`: what rows and messages call the file.

    Raises TunebookError for a whole file.
    """
    name = name or file.name
    if form["type"] in TABLE_READERS:
        rows = TABLE_READERS[form["type"]](name, file, form)
    else:
        check_text(name, file.stat().st_size)
        text = decoded(name, unpacked(name, file.read_bytes()), form["encoding"])
        rows = TEXT_READERS[form["type"]](name, text, form)
    empty = True
    for row in rows:
        empty = False
        yield _checked(row) if isinstance(row, Row) else row
    if empty:
        yield Refusal(name, 0, "the file holds no row", f"{file.stat().st_size} bytes")


def _checked(row: Row) -> Row | Refusal:
    """The row, if it can be kept as JSON text: a half of a surrogate pair or a list within itself cannot."""
    try:
        json.dumps(row.values, ensure_ascii=False, default=str).encode()
    except (ValueError, TypeError, RecursionError) as error:
        return Refusal(row.file, row.row, "a value cannot be kept as text", str(error)[:SHOWN])
    return row
