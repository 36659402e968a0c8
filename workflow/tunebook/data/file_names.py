"""Names of files that a config means, and what a file's name says of its format."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path

from tunebook.errors import TunebookError

SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}


def kind_of(file: Path) -> str:
    """The format that a file's suffix says. Raises TunebookError where it says none that is known."""
    kind = SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise TunebookError(f"{file}: found the suffix {file.suffix or 'none'}; known are {', '.join(SUFFIXES)}")
    return kind


def matching(names: Iterable[str], wanted: str) -> list[str]:
    """Those names that a config's `file`, `files` or split means: one, all below a folder/, or those that fit a pattern."""
    if wanted.endswith("/"):
        return [name for name in names if name.startswith(wanted)]
    return [name for name in names if fnmatch.fnmatchcase(name, wanted)]
