"""Readers of files that hold a table and no text: Parquet, Arrow, spreadsheets."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from tunebook.data.budgets import check_parquet
from tunebook.data.raw import SHOWN, Refusal, Row
from tunebook.errors import TunebookError


def parquet_rows(file: str, path: Path, form: dict[str, Any]) -> Iterator[Row]:
    try:
        check_parquet(file, pyarrow.parquet.read_metadata(path))
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _not(file, "a Parquet file", error) from None
    return _table_rows(file, table)


def arrow_rows(file: str, path: Path, form: dict[str, Any]) -> Iterator[Row]:
    """Rows of a stream, as `datasets` writes them to disk, or of a file (Feather)."""
    try:
        with pyarrow.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            table = (pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream)(source).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise _not(file, "an Arrow file", error) from None
    return _table_rows(file, table)


def _table_rows(file: str, table: pyarrow.Table) -> Iterator[Row]:
    number = 0
    for batch in table.to_batches():
        try:
            records = batch.to_pylist()
        except (
            ValueError,
            OverflowError,
            TypeError,
            KeyError,
        ) as error:  # a year beyond 9999, a zone that nobody knows
            raise TunebookError(
                f"{file}: a column holds dates or times that Python cannot hold ({' '.join(str(error).split())[:120]}); "
                "write them as text"
            ) from None
        for values in records:
            number += 1
            yield Row(file, number, values)


def _not(file: str, what: str, error: Exception) -> TunebookError:
    return TunebookError(f"{file}: not {what} ({' '.join(str(error).split())[:120]}); declare its format")


def xlsx_rows(file: str, path: Path, form: dict[str, Any]) -> Iterator[Row | Refusal]:
    """Rows below the column names of a sheet. `form`: `key` names the sheet, where several hold something.

    A number without decimals is an int, as the sheet shows it; an empty cell is None.
    """
    import python_calamine  # only here: few data sets are spreadsheets

    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(path.read_bytes()))
        sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise _not(file, "a spreadsheet", error) from None
    filled = {name: rows for name, rows in sheets.items() if any(cell != "" for row in rows for cell in row)}
    if form["key"] is not None and form["key"] not in sheets:
        raise TunebookError(f"{file}: no sheet {form['key']!r}; its sheets: {', '.join(sheets)}")
    if form["key"] is None and len(filled) > 1:
        raise TunebookError(f"{file}: found several sheets ({', '.join(filled)}); name one under format.key")
    rows = sheets[form["key"]] if form["key"] is not None else next(iter(filled.values()), [])
    return _sheet_rows(file, rows)


def _sheet_rows(file: str, rows: list[list[Any]]) -> Iterator[Row | Refusal]:
    names = [str(_cell(name) or "").strip() for name in rows[0]] if rows else []
    named = [name for name in names if name]
    if not named or len(set(named)) != len(named):
        found = "a column name stands twice" if named else "no column has a name"
        raise TunebookError(f"{file}, row 1: {found} in {names}; give each column a name of its own in the first row")
    for number, cells in enumerate(rows[1:], start=2):
        values = [_cell(cell) for cell in cells]
        beyond = [str(value) for name, value in zip(names, values, strict=True) if not name and value is not None]
        if beyond:
            yield Refusal(
                file, number, "a column without a name holds something; name it in the first row", beyond[0][:SHOWN]
            )
        elif any(value is not None for value in values):  # an empty row is none
            yield Row(file, number, {name: value for name, value in zip(names, values, strict=True) if name})


def _cell(value: Any) -> Any:
    if value == "":
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value
