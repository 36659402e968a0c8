"""Splits that a data set comes with: by its files, or by a column that names a row's split."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tunebook.data.file_names import matching
from tunebook.data.raw import Row
from tunebook.data.splitting import SPLITS
from tunebook.errors import TunebookError

NAMES = {  # what a column may say -> split
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "testing": "test",
}


def given_splits(name: str, split: dict[str, Any], rows: list[Row]) -> dict[str, str | None]:
    """Id of each row -> the split that it comes with, or None where there is none: it is drawn.

    `name`: the data set's; `split`: its config. Raises TunebookError for files and names of splits that fit nothing.
    """
    wanted = {part: split[part] for part in SPLITS if isinstance(split[part], str)}
    if split["column"] is not None:
        splits = _by_column(name, split["column"], rows)
    elif wanted:
        by_file = _splits_of_files(name, wanted, sorted({row.file for row in rows}))
        splits = [by_file.get(row.file) for row in rows]
    else:
        splits = [None] * len(rows)
    return {row.id: part for row, part in zip(rows, splits, strict=True)}


def _splits_of_files(name: str, wanted: dict[str, str], files: list[str]) -> dict[str, str]:
    by_file: dict[str, str] = {}
    for part, pattern in wanted.items():
        found = matching(files, pattern)
        if not found:
            raise TunebookError(
                f"data set {name}: split.{part} is {pattern!r}, and no file of the source is; its files: {', '.join(files)}"
            )
        for file in found:
            if file in by_file:
                raise TunebookError(
                    f"data set {name}: {file} is in split.{by_file[file]} and in split.{part}; name it once"
                )
            by_file[file] = part
    if "train" in wanted and (rest := [file for file in files if file not in by_file]):
        raise TunebookError(
            f"data set {name}: {', '.join(rest)} is in no split; name it, or leave it out of the source"
        )
    return by_file


def _by_column(name: str, column: str, rows: list[Row]) -> list[str]:
    found = [str(row.values.get(column, "")).strip().casefold() for row in rows]
    if unknown := Counter(value for value in found if value not in NAMES):
        listed = ", ".join(f"{value!r} ({count}x)" for value, count in unknown.most_common(5))
        columns = ", ".join(rows[0].values) if rows else "none"
        raise TunebookError(
            f"data set {name}: split.column {column} holds {listed}; allowed: {', '.join(NAMES)}; the columns are: {columns}"
        )
    return [NAMES[value] for value in found]
