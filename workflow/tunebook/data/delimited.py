"""Readers of csv, tsv and other delimited text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from tunebook.data.raw import SHOWN, Refusal, Row
from tunebook.errors import TunebookError

CELL_CHARACTERS = 10_000_000  # the longest cell that is read
QUOTING = {  # format.quoting -> csv's constant; undeclared is read as minimal, and checked
    None: csv.QUOTE_MINIMAL,
    "minimal": csv.QUOTE_MINIMAL,
    "none": csv.QUOTE_NONE,
}
NO_QUOTES = "if quotation marks are part of the text, declare format.quoting: none"


def separated(file: str, text: str, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """Rows of csv or tsv text. `form`: the config's `format`; `names` are the columns of a file without a line of names.

    A quoted field may run over lines. A file that does not quote can look the same: a quotation that opens in one row and
    closes in another. Where each of the lines is a whole row by itself, both readings are possible; then `quoting` must be
    declared. Raises TunebookError for that, and for a quote that is never closed.
    """
    csv.field_size_limit(CELL_CHARACTERS)
    delimiter = "\t" if form["type"] == "tsv" else form["delimiter"] or ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, quoting=QUOTING[form["quoting"]])
    columns = _Columns(file, form["names"] or _header(file, reader))
    lines = text.split("\n")
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if reader.line_num > line:
                raise TunebookError(
                    f"{file}, row {line}: a quote opens here that is not closed up to row {reader.line_num} "
                    f"({error}); close it, or double a quote that is meant as one; {NO_QUOTES}"
                ) from None
            yield Refusal(file, line, f"not readable as delimited text; {NO_QUOTES}", str(error))
            continue
        if fields is None:
            return
        covered = [content for content in lines[line - 1 : reader.line_num] if content]
        if form["quoting"] is None and len(covered) > 1 and all(columns.fit(part, delimiter) for part in covered):
            raise TunebookError(
                f"{file}, row {line}: a quote opens here and closes in row {reader.line_num}, but each of these lines is a "
                f"whole row by itself (found {covered[0][:SHOWN]!r}); {NO_QUOTES}; if the field has line breaks, declare "
                "format.quoting: minimal"
            )
        if fields:  # an empty line is none
            yield columns.row(line, fields)


def _header(file: str, reader: Any) -> list[str]:
    try:
        names = next(reader, None)
    except csv.Error as error:
        raise TunebookError(f"{file}, row 1: not readable as column names: {error}; {NO_QUOTES}") from None
    if not names:
        raise TunebookError(f"{file}, row 1: empty; expected a line with column names and rows below it")
    return [name.strip() for name in names]


class _Columns:
    """The columns of a file, some of which may have no name.

    Spreadsheets export empty columns, and pandas exports its index as a first column without a name: both are left out.
    A later column without a name that holds something is a refusal: it is most often the end of a text with delimiters.
    """

    def __init__(self, file: str, names: list[str]) -> None:
        self.file, self.names = file, names
        named = [name for name in names if name]
        repeated = sorted({name for name in named if named.count(name) > 1})
        if not named or repeated:
            found = f"{', '.join(repeated)} stands twice" if repeated else "no column has a name"
            raise TunebookError(
                f"{file}, row 1: {found} in {names}; give each column a name of its own; if the file begins with a row, list "
                "the columns under format.names"
            )

    def fit(self, line: str, delimiter: str) -> bool:
        """Whether a line without quoting has a field for each column."""
        return line.count(delimiter) + 1 == len(self.names)

    def row(self, line: int, fields: list[str]) -> Row | Refusal:
        if line == 1 and [field.strip() for field in fields] == self.names:
            raise TunebookError(
                f"{self.file}, row 1: the file has a line of column names of its own; remove format.names"
            )
        beyond = [field for field in fields[len(self.names) :] if field.strip()]
        if len(fields) < len(self.names) or beyond:
            return Refusal(self.file, line, f"expected {len(self.names)} fields", f"{len(fields)} fields")
        pairs = list(zip(self.names, fields, strict=False))
        for number, (name, field) in enumerate(pairs, start=1):
            if not name and number > 1 and field.strip():
                reason = f"column {number} has no name; name it in the first line, or empty it"
                return Refusal(self.file, line, reason, repr(field[:SHOWN]))
        return Row(self.file, line, {name: field for name, field in pairs if name})


def delimited(file: str, text: str, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """One row a line, split at the last delimiters: the first field may hold the delimiter itself."""
    delimiter, names = form["delimiter"], form["names"]
    for line, content in numbered_lines(text):
        fields = content.rsplit(delimiter, len(names) - 1)
        if len(fields) == len(names):
            yield Row(file, line, dict(zip(names, fields, strict=True)))
        else:
            yield Refusal(file, line, f"expected {len(names)} fields parted by {delimiter!r}", repr(content[:SHOWN]))


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, less the blank ones."""
    return ((line, content) for line, content in enumerate(text.split("\n"), start=1) if content.strip())
