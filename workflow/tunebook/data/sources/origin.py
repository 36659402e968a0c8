"""What a source hands over: files, and what identifies them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """`files`: what was asked for, in the order of their names. `revision`: what pins them. `sha256`: of the archive."""

    files: tuple[Path, ...]
    revision: str
    sha256: str


def matching(names: Iterable[str], wanted: str) -> list[str]:
    """Those names that a config's `file` or `files` means: one, all below a folder/, or those that fit a pattern."""
    if wanted.endswith("/"):
        return [name for name in names if name.startswith(wanted)]
    return [name for name in names if fnmatch.fnmatchcase(name, wanted)]
