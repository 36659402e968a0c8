"""Reader of plain text: a document is a whole file, or what stands between blank lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunebook.data.raw import Row


def documents(file: str, text: str, form: dict[str, Any]) -> Iterator[Row]:
    """The whole text as one row, or one row a stretch between blank lines, which is known by its first line."""
    if form["documents"] == "file":
        if text.strip():
            yield Row(file, 1, {"text": text})
        return
    begin, stretch = 0, []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip():
            begin, stretch = (begin or number), [*stretch, line]
        elif stretch:
            yield Row(file, begin, {"text": "\n".join(stretch)})
            begin, stretch = 0, []
