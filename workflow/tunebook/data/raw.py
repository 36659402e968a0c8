"""A row as its file gives it, and a row that was not taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHOWN = 80  # characters of what was found, in a refusal


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

    @property
    def id(self) -> str:
        """What a row is known by: the files of a data set differ in name."""
        return f"{self.file}:{self.row}"
