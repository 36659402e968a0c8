"""What a source hands over: files, and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """`files`: what was asked for, in the order of their names. `revision`: what pins them. `sha256`: of the archive."""

    files: tuple[Path, ...]
    revision: str
    sha256: str
